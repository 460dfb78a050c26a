//! Tests invocations that end themselves before they exceed Lambda's time limit.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::contract::Registry;

use super::function::{IngestLambda, LambdaFunction, batch, environment, position};
use super::support::database::TestDatabase;
use super::support::gateway::plan;
use super::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_land_in_time_fails_before_lambda_ends_the_invocation_and_lands_after_a_redelivery() {
    let (database, plan) = (TestDatabase::create().await, plan());
    let topic = Registry::load(Some(plan.contracts())).unwrap().stream("route").unwrap().topic.clone();
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let function = LambdaFunction::start("consume", environment, Duration::from_secs(3)).await;
    let event = batch(&topic, 0, &[position(1), position(2)]);

    let mut holder = database.pool.begin().await.unwrap();
    sqlx::query("lock table public.routes_table in access exclusive mode").execute(&mut *holder).await.unwrap();
    assert_eq!(function.error_type(&event).await, "Sluice.Deadline");
    holder.rollback().await.unwrap();
    assert_eq!(function.invoke(&event).await.unwrap()["written"], 2);
    assert_eq!(database.count("select count(*) from public.routes_table").await, 2);
    assert_eq!(function.said("did not land").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_prefers_to_wait_longer_than_lambda_allows_is_answered_before_the_limit() {
    let (database, kafka) = (TestDatabase::create().await, kafka::settings());
    let timeout = Duration::from_secs(10);
    let ingest = IngestLambda::start((&database.pool, &database.url), &kafka, timeout).await;
    let asked = Instant::now();
    let (status, body) = ingest.function.post("/events/route", &[("prefer", "wait=25")], &position(1)).await;
    assert_eq!((status, &body["receipts"][0]["status"]), (202, &json!("pending")), "{body}");
    assert!(asked.elapsed() > timeout / 2, "the request waited: {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_not_sent_if_too_little_time_is_left_for_their_acknowledgement() {
    let (database, kafka) = (TestDatabase::create().await, kafka::settings());
    let ingest = IngestLambda::start((&database.pool, &database.url), &kafka, Duration::from_secs(6)).await;
    assert_eq!(ingest.function.post("/events/route", &[], &position(1)).await.0, 503);
    assert_eq!(ingest.users(&kafka).await, [0; 0]);
}
