use axum::Router;
use console::ConsoleFunction;
use serde_json::{Value, json};

use crate::support::{NOW_MS, TestConsole, WAIT_FOR_PARENT};

/// An event of EventBridge, as its rules send it.
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

#[tokio::test]
async fn an_event_of_neither_api_gateway_nor_a_schedule_fails_the_invocation() {
    let function = TestConsole::start().await;
    let error = invoke(&function, r#"{"eventSource": "aws:kafka", "records": {}}"#).await.unwrap_err();
    assert!(error.starts_with("the event is from neither API Gateway nor a schedule: "), "{error}");
    function.end().await;
}
