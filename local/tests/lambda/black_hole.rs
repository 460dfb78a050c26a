//! Tests a database that accepts connections and never answers, as after a failed availability zone.

use std::time::Duration;

use futures::future::join_all;
use local::event_source_mapping::function::CONSUME_TIMEOUT;
use local::lambda::{Answer, Lambda, Plan};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::function::{LambdaFunction, TIMEOUT, batch, environment, position, request};
use super::support::database::TestDatabase;
use super::support::gateway::{ADMIN, plan};
use super::support::{binaries, kafka};

/// A proxy in front of PostgreSQL that can stop passing anything on, without closing a connection.
struct Hole {
    url: String,
    is_black: watch::Sender<bool>,
    _serving: AbortOnDropHandle<()>,
}

impl Hole {
    async fn before(database_url: &str) -> Self {
        let (login, place) = database_url.split_once('@').unwrap();
        let (address, name) = place.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{login}@{}/{name}", listener.local_addr().unwrap());
        let (is_black, address) = (watch::Sender::new(false), address.to_owned());
        let black = is_black.subscribe();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut black, address) = (black.clone(), address.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _black = async { black.wait_for(|black| *black).await.map(drop) } => std::future::pending().await,
                        passed = async { copy_bidirectional(&mut client, &mut TcpStream::connect(address).await?).await } => passed.map(drop),
                    }
                });
            }
        }));
        Self { url, is_black, _serving: serving }
    }

    fn becomes(&self, is_black: bool) {
        self.is_black.send_replace(is_black);
    }
}

/// Returns status and elapsed time, in milliseconds, of a sandbox's requests in their order.
fn answered(log: &str) -> Vec<(u64, u64)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["message"] == "answered");
    lines.map(|line| (line["status"].as_u64().unwrap(), line["elapsed_ms"].as_u64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sandbox_waits_for_a_database_that_does_not_answer_and_consume_lands_as_soon_as_it_does() {
    const SANDBOXES: usize = 4;
    const REQUESTS: u32 = 1_000;
    let (database, plan, kafka) = (TestDatabase::create().await, plan(), kafka::settings());
    make_admin(&database.pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
    let hole = Hole::before(&database.url).await;
    let environment = environment(&hole.url, &kafka, plan.contracts());
    let topic = Registry::load(Some(plan.contracts())).unwrap().stream("route").unwrap().topic.clone();
    let consume = LambdaFunction::start("consume", environment.clone(), CONSUME_TIMEOUT).await;
    assert_eq!(consume.invoke(&batch(&topic, 0, &[position(1)])).await.unwrap()["written"], 1);

    let folder = tempfile::tempdir().unwrap();
    let binary = binaries::folder().await.join("ingest");
    let folder_of_logs = folder.path().to_owned();
    let plan = Plan { name: "ingest", binary, environment, timeout: TIMEOUT, freezes: true, folder: folder_of_logs };
    let ingest = Lambda::start(plan, SANDBOXES).await.unwrap();
    let mut question = request("$default", "/continents", &[], "");
    question["requestContext"]["http"]["method"] = json!("GET");
    let question = question.to_string();
    let ask = async || match ingest.invoke(question.clone().into()).await {
        Answer::Response(body) => serde_json::from_slice::<Value>(&body).unwrap()["statusCode"].as_u64().unwrap(),
        Answer::Error(body) => panic!("{body:?}"),
    };
    let warm = join_all((0..8 * SANDBOXES).map(|_| ask())).await;
    assert!(warm.iter().all(|status| *status == 200), "{warm:?}");

    hole.becomes(true);
    let rate = Duration::from_secs(1) / 200;
    let asked = join_all((0..REQUESTS).map(async |number| {
        tokio::time::sleep(rate * number).await;
        ask().await
    }));
    assert!(asked.await.iter().all(|status| *status == 503));
    // Each sandbox tries to connect once a second, and fails.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert!(join_all((0..SANDBOXES).map(|_| ask())).await.iter().all(|status| *status == 503));
    }
    let mut longest_ms = (0, 0);
    for sandbox in ingest.sandboxes() {
        let times = answered(&sandbox.log()).into_iter().filter(|(status, _)| *status == 503);
        let times: Vec<u64> = times.map(|(_, elapsed_ms)| elapsed_ms).collect();
        let (first, later) = times.split_first().expect("every sandbox had a request");
        longest_ms = (longest_ms.0.max(*first), longest_ms.1.max(*later.iter().max().unwrap()));
    }
    eprintln!("the first failures took at most {} ms, the later ones {} ms", longest_ms.0, longest_ms.1);
    // A trial takes 1.25 s. Without the breaker, every request would take 5 s.
    assert!(longest_ms.1 < 2_500, "{longest_ms:?}");

    // `consume` has no breaker: it tries every batch, and lands the first one that it can.
    let next = batch(&topic, 1, &[position(2)]);
    assert_eq!(consume.error_type(&next).await, "Sluice.Retry");
    hole.becomes(false);
    assert_eq!(consume.invoke(&next).await.unwrap()["written"], 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(ask().await, 200, "the trial after the pause finds the database");
}
