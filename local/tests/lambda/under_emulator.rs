//! Runs each function under AWS's Runtime Interface Emulator, with the events that invoke it on AWS.

use std::path::Path;
use std::time::Duration;

use local::event_source_mapping::function::CONSUME_TIMEOUT;
use local::mail_sink::MailSink;
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::topics;
use sqlx::Executor as _;

use super::emulator::{Emulated, installed};
use super::function::{TIMEOUT, batch, environment, position, request};
use super::stack::{OWNER_PASSWORD, PASSWORD, Stack};
use super::support::database::TestDatabase;
use super::support::gateway::{ADMIN, plan};
use super::support::kafka;

const CREATE: &str = include_str!("../../../functions/migrate/events/create.json");
const UPDATE: &str = include_str!("../../../functions/migrate/events/update.json");
const ROLLBACK: &str = include_str!("../../../functions/migrate/events/rollback.json");
const DELETE: &str = include_str!("../../../functions/migrate/events/delete.json");

fn recorded(event: &str) -> Value {
    serde_json::from_str(event).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_from_api_gateway_are_answered_and_a_function_shuts_down_gracefully() {
    let Some(program) = installed() else { return };
    let (database, kafka, plan) = (TestDatabase::create().await, kafka::settings(), plan());
    let registry = Registry::load(Some(plan.contracts())).unwrap();
    topics::ensure(&kafka, &registry).await.unwrap();
    make_admin(&database.pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
    let environment = environment(&database.url, &kafka, plan.contracts());

    let ingest = Emulated::start(&program, "ingest", &environment, TIMEOUT).await;
    for stage in ["$default", "prod"] {
        let answer = ingest.invoke(&request(stage, "/events/route", &[], &position(1))).await;
        assert_eq!(answer["statusCode"], 202, "{answer}");
        assert_eq!(answer["headers"]["x-request-id"], "JKJaXmPLvHcESHA=", "{answer}");
    }
    let answer = ingest.invoke(&request("$default", "/events/route", &[], "{}")).await;
    assert_eq!(answer["statusCode"], 422, "{answer}");
    let log = ingest.stop().await;
    assert!(log.contains("Graceful shutdown completed"), "{log}");
    let sent = kafka::records_in(&kafka, &registry.stream("route").unwrap().topic).await;
    assert_eq!(sent.len(), 2);

    let users = Emulated::start(&program, "users", &environment, TIMEOUT).await;
    let ann = r#"{"user":"ann","pass":"correct horse"}"#;
    for (path, status) in [("/register", 201), ("/login", 200)] {
        assert_eq!(users.invoke(&request("$default", path, &[], ann)).await["statusCode"], status, "{path}");
    }
    let console = Emulated::start(&program, "console", &environment, TIMEOUT).await;
    let done = console.invoke(&recorded(include_str!("events/schedule.json"))).await;
    assert_eq!(done, json!({"rejected": 0}));
    for emulated in [users, console] {
        assert!(emulated.stop().await.contains("Graceful shutdown completed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_from_both_kinds_of_clusters_land_and_a_scheduled_invocation_compares_the_watermarks_with_kafka() {
    let Some(program) = installed() else { return };
    let (database, kafka, plan) = (TestDatabase::create().await, kafka::settings(), plan());
    let registry = Registry::load(Some(plan.contracts())).unwrap();
    topics::ensure(&kafka, &registry).await.unwrap();
    let topic = registry.stream("route").unwrap().topic.clone();
    let environment = environment(&database.url, &kafka, plan.contracts());
    let consume = Emulated::start(&program, "consume", &environment, CONSUME_TIMEOUT).await;

    let mut msk = batch(&topic, 0, &[position(1), position(2)]);
    assert_eq!(consume.invoke(&msk).await["written"], 2);
    msk["eventSource"] = json!("SelfManagedKafka");
    let answer = consume.invoke(&msk).await;
    assert_eq!((&answer["written"], &answer["replayed"]), (&json!(0), &json!(2)), "{answer}");
    let unknown = consume.invoke(&recorded(include_str!("events/self_managed.json"))).await;
    assert_eq!(unknown["errorType"], "Sluice.UnknownTopic", "{unknown}");
    let compared = consume.invoke(&recorded(include_str!("events/schedule.json"))).await;
    assert!(compared.get("errorType").is_none(), "{compared}");
    assert_eq!(database.count("select count(*) from public.routes_table").await, 2);
    let log = consume.stop().await;
    assert!(log.contains("Graceful shutdown completed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_mails_the_report_of_an_hour_once() {
    let Some(program) = installed() else { return };
    let (database, plan, folder) = (TestDatabase::create().await, plan(), tempfile::tempdir().unwrap());
    let sink = MailSink::start(folder.path()).await.unwrap();
    let mut environment = environment(&database.url, &kafka::settings(), plan.contracts());
    environment.extend([
        ("REPORT_TO", "ann@example.com".to_owned()),
        ("REPORT_FROM", "sluice@example.com".to_owned()),
        ("SMTP_URL", sink.url.clone()),
    ]);
    let report = Emulated::start(&program, "report", &environment, TIMEOUT).await;
    let hour = recorded(include_str!("events/schedule.json"));
    for expected in ["sent", "already_sent"] {
        assert_eq!(report.invoke(&hour).await, json!({"report": expected}));
    }
    let mails: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(mails.len(), 1, "{mails:?}");
    report.stop().await;
}

async fn migrate(program: &Path, stack: &Stack, changed: &[(&'static str, String)]) -> Emulated {
    let mut environment = stack.environment();
    environment.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    environment.extend(changed.iter().cloned());
    Emulated::start(program, "migrate", &environment, Duration::from_secs(900)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudformations_requests_are_answered_whatever_goes_wrong() {
    let Some(program) = installed() else { return };
    let stack = Stack::new().await;
    let deploy = async |function: &Emulated, event: &str| {
        let (_, answer) = stack.deploy_with(event, async |event| function.invoke(&event).await).await;
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        (text("Status"), text("Reason"))
    };
    let succeeded = ("SUCCESS".to_owned(), String::new());
    let failed = |(status, reason): (String, String), expected: &str| {
        assert!(status == "FAILED" && reason.starts_with(expected) && reason.lines().count() == 1, "{reason}");
    };

    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = ("DATABASE_URL", format!("postgres://{unused}/sluice"));
    let unreachable = migrate(&program, &stack, &[elsewhere]).await;
    failed(deploy(&unreachable, CREATE).await, &format!("DATABASE_URL: cannot connect to {unused}: "));
    unreachable.stop().await;

    let function = migrate(&program, &stack, &[]).await;
    assert_eq!(deploy(&function, CREATE).await, succeeded);
    assert_eq!(deploy(&function, UPDATE).await, succeeded);
    let mut owner = stack.connect(&stack.owner, OWNER_PASSWORD).await.unwrap();
    let newer = "insert into public._sqlx_migrations (version, description, success, checksum, execution_time)
        values (900, 'newer', true, 'x', 1)";
    owner.execute(newer).await.unwrap();
    assert_eq!(deploy(&function, ROLLBACK).await, succeeded);
    owner.execute("update public._sqlx_migrations set checksum = 'x' where version = 1").await.unwrap();
    failed(deploy(&function, UPDATE).await, "migrations: migration 1 was previously applied but has been modified");
    assert_eq!(deploy(&function, DELETE).await, succeeded);
    let made = function.invoke(&json!({"admin": "Ann"})).await;
    assert_eq!(made["password"].as_str().unwrap().len(), 24);

    let log = function.stop().await;
    for secret in [PASSWORD, OWNER_PASSWORD, "?signature"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    drop(owner);
    stack.remove().await;
}
