//! Tests functions whose broker or database is down.

use std::time::{Duration, Instant};

use local::event_source_mapping::function::CONSUME_TIMEOUT;
use local::servers::{DataFolder, Kafka, Postgres, PostgresOptions};
use serde_json::json;
use shared::contract::Registry;
use shared::kafka::KafkaSettings;

use super::function::{IngestLambda, LambdaFunction, TIMEOUT, batch, environment, position};
use super::support::database::TestDatabase;
use super::support::gateway::plan;
use super::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_a_dead_broker_gets_503_in_time_and_does_not_appear_later() {
    let data = DataFolder::temporary().unwrap();
    let (kafka, database) = tokio::join!(Kafka::start(&data), TestDatabase::create());
    let mut kafka = kafka.unwrap();
    let settings = KafkaSettings::plaintext(kafka.bootstrap_servers());
    let ingest = IngestLambda::start((&database.pool, &database.url), &settings, TIMEOUT).await;
    assert_eq!(ingest.function.post("/events/route", &[], &position(1)).await.0, 202);

    kafka.kill9().await;
    let asked = Instant::now();
    let (status, body) = ingest.function.post("/events/route", &[], &position(2)).await;
    let answered = asked.elapsed();
    assert_eq!((status, &body["receipts"]), (503, &json!([])), "{body}");
    assert!(answered < Duration::from_secs(12), "{answered:?}");
    eprintln!("without a broker, the request was answered after {answered:?}");
    // If the frozen function still held the event, it would send the event when the next request thaws it.
    kafka.restart().await.unwrap();
    assert_eq!(ingest.function.post("/events/route", &[], &position(3)).await.0, 202);

    assert_eq!(ingest.users(&settings).await, [1, 3]);
    let counted = |what: &str| json!({"function": "ingest", "stream": "route", what: 1});
    assert_eq!(ingest.function.metrics(), [counted("accepted"), counted("unacknowledged"), counted("accepted")]);
    kafka.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_for_a_dead_database_fails_and_later_lands_once_without_a_dead_letter() {
    let data = DataFolder::temporary().unwrap();
    let mut postgres = Postgres::start(&data, PostgresOptions::default()).await.unwrap();
    let pool = shared::database::connect(&postgres.database_url(), 2).unwrap();
    shared::database::migrate(&pool, None).await.unwrap();
    let plan = plan();
    let topic = Registry::load(Some(plan.contracts())).unwrap().stream("route").unwrap().topic.clone();
    let environment = environment(&postgres.database_url(), &kafka::settings(), plan.contracts());
    let function = LambdaFunction::start("consume", environment, CONSUME_TIMEOUT).await;
    let positions: Vec<String> = (0..10).map(position).collect();
    assert_eq!(function.invoke(&batch(&topic, 0, &positions)).await.unwrap()["written"], 10);

    postgres.kill9().await;
    let next = batch(&topic, 10, &positions);
    assert_eq!(function.error_type(&next).await, "Sluice.Retry");
    assert_eq!(function.error_type(&next).await, "Sluice.Retry");
    postgres.restart().await.unwrap();
    assert_eq!(function.invoke(&next).await.unwrap()["written"], 10);
    let again = function.invoke(&next).await.unwrap();
    // `replayed` counts redelivered records.
    assert_eq!((&again["written"], &again["replayed"]), (&json!(0), &json!(10)));

    let counts = "select (select count(*) from public.routes_table), (select count(*) from sluice.dead_letters)";
    let counts: (i64, i64) = sqlx::query_as(counts).fetch_one(&pool).await.unwrap();
    assert_eq!(counts, (20, 0));
    pool.close().await;
    postgres.stop().await;
}
