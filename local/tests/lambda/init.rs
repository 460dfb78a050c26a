//! Tests a function's start: an operator's mistake ends the function, and a temporary failure does not.

use std::time::Duration;

use local::lambda::{Lambda, LambdaError, Plan};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::aws::{SECRET, StubAws};
use super::function::{TIMEOUT, environment};
use super::support::database::TestDatabase;
use super::support::gateway::plan;
use super::support::{binaries, kafka};

type Environment = Vec<(&'static str, String)>;

async fn start(name: &'static str, environment: Environment) -> (Lambda, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let binary = binaries::folder().await.join(name);
    let plan = Plan { name, binary, environment, timeout: TIMEOUT, freezes: true, folder: folder.path().to_owned() };
    (Lambda::start(plan, 1).await.unwrap(), folder)
}

/// Returns the only line that a function logs before it ends.
async fn last_words(name: &'static str, environment: Environment) -> String {
    let (mut lambda, _folder) = start(name, environment).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), lambda.ended()).await.expect("the sandbox ends");
    let LambdaError::Ended { status, log, .. } = ended else { panic!("{name}: {ended}") };
    assert!(!status.success());
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = &lines[..] else { panic!("{name} says: {log}") };
    assert_eq!(line["level"], "ERROR");
    line["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_variable_ends_a_function_with_one_line_that_names_the_variable() {
    let contracts = plan();
    let complete = environment("postgres://sluice@127.0.0.1:1/sluice", &kafka::settings(), contracts.contracts());
    for (name, lacking) in [
        ("consume", "DATABASE_URL"),
        ("ingest", "KAFKA_BOOTSTRAP_SERVERS"),
        ("ingest", "DATABASE_URL"),
        ("ingest", "TOKEN_KEY"),
        ("users", "TOKEN_KEY"),
        ("console", "KAFKA_BOOTSTRAP_SERVERS"),
    ] {
        let environment = complete.iter().filter(|(variable, _)| *variable != lacking).cloned().collect();
        let message = last_words(name, environment).await;
        assert!(message.starts_with(&format!("{lacking} is not set: it should hold ")), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_or_an_invalid_variable_ends_a_function_with_one_line_that_says_so() {
    let (contracts, database) = (plan(), TestDatabase::create().await);
    let (_, place) = database.url.split_once('@').unwrap();
    let complete = environment(&database.url, &kafka::settings(), contracts.contracts());
    for (name, variable, value, expected) in [
        (
            "consume",
            "DATABASE_URL",
            format!("postgres://nobody:wrong@{place}"),
            "DATABASE_URL: the connection is refused: ",
        ),
        (
            "consume",
            "DATABASE_URL",
            format!("{}?sslmode=require", database.url),
            "DATABASE_URL: the connection is refused: ",
        ),
        ("ingest", "LOG_FORMAT", "yaml".to_owned(), "LOG_FORMAT is malformed: it should hold text or json"),
        ("ingest", "KAFKA_AUTH", "tls".to_owned(), "KAFKA_SSL_CERT is not set: it should hold "),
        ("ingest", "KAFKA_SSL_CA", "/not/there".to_owned(), "KAFKA_SSL_CA is malformed: it should hold "),
        ("users", "DATABASE_SECRET_ARN", "sluice".to_owned(), "DATABASE_SECRET_ARN is malformed: it should hold "),
    ] {
        let others = complete.iter().filter(|(other, _)| *other != variable).cloned();
        let message = last_words(name, others.chain([(variable, value)]).collect()).await;
        assert!(message.starts_with(expected), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_the_variable_of_a_secret_that_cannot_sign_tokens() {
    let (contracts, database, aws) = (plan(), TestDatabase::create().await, StubAws::start().await);
    aws.set(|answers| answers.secret = "hunter2".to_owned());
    let mut environment = environment(&database.url, &kafka::settings(), contracts.contracts());
    environment.retain(|(name, _)| *name != "TOKEN_KEY");
    environment.extend([("TOKEN_SECRET_ARN", SECRET.to_owned()), ("AWS_REGION", "eu-central-1".to_owned())]);
    environment.extend(aws.variables().map(|(name, value)| (name, value.to_owned())));
    let message = last_words("users", environment).await;
    let expected =
        "TOKEN_SECRET_ARN names an unsuitable resource: the resource must be at least 32 random bytes in hex or base64";
    assert!(message.starts_with(expected) && !message.contains("hunter2"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_silent_servers_still_requests_its_first_invocation_within_the_init_phase() {
    let contracts = plan();
    // This server accepts connections, but never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let database = format!("postgres://sluice:sluice@{address}/sluice");
    let settings = shared::kafka::KafkaSettings::plaintext(address);
    let (lambda, _folder) = start("ingest", environment(&database, &settings, contracts.contracts())).await;
    let sandbox = &lambda.sandboxes()[0];
    // Lambda allows 10 s for a start. Lookups on AWS may take 4 s of this time. This function makes no lookups, so it
    // must be ready within the other 6 s.
    let ready = tokio::time::timeout(Duration::from_secs(10), sandbox.ready_after()).await.unwrap().unwrap();
    assert!(ready < Duration::from_secs(6), "{ready:?}");
    let log = sandbox.log();
    for said in ["DATABASE_URL: cannot connect to 127.0.0.1:", "KAFKA_BOOTSTRAP_SERVERS: cannot connect to 127.0.0.1:"]
    {
        assert!(log.contains(said), "{log}");
    }
    lambda.stop().await.unwrap();
}
