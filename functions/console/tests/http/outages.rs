use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Lacking, TestConsole};

#[tokio::test]
async fn without_a_broker_a_replay_gets_503_in_time_and_the_letter_stays_open() {
    let function = TestConsole::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    let started = Instant::now();
    let letter = function.reject("city", 0, 1, b"{}", &json!([])).await;
    let answer = function.post(&format!("/dead-letters/{letter}/replay"), &[], "").await;
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(answer.body["receipts"], json!([]));
    assert_eq!(answer.body["detail"], "The broker did not answer in time. Try again.");
    assert_eq!(function.get(&format!("/dead-letters/{letter}")).await.body["status"], "open");
}

#[tokio::test]
async fn following_an_event_without_a_broker_gets_503_in_time() {
    let function = TestConsole::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    for query in [format!("receipt={}/0/0", function.topic("city")), "stream=city&key=a".to_owned()] {
        let started = Instant::now();
        let answer = function.get(&format!("/follow?{query}")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.body["detail"], "The broker did not answer in time. Try again.");
        assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn requests_without_a_database_get_503_in_time() {
    let lacking = Lacking { broker: true, database: true, topics: true, roles: false };
    let function = TestConsole::start_lacking(lacking).await;
    for path in ["/dead-letters", "/dead-letters/1"] {
        let started = Instant::now();
        let answer = function.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.body["detail"], "The database did not answer in time. Try again.");
        assert!(started.elapsed() < Duration::from_secs(12), "{path}: {:?}", started.elapsed());
    }
}
