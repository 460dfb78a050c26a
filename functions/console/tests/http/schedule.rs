use axum::Router;
use console::ConsoleFunction;
use serde_json::{Value, json};
use shared::ledger::waiting::{self, EXPIRED_AT_ONCE};
use shared::metrics::Metrics;

use crate::support::{NOW_MS, TestConsole, WAIT_FOR_PARENT};

/// An event in the form in which EventBridge sends it for a schedule.
pub(crate) const EVENT: &str = r#"{"version": "0", "id": "53dc4d37", "detail-type": "Scheduled Event", "source": "aws.events",
    "account": "123456789012", "time": "2026-10-08T16:53:06Z", "region": "us-east-1", "resources": [], "detail": {}}"#;

pub(crate) async fn invoke(function: &TestConsole, event: &str) -> Result<Value, String> {
    let invoked = ConsoleFunction::new(function.console.clone(), Router::new());
    let answer = invoked.invoke(event, lambda_runtime::Context::default()).await.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(answer.get()).unwrap())
}

#[tokio::test]
async fn the_schedule_rejects_events_that_have_waited_too_long_for_their_parents() {
    let function = TestConsole::start().await;
    function.apply("city", 0, 1, i64::MAX).await;
    function.keep_waiting("city", 0, 0, NOW_MS).await;
    function.clock.advance(i64::try_from(WAIT_FOR_PARENT.as_millis()).unwrap());
    assert_eq!(invoke(&function, EVENT).await, Ok(json!({"rejected": 0})));
    function.clock.advance(1);
    assert_eq!(invoke(&function, EVENT).await, Ok(json!({"rejected": 1})));
    assert_eq!(function.get("/dead-letters").await.body["items"][0]["error_code"], "parent_missing");
    assert_eq!(invoke(&function, EVENT).await, Ok(json!({"rejected": 0})));
    function.end().await;
}

/// Adds this many waiting events, all of which have already waited for too long.
async fn keep_expired(function: &TestConsole, events: u64) {
    sqlx::query(
        r#"insert into sluice.waiting
           (topic, "partition", "offset", incarnation, stream, entity_key, parent_stream, parent_key, payload, headers,
            record_timestamp_ms, since_ms)
           select $1, 0, coalesce((select max("offset") + 1 from sluice.waiting), 0) + n, 1, 'city', 'c', 'country', 'p', '{}',
                  '[]', 0, $2
           from generate_series(0, $3 - 1) n"#,
    )
    .bind(function.topic("city"))
    .bind(NOW_MS - i64::try_from(WAIT_FOR_PARENT.as_millis()).unwrap() - 1)
    .bind(i64::try_from(events).unwrap())
    .execute(&function.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn one_statement_rejects_a_limited_number_of_expired_events_but_the_schedule_rejects_all_expired_events() {
    let function = TestConsole::start().await;
    keep_expired(&function, EXPIRED_AT_ONCE + 1).await;
    let reject = async || waiting::reject_expired(&function.pool, NOW_MS, &Metrics::default()).await.unwrap();
    assert_eq!(reject().await, EXPIRED_AT_ONCE);
    assert_eq!(reject().await, 1);
    assert_eq!(reject().await, 0);
    sqlx::query("delete from sluice.dead_letters").execute(&function.pool).await.unwrap();
    keep_expired(&function, EXPIRED_AT_ONCE + 1).await;
    assert_eq!(invoke(&function, EVENT).await, Ok(json!({"rejected": EXPIRED_AT_ONCE + 1})));
    function.end().await;
}

#[tokio::test]
async fn an_event_from_neither_api_gateway_nor_a_schedule_fails_the_invocation() {
    let function = TestConsole::start().await;
    let error = invoke(&function, r#"{"eventSource": "aws:kafka", "records": {}}"#).await.unwrap_err();
    assert!(error.starts_with("the event is from neither API Gateway nor a schedule: "), "{error}");
    function.end().await;
}
