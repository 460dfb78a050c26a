//! Tests deployments that fail: CloudFormation gets one line that says what to fix.

use serde_json::json;
use sqlx::Executor as _;

use crate::stack::{OWNER_PASSWORD, PASSWORD, Stack};

const CREATE: &str = include_str!("../../../functions/migrate/events/create.json");
const UPDATE: &str = include_str!("../../../functions/migrate/events/update.json");

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_an_unreachable_server_or_a_refused_login_or_a_wrong_variable() {
    let stack = Stack::new().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let database = format!("postgres://{unused}/sluice");
    for (changed, expected) in [
        (("DATABASE_URL", database.as_str()), format!("DATABASE_URL: cannot connect to {unused}: ")),
        (("OWNER_SECRET_ARN", ""), "OWNER_SECRET_ARN is not set: it should hold ".to_owned()),
        (("RUST_LOG", "shared=loud"), "RUST_LOG is malformed: it should hold ".to_owned()),
        (("CONTRACTS_DIR", "/not/there"), "CONTRACTS_DIR: /not/there: ".to_owned()),
        (("KAFKA_AUTH", "kerberos"), "KAFKA_AUTH is malformed: it should hold ".to_owned()),
    ] {
        let function = stack.start(&[changed]).await;
        let (response, answer) = stack.deploy(&function, CREATE).await;
        let reason = answer["Reason"].as_str().unwrap();
        assert_eq!((&answer["Status"], &response["status"]), (&json!("FAILED"), &json!("FAILED")), "{changed:?}");
        assert!(reason.starts_with(&expected), "{changed:?}: {reason}");
        assert!(reason.lines().count() == 1 && reason.len() <= 500, "{reason}");
    }

    stack.aws.set(|answers| answers.owner_secret = json!({"username": stack.owner, "password": "wrong"}).to_string());
    let function = stack.start(&[]).await;
    let (_, answer) = stack.deploy(&function, CREATE).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert!(
        reason.starts_with("DATABASE_URL: the connection is refused: ") && reason.contains(&stack.owner),
        "{reason}"
    );
    assert!(!reason.contains(PASSWORD) && !reason.contains("wrong"), "{reason}");
    stack.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_deployment_that_reached_no_broker_the_next_one_does_only_the_remaining_work() {
    let stack = Stack::new().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let function = stack.start(&[("KAFKA_BOOTSTRAP_SERVERS", &unused)]).await;
    let (_, answer) = stack.deploy(&function, CREATE).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert_eq!(answer["Status"], "FAILED");
    assert!(reason.starts_with(&format!("KAFKA_BOOTSTRAP_SERVERS: cannot connect to {unused}: ")), "{reason}");

    let function = stack.start(&[]).await;
    let (response, answer) = stack.deploy(&function, CREATE).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let changed = response["done"]["changed"].as_array().unwrap();
    assert!(changed.iter().all(|line| line.as_str().unwrap().starts_with("topic ")), "{changed:?}");
    stack.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_is_answered_with_the_reason() {
    let stack = Stack::new().await;
    let function = stack.start(&[]).await;
    stack.deploy(&function, CREATE).await;
    let mut owner = stack.connect(&stack.owner, OWNER_PASSWORD).await.unwrap();
    owner.execute("update public._sqlx_migrations set checksum = 'x' where version = 1").await.unwrap();
    let (_, answer) = stack.deploy(&function, UPDATE).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert_eq!(answer["Status"], "FAILED");
    assert!(reason.starts_with("migrations: migration 1 was previously applied but has been modified"), "{reason}");
    drop(owner);
    stack.remove().await;
}
