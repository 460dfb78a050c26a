use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, NOW_MS, TestConsole};

const ROUTE: &str = r#"{"userID": 5, "timestamp": 1557258853.50, "coordinates": [52.3676, 4.9041]}"#;

async fn replay(function: &TestConsole, id: i64, event: &str) -> Answer {
    function.post(&format!("/dead-letters/{id}/replay"), &[], format!(r#"{{"event": {event}}}"#)).await
}

#[tokio::test]
async fn an_edited_event_is_sent_instead_of_the_original_and_the_original_is_kept() {
    let function = TestConsole::start().await;
    let headers = json!([
        {"name": "idempotency-key", "value": "k"}, {"name": "sluice-user", "value": "ann"},
    ]);
    let id = function.reject("routes", 2, 41, br#"{"userID": "five"}"#, &headers).await;
    let answer = replay(&function, id, ROUTE).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");

    let records = function.records("routes").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value, ROUTE, "the event is sent as it was written");
    assert_eq!(records[0].key.as_deref(), Some("5"), "the key is that of the edited event");
    let place = format!("{}/2/41/{NOW_MS}", function.topic("routes"));
    for (name, value) in
        [("idempotency-key", "k"), ("sluice-user", "ann"), ("sluice-replay", &place), ("sluice-replay-edited", &place)]
    {
        assert_eq!(records[0].headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let letter = function.get(&format!("/dead-letters/{id}")).await.body;
    assert_eq!((&letter["status"], &letter["payload"]), (&json!("replayed"), &json!({"userID": "five"})));
    assert_eq!((&letter["replays"], &letter["replayed_as"]["offset"]), (&json!(1), &json!(records[0].offset)));
    assert_eq!(replay(&function, id, ROUTE).await.status, StatusCode::CONFLICT);
    function.end().await;
}

#[tokio::test]
async fn an_edited_event_is_checked_like_any_other() {
    let function = TestConsole::start().await;
    let id = function.reject("routes", 2, 41, b"{}", &json!([])).await;
    let answer = replay(&function, id, r#"{"userID": "five"}"#).await;
    assert_eq!((answer.status, &answer.body["type"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("/problems/contract")));
    let pointers: Vec<&Value> =
        answer.body["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert!(pointers.contains(&&json!("/userID")), "{answer:?}");
    let large = format!(r#"{{"userID": 5, "timestamp": 1, "coordinates": [1, 2], "{}": 1}}"#, "x".repeat(1_000_000));
    assert_eq!(replay(&function, id, &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    for (body, status) in [
        ("{", StatusCode::BAD_REQUEST),
        ("{}", StatusCode::BAD_REQUEST),
        (r#"{"event": {}, "force": true}"#, StatusCode::BAD_REQUEST),
        (r#"{"event": {"userID": 1, "userID": 2}}"#, StatusCode::BAD_REQUEST),
    ] {
        let answer = function.post(&format!("/dead-letters/{id}/replay"), &[], body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    assert_eq!(function.records("routes").await.len(), 0);
    assert_eq!(function.get(&format!("/dead-letters/{id}")).await.body["status"], "open");
    function.end().await;
}

#[tokio::test]
async fn the_new_dead_letter_of_a_rejected_replay_names_the_replayed_dead_letter_and_counts_all_replays_so_far() {
    let function = TestConsole::start().await;
    let first = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    let mut id = first;
    for replays in 1..=3 {
        let answer = function.post(&format!("/dead-letters/{id}/replay"), &[], "").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(function.get(&format!("/dead-letters/{id}")).await.body["replays"], json!(replays));
        // The replay is also rejected.
        let record = function.records("routes").await.pop().unwrap();
        let headers: Vec<Value> =
            record.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let before = id;
        id = function.reject("routes", record.partition, 100 + record.offset, b"{}", &json!(headers)).await;
        let letter = function.get(&format!("/dead-letters/{id}")).await.body;
        assert_eq!((&letter["replays"], &letter["replay_of"]), (&json!(replays), &json!(before)));
    }
    function.end().await;
}
