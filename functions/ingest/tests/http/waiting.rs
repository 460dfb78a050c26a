use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{CITY, NDJSON, NOW_MS, TestIngest, WAIT_FOR_PARENT};

/// A time later than that of any record.
const LATER_MS: i64 = i64::MAX;

fn statuses(body: &Value) -> Vec<&str> {
    body["receipts"].as_array().unwrap().iter().filter_map(|receipt| receipt["status"].as_str()).collect()
}

#[tokio::test]
async fn a_request_that_waits_is_answered_as_soon_as_all_events_are_written() {
    let function = TestIngest::start().await;
    let started = Instant::now();
    let (answer, ()) =
        tokio::join!(function.post("/events/city", &[("prefer", "wait=20")], format!("[{CITY}, {CITY}]")), async {
            // Events with the same key are in the same partition. The client library chooses the partition.
            while function.records("city").await.len() < 2 {}
            let partition = function.records("city").await[0].partition;
            function.repeat("city", partition, 1).await;
            function.apply("city", partition, 2, LATER_MS).await;
        });
    assert_eq!((answer.status, statuses(&answer.body)), (StatusCode::OK, vec!["written", "duplicate"]));
    assert_eq!(answer.header("preference-applied"), "wait=20");
    assert!(started.elapsed() < Duration::from_secs(15));
    function.end().await;
}

#[tokio::test]
async fn a_request_that_waits_is_answered_as_soon_as_one_event_is_rejected() {
    let function = TestIngest::start().await;
    let elsewhere: Vec<String> = (0..20).map(|n| CITY.replace("Alvand", &format!("Alvand {n}"))).collect();
    let body = format!("[{CITY}, {}]", elsewhere.join(","));
    let (answer, ()) = tokio::join!(function.post("/events/city", &[("prefer", "wait=20")], body), async {
        while function.records("city").await.len() < 21 {}
        let records = function.records("city").await;
        let event = records.iter().find(|record| record.value == CITY).unwrap();
        function.reject("city", event.partition, event.offset, CITY.as_bytes(), &json!([])).await;
        function.apply("city", event.partition, event.offset + 1, LATER_MS).await;
    });
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body["type"], "/problems/rejected");
    assert_eq!(answer.body["receipts"][0]["status"], "rejected");
    assert_eq!(answer.body["receipts"][0]["reason"], "it exists already");
    let statuses = statuses(&answer.body);
    assert_eq!(statuses.len(), 21);
    assert!(statuses.contains(&"pending"), "{statuses:?}");
    function.end().await;
}

#[tokio::test]
async fn after_the_wait_the_answer_has_the_statuses_known_so_far() {
    let function = TestIngest::start().await;
    let started = Instant::now();
    let answer = function.post("/events/city", &[("prefer", "wait=1")], CITY).await;
    assert_eq!((answer.status, statuses(&answer.body)), (StatusCode::ACCEPTED, vec!["pending"]));
    assert!(started.elapsed() < Duration::from_secs(3));

    let partition = i32::try_from(answer.body["receipts"][0]["partition"].as_i64().unwrap()).unwrap();
    function.apply("city", partition, 2, LATER_MS).await;
    function.keep_waiting("city", partition, 1, NOW_MS).await;
    let answer = function.post("/events/city", &[("prefer", "wait=1")], CITY).await;
    assert_eq!((answer.status, statuses(&answer.body)), (StatusCode::ACCEPTED, vec!["waiting"]));
    function.end().await;
}

#[tokio::test]
async fn an_event_that_waits_too_long_for_its_parent_is_rejected() {
    let function = TestIngest::start().await;
    let answer = function.post("/events/city", &[], CITY).await;
    let receipt = &answer.body["receipts"][0];
    let partition = i32::try_from(receipt["partition"].as_i64().unwrap()).unwrap();
    function.apply("city", partition, 1, LATER_MS).await;
    function.keep_waiting("city", partition, 0, NOW_MS).await;
    let href = receipt["href"].as_str().unwrap();
    let wait_ms = i64::try_from(WAIT_FOR_PARENT.as_millis()).unwrap();
    function.clock.advance(wait_ms);
    assert_eq!(function.get(href).await.body, json!({"status": "waiting"}));
    function.clock.advance(1);
    let status = function.get(href).await.body;
    assert_eq!(status["status"], "rejected");
    assert_eq!(status["reason"], "the country it belongs to did not come in time");
    let code: String =
        sqlx::query_scalar("select error_code from sluice.dead_letters").fetch_one(&function.pool).await.unwrap();
    assert_eq!(code, "parent_missing");
    let counts = function.metrics.prometheus();
    assert!(counts.contains(r#"sluice_rejected_total{stream="city"} 1"#), "{counts}");
    function.end().await;
}

#[tokio::test]
async fn an_event_on_a_recreated_topic_is_not_mistaken_for_a_written_event() {
    let function = TestIngest::start().await;
    for partition in 0..4 {
        // This watermark is left over from the deleted topic.
        function.apply("city", partition, 1_000, NOW_MS).await;
    }
    let answer = function.post("/events/city", &[("prefer", "wait=1")], CITY).await;
    assert_eq!((answer.status, statuses(&answer.body)), (StatusCode::ACCEPTED, vec!["pending"]));
    function.end().await;
}

#[tokio::test]
async fn a_request_can_wait_for_ten_thousand_events() {
    let function = TestIngest::start().await;
    for partition in 0..4 {
        function.apply("city", partition, 10_000, LATER_MS).await;
    }
    let body: String = (0..10_000).map(|n| CITY.replace("Alvand", &format!("Alvand {n}")) + "\n").collect();
    let headers = [NDJSON, ("prefer", "wait=20")];
    let answer = function.post("/events/city", &headers, body).await;
    assert_eq!((answer.status, statuses(&answer.body).len()), (StatusCode::OK, 10_000));
    function.end().await;
}
