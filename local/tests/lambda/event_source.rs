//! Sends the event source mapping's events to `consume`.

use serde_json::{Value, json};

use super::function::{LambdaFunction, batch, environment, position};
use super::support::database::TestDatabase;
use super::support::gateway::plan;
use super::support::kafka;
use local::event_source_mapping::function::CONSUME_TIMEOUT;

/// Plans a gateway with a stream for the topic in AWS's examples.
fn with_mytopic() -> super::support::gateway::GatewayPlan {
    let plan = plan();
    let route = include_str!("../../../shared/contracts/route.json");
    let mut contract: Value = serde_json::from_str(route).unwrap();
    contract["x-sluice"]["topic"] = json!("mytopic");
    std::fs::write(plan.contracts().join("mytopic.json"), contract.to_string()).unwrap();
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_events_of_aws_are_accepted_and_counted() {
    let (database, plan) = (TestDatabase::create().await, with_mytopic());
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let function = LambdaFunction::start("consume", environment, CONSUME_TIMEOUT).await;

    let msk: Value = serde_json::from_str(include_str!("events/msk.json")).unwrap();
    let summary = function.invoke(&msk).await.unwrap();
    assert_eq!((&summary["records"], &summary["rejected"]), (&json!(1), &json!(1)), "the record is not JSON");
    // This event contains the same record, but comes from a self-managed cluster.
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
    assert!(matches!(lags[..], [Some(_), None, Some(_)]), "only newly applied records have a lag: {lags:?}");
    let counted = |what: &str, n: u64| json!({"function": "consume", "stream": "mytopic", what: n});
    // The first record's offset is 15, and Kafka has no record before it.
    let first = json!({"function": "consume", "stream": "mytopic", "gaps": 15, "rejected": 1});
    assert_eq!(metrics, [first, counted("replayed", 1), counted("written", 3)]);
    assert_eq!(function.said("landed").len(), 3);
    assert_eq!(function.said("became a dead letter").len(), 1);
    let lines = function.lines();
    // Leaves out warnings. The function logs warnings when it catches up to the first record, because Kafka has no
    // earlier records.
    let routine: Vec<&Value> = lines.iter().filter(|line| line["level"] != "WARN").collect();
    assert_eq!(routine.len(), 7, "three invocations, one dead letter and three lines of metrics: {lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_invocation_reports_a_short_error_type_and_logs_no_payload() {
    let (database, plan) = (TestDatabase::create().await, plan());
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let function = LambdaFunction::start("consume", environment, CONSUME_TIMEOUT).await;
    assert_eq!(function.error_type(&json!({"a secret": 1})).await, "Sluice.NotABatch");
    let unknown = batch("nobody's", 0, &["a secret".to_owned()]);
    assert_eq!(function.error_type(&unknown).await, "Sluice.UnknownTopic");
    sqlx::query("drop table public.routes_table").execute(&database.pool).await.unwrap();
    let registry = shared::contract::Registry::load(Some(plan.contracts())).unwrap();
    let topic = &registry.stream("route").unwrap().topic;
    assert_eq!(function.error_type(&batch(topic, 0, &[position(1)])).await, "Sluice.Stop");

    let reported: Vec<Value> = function.said("did not land").iter().map(|line| line["error_type"].clone()).collect();
    assert_eq!(reported, ["Sluice.NotABatch", "Sluice.UnknownTopic", "Sluice.Stop"]);
    let log = function.lambda.sandboxes()[0].log();
    assert!(!log.contains("a secret") && !log.contains("52.3676"), "{log}");
}
