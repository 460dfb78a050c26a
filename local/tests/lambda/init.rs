//! A function that cannot start.

use std::time::Duration;

use local::lambda::{Lambda, LambdaError, Plan};

use super::function::{TIMEOUT, environment};
use super::support::gateway::plan;
use super::support::{binaries, kafka};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_lacks_a_variable_ends_with_one_line_that_names_it() {
    let contracts = plan();
    let complete = environment("postgres://sluice@127.0.0.1:1/sluice", &kafka::settings(), contracts.contracts());
    for (name, lacking) in [
        ("consume", "DATABASE_URL"),
        ("ingest", "KAFKA_BOOTSTRAP_SERVERS"),
        ("ingest", "DATABASE_URL"),
        ("ingest", "TOKEN_KEY"),
        ("users", "TOKEN_KEY"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            name,
            binary: binaries::folder().await.join(name),
            environment: complete.iter().filter(|(variable, _)| *variable != lacking).cloned().collect(),
            timeout: TIMEOUT,
            freezes: true,
            folder: folder.path().to_owned(),
        };
        let mut lambda = Lambda::start(plan, 1).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), lambda.ended()).await.expect("it ends");
        let LambdaError::Ended { status, log, .. } = ended else { panic!("{name} without {lacking}: {ended}") };
        assert!(!status.success());
        let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [line] = &lines[..] else { panic!("{name} without {lacking} says: {log}") };
        assert_eq!(line["level"], "ERROR");
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{lacking} is not set: it should hold ")), "{message}");
    }
}
