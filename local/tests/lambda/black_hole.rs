//! Tests functions whose database accepts connections but never answers, as when an availability zone fails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use local::event_source_mapping::function::CONSUME_TIMEOUT;
use local::lambda::{Answer, Lambda, Plan};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::function::{LambdaFunction, TIMEOUT, batch, environment, position, request};
use super::support::database::TestDatabase;
use super::support::gateway::{ADMIN, plan};
use super::support::{binaries, kafka};

type Environment = Vec<(&'static str, String)>;

/// A proxy in front of PostgreSQL that can stop forwarding data without closing a connection.
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

/// A function in several sandboxes, and the requests that it gets in turn.
struct Load {
    lambda: Lambda,
    questions: Vec<String>,
    _folder: TempDir,
}

impl Load {
    async fn start(name: &'static str, sandboxes: usize, environment: &Environment, questions: Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (binary, environment) = (binaries::folder().await.join(name), environment.clone());
        let plan =
            Plan { name, binary, environment, timeout: TIMEOUT, freezes: true, folder: folder.path().to_owned() };
        Self { lambda: Lambda::start(plan, sandboxes).await.unwrap(), questions, _folder: folder }
    }

    /// Sends the request with this number. Returns the answer's status.
    async fn ask(&self, number: usize) -> u64 {
        let question = self.questions[number % self.questions.len()].clone();
        match self.lambda.invoke(question.into()).await {
            Answer::Response(body) => serde_json::from_slice::<Value>(&body).unwrap()["statusCode"].as_u64().unwrap(),
            Answer::Error(body) => panic!("{body:?}"),
        }
    }

    /// Sends `count` requests with a pause between them. Returns the answers' statuses.
    async fn ask_every(&self, pause: Duration, count: u32) -> Vec<u64> {
        let asked = (0..count).map(async |number| {
            tokio::time::sleep(pause * number).await;
            self.ask(number as usize).await
        });
        join_all(asked).await
    }

    /// Returns, for each sandbox, how long each request has held the sandbox.
    fn held(&self) -> Vec<VecDeque<Duration>> {
        self.lambda.sandboxes().iter().map(|sandbox| sandbox.durations().into()).collect()
    }
}

/// Measures how late a sleeping thread wakes up while other processes use the CPU.
struct Lateness {
    is_over: Arc<AtomicBool>,
    longest: thread::JoinHandle<Duration>,
}

impl Lateness {
    fn measure() -> Self {
        const NAP: Duration = Duration::from_millis(5);
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let longest = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                thread::sleep(NAP);
                longest = longest.max(begun.elapsed().saturating_sub(NAP));
            }
            longest
        });
        Self { is_over, longest }
    }

    fn end(self) -> Duration {
        self.is_over.store(true, Ordering::Relaxed);
        self.longest.join().unwrap()
    }
}

fn question(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut question = request("$default", path, headers, body);
    question["requestContext"]["http"]["method"] = json!(method);
    question.to_string()
}

/// Returns the longest time that a sandbox's first request held the sandbox, and the longest time that a later request
/// held it. Counts only the requests since `before`, an earlier result of [`Load::held`].
fn longest(load: &Load, before: &[VecDeque<Duration>]) -> (Duration, Duration) {
    let held = load.held().into_iter().zip(before).map(|(mut held, before)| {
        let mut held = held.split_off(before.len());
        let first = held.pop_front().expect("every sandbox had a request");
        (first, held.into_iter().max().expect("every sandbox had another request"))
    });
    held.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_keeps_no_sandbox_waiting_and_consume_lands_a_batch_as_soon_as_the_database_answers() {
    const SANDBOXES: usize = 4;
    /// The time for which a request may hold its sandbox, once the sandbox has noticed that the database does not
    /// answer.
    const HELD: Duration = Duration::from_millis(1_500);
    /// A time longer than the circuit breaker's pause, after which a request tries to connect again.
    const PAUSE: Duration = Duration::from_millis(1_100);
    let (database, plan, kafka) = (TestDatabase::create().await, plan(), kafka::settings());
    make_admin(&database.pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
    let hole = Hole::before(&database.url).await;
    let environment = environment(&hole.url, &kafka, plan.contracts());
    let topic = Registry::load(Some(plan.contracts())).unwrap().stream("route").unwrap().topic.clone();
    let consume = LambdaFunction::start("consume", environment.clone(), CONSUME_TIMEOUT).await;
    assert_eq!(consume.invoke(&batch(&topic, 0, &[position(1)])).await.unwrap()["written"], 1);

    // The first request has credentials that the sandboxes remember. The second request checks the database. The third
    // request has credentials that only the database can verify.
    let stranger = base64_simd::STANDARD.encode_to_string("a stranger:and a password");
    let stranger = [("authorization", &*format!("Basic {stranger}"))];
    let questions = vec![
        question("GET", "/continents", &[], ""),
        question("GET", "/health", &[], ""),
        question("GET", "/continents", &stranger, ""),
    ];
    let login = json!({"user": ADMIN.0, "pass": ADMIN.1}).to_string();
    let ingest = Load::start("ingest", SANDBOXES, &environment, questions).await;
    let users = Load::start("users", 2, &environment, vec![question("POST", "/login", &[], &login)]).await;
    let warm = join_all((0..8 * SANDBOXES).map(|_| ingest.ask(0))).await;
    assert!(warm.iter().all(|status| *status == 200), "{warm:?}");
    assert_eq!((ingest.ask(1).await, users.ask(0).await), (200, 200));

    let (before, before_users) = (ingest.held(), users.held());
    let lateness = Lateness::measure();
    hole.becomes(true);
    // 200 requests a second for five seconds, a quarter of them logins.
    let asked = async {
        tokio::join!(
            ingest.ask_every(Duration::from_secs(1) / 150, 750),
            users.ask_every(Duration::from_secs(1) / 50, 250)
        )
    };
    let asked = tokio::time::timeout(Duration::from_secs(120), asked);
    let (of_ingest, of_users) = asked.await.expect("the sandboxes keep up");
    assert!(of_ingest.iter().chain(&of_users).all(|status| *status == 503), "{of_ingest:?} {of_users:?}");
    // For each kind of request, each sandbox tries once more to connect, and fails.
    for kind in 0..3 {
        tokio::time::sleep(PAUSE).await;
        let trials =
            tokio::join!(join_all((0..SANDBOXES).map(|_| ingest.ask(kind))), join_all((0..2).map(|_| users.ask(0))),);
        assert!(trials.0.iter().chain(&trials.1).all(|status| *status == 503), "{trials:?}");
    }
    let late = lateness.end();
    for (name, (first, later)) in [("ingest", longest(&ingest, &before)), ("users", longest(&users, &before_users))] {
        eprintln!(
            "{name}: the first requests took at most {first:?}, the later ones {later:?}; threads woke at most {late:?} late"
        );
        assert!(later < HELD + late, "{name}: {later:?}");
    }

    // `consume` has no circuit breaker: it tries every batch, and lands the first batch for which the database answers.
    let next = batch(&topic, 1, &[position(2)]);
    assert_eq!(consume.error_type(&next).await, "Sluice.Retry");
    hole.becomes(false);
    assert_eq!(consume.invoke(&next).await.unwrap()["written"], 1);
    tokio::time::sleep(PAUSE).await;
    assert_eq!((ingest.ask(0).await, users.ask(0).await), (200, 200), "requests after the pause succeed");
}
