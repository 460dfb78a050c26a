//! Tests a burst of cold starts that MSK's API throttles.

use std::time::{Duration, Instant};

use futures::future::join_all;
use local::lambda::{Answer, Lambda, Plan};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::topics;

use super::aws::{CLUSTER, StubAws};
use super::function::{TIMEOUT, environment, position, request};
use super::support::database::TestDatabase;
use super::support::gateway::{ADMIN, plan};
use super::support::{binaries, kafka};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_functions_survive_an_api_that_throttles_their_starts_for_five_seconds() {
    const STARTS: usize = 50;
    const THROTTLED_FOR: Duration = Duration::from_secs(5);
    let (database, plan, kafka, aws) =
        (TestDatabase::create().await, plan(), kafka::settings(), StubAws::start().await);
    topics::ensure(&kafka, &Registry::load(Some(plan.contracts())).unwrap()).await.unwrap();
    make_admin(&database.pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
    aws.set(|answers| {
        answers.is_throttled = true;
        answers.brokers = json!({"bootstrapBrokerString": kafka.bootstrap_servers});
    });
    let mut environment = environment(&database.url, &kafka, plan.contracts());
    environment.retain(|(name, _)| *name != "KAFKA_BOOTSTRAP_SERVERS");
    environment.extend([("MSK_CLUSTER_ARN", CLUSTER.to_owned()), ("AWS_REGION", "eu-central-1".to_owned())]);
    environment.extend(aws.variables().map(|(name, value)| (name, value.to_owned())));
    let folder = tempfile::tempdir().unwrap();
    let (binary, folder) = (binaries::folder().await.join("ingest"), folder.path());
    let plan = Plan { name: "ingest", binary, environment, timeout: TIMEOUT, freezes: true, folder: folder.to_owned() };

    let begun = Instant::now();
    let lambda = Lambda::start(plan, STARTS).await.unwrap();
    let ready = join_all(lambda.sandboxes().iter().map(|sandbox| sandbox.ready_after())).await;
    let ready: Vec<Duration> = ready.into_iter().map(|ready| ready.expect("no start fails")).collect();
    eprintln!("{STARTS} functions were ready after at most {:?}", ready.iter().max());
    let asked = aws.answers().brokers_asked;
    assert!((STARTS..=3 * STARTS).contains(&asked), "{asked} lookups: each function should make one to three");
    let send = async || match lambda
        .invoke(request("$default", "/events/route", &[], &position(1)).to_string().into())
        .await
    {
        Answer::Response(body) => serde_json::from_slice::<Value>(&body).unwrap()["statusCode"].as_u64().unwrap(),
        Answer::Error(body) => panic!("{body:?}"),
    };
    assert_eq!(send().await, 503, "the API still throttles");

    tokio::time::sleep(THROTTLED_FOR.saturating_sub(begun.elapsed())).await;
    aws.set(|answers| answers.is_throttled = false);
    let has_answered = || lambda.sandboxes().iter().filter(|sandbox| !sandbox.durations().is_empty()).count();
    while has_answered() < STARTS {
        let statuses = join_all((0..STARTS).map(|_| send())).await;
        assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
    }
    lambda.stop().await.unwrap();
}
