use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::kafka::Outgoing;

use crate::support::{Lacking, NOW_MS, TestConsole};

/// Returns the item of a stream in the route's answer.
async fn stream(function: &TestConsole, path: &str, name: &str) -> Value {
    let answer = function.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let items = answer.body["items"].as_array().unwrap();
    items.iter().find(|item| item["stream"] == name).unwrap().clone()
}

/// Returns the sum of a count over the stream's minutes.
fn sum(stream: &Value, count: &str) -> i64 {
    stream["minutes"].as_array().unwrap().iter().map(|minute| minute[count].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn the_activity_of_each_stream_shows_its_accepted_and_written_and_rejected_events_and_its_lag() {
    let function = TestConsole::start().await;
    let topic = function.topic("routes");
    let event = Outgoing { topic: &topic, key: Some(b"5"), value: Some(b"{}"), headers: &[] };
    let sent = function.producer.send(&[event, event, event]).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");

    let route = stream(&function, "/activity", "route").await;
    let now = ["topic", "destination", "lag_events", "oldest_waiting_at", "open_dead_letters"].map(|name| &route[name]);
    assert_eq!(now, [&json!(topic), &json!("postgresql"), &json!(3), &json!(null), &json!(0)]);
    assert_eq!((sum(&route, "accepted"), sum(&route, "written")), (3, 0));
    assert_eq!(stream(&function, "/activity?minutes=1", "city").await["minutes"], json!([]));

    let partition = sent[0].as_ref().unwrap().partition;
    function.apply("routes", partition, 3, NOW_MS).await;
    sqlx::query(
        "update sluice.watermarks set minute = date_trunc('minute', now(), 'UTC'), written = 2, rejected = 1, max_lag_ms = 9",
    )
    .execute(&function.pool)
    .await
    .unwrap();
    function.reject("routes", partition, 2, b"{}", &json!([])).await;
    function.keep_waiting("city", 0, 0, NOW_MS).await;
    let route = stream(&function, "/activity?minutes=1440", "route").await;
    assert_eq!(["lag_events", "open_dead_letters"].map(|name| &route[name]), [&json!(0), &json!(1)]);
    assert_eq!(["accepted", "written", "rejected", "waiting"].map(|count| sum(&route, count)), [3, 2, 1, 0]);
    assert_eq!(route["minutes"].as_array().unwrap().last().unwrap()["lag_ms"], json!(9));
    let city = stream(&function, "/activity", "city").await;
    assert_eq!(city["oldest_waiting_at"], json!("2019-05-07T19:54:13.563Z"));
    function.end().await;
}

#[tokio::test]
async fn without_a_broker_the_counts_are_shown_without_the_lag() {
    let function = TestConsole::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    let route = stream(&function, "/activity", "route").await;
    assert_eq!(["lag_events", "lag_seconds"].map(|name| &route[name]), [&json!(null), &json!(null)]);
    assert_eq!(route["minutes"], json!([]));
}

#[tokio::test]
async fn only_a_number_of_minutes_from_1_to_1440_is_accepted() {
    let function = TestConsole::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    for query in ["minutes=0", "minutes=1441", "minutes=x", "minutes=", "hours=1"] {
        let answer = function.get(&format!("/activity?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
