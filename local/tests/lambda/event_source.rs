//! The event source mapping's events to `consume`.

use base64_simd::STANDARD;
use serde_json::{Value, json};

use super::function::{Function, environment, position};
use super::support::database::TestDatabase;
use super::support::gateway::plan;
use super::support::kafka;
use local::event_source_mapping::function::CONSUME_TIMEOUT;

/// A stream for the topic of AWS's examples.
fn with_mytopic() -> super::support::gateway::Plan {
    let plan = plan();
    let route = include_str!("../../../shared/contracts/route.json");
    let mut contract: Value = serde_json::from_str(route).unwrap();
    contract["x-sluice"]["topic"] = json!("mytopic");
    std::fs::write(plan.contracts().join("mytopic.json"), contract.to_string()).unwrap();
    plan
}

/// A batch of positions, in the form of AWS's example.
pub(crate) fn batch(topic: &str, first_offset: i64, positions: &[String]) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/msk.json")).unwrap();
    let mut record = event["records"]["mytopic-0"][0].clone();
    let records = (first_offset..).zip(positions).map(|(offset, position)| {
        record["topic"] = json!(topic);
        record["offset"] = json!(offset);
        record["value"] = json!(STANDARD.encode_to_string(position));
        record.clone()
    });
    let records: Vec<Value> = records.collect();
    event["records"] = json!({ format!("{topic}-0"): records });
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_that_aws_publishes_are_taken_and_counted() {
    let (database, plan) = (TestDatabase::create().await, with_mytopic());
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let function = Function::start("consume", environment, CONSUME_TIMEOUT).await;

    let msk: Value = serde_json::from_str(include_str!("events/msk.json")).unwrap();
    let summary = function.invoke(&msk).await.unwrap();
    assert_eq!((&summary["records"], &summary["rejected"]), (&json!(1), &json!(1)), "its text is no JSON");
    // The same record again, from a cluster of one's own.
    let self_managed: Value = serde_json::from_str(include_str!("events/self_managed.json")).unwrap();
    assert_eq!(function.invoke(&self_managed).await.unwrap()["replayed"], 1);
    let letter = database.json("select topic, partition, \"offset\", convert_from(payload, 'UTF8') as payload, headers from sluice.dead_letters").await;
    assert_eq!(letter[0]["payload"], "Hello, this is a test.");
    assert_eq!(
        (&letter[0]["topic"], &letter[0]["partition"], &letter[0]["offset"]),
        (&json!("mytopic"), &json!(0), &json!(15))
    );
    let headers = letter[0]["headers"].to_string();
    assert!(headers.contains("headerKey"), "{headers}");

    let positions: Vec<String> = (0..3).map(position).collect();
    assert_eq!(function.invoke(&batch("mytopic", 16, &positions)).await.unwrap()["written"], 3);
    assert_eq!(database.count("select count(*) from public.routes_table").await, 3);

    let mut metrics = function.metrics();
    let lags: Vec<Value> =
        metrics.iter_mut().map(|line| line.as_object_mut().unwrap().remove("lag_ms").into()).collect();
    let lags: Vec<Option<u64>> = lags.iter().map(Value::as_u64).collect();
    assert!(matches!(lags[..], [Some(_), None, Some(_)]), "what was applied before is not late: {lags:?}");
    let counted = |what: &str, n: u64| json!({"function": "consume", "stream": "mytopic", what: n});
    assert_eq!(metrics, [counted("rejected", 1), counted("replayed", 1), counted("written", 3)]);
    assert_eq!(function.said("landed").len(), 3);
    assert_eq!(function.lines().len(), 6, "a line each, and the metrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_fails_says_so_by_a_short_name_and_without_the_payload() {
    let (database, plan) = (TestDatabase::create().await, plan());
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let function = Function::start("consume", environment, CONSUME_TIMEOUT).await;
    assert_eq!(function.error_type(&json!({"a secret": 1})).await, "Sluice.NotABatch");
    let unknown = batch("nobody's", 0, &["a secret".to_owned()]);
    assert_eq!(function.error_type(&unknown).await, "Sluice.UnknownTopic");
    sqlx::query("drop table public.routes_table").execute(&database.pool).await.unwrap();
    let registry = shared::contract::Registry::load(Some(plan.contracts())).unwrap();
    let topic = &registry.stream("route").unwrap().topic;
    assert_eq!(function.error_type(&batch(topic, 0, &[position(1)])).await, "Sluice.Stop");

    let told: Vec<Value> = function.said("did not land").iter().map(|line| line["error_type"].clone()).collect();
    assert_eq!(told, ["Sluice.NotABatch", "Sluice.UnknownTopic", "Sluice.Stop"]);
    let log = function.lambda.sandboxes()[0].log();
    assert!(!log.contains("a secret") && !log.contains("52.3676"), "{log}");
}
