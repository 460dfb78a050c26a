use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, TestConsole};

async fn discard(function: &TestConsole, body: Value) -> Answer {
    function.post("/dead-letters/discard", &[], body.to_string()).await
}

#[tokio::test]
async fn the_matching_letters_are_discarded_with_a_note_but_their_receipts_keep_the_status_rejected() {
    let function = TestConsole::start().await;
    let city = function.reject("city", 0, 0, b"{}", &json!([])).await;
    let route = function.reject("routes", 1, 5, b"{}", &json!([])).await;
    function.apply("city", 0, 1, i64::MAX).await;
    let filter = json!({"stream": "city"});

    let answer = discard(&function, json!({"filter": filter, "note": "tests", "dry_run": true})).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"count": 1})));
    assert_eq!(function.get(&format!("/dead-letters/{city}")).await.body["status"], "open");

    let answer = discard(&function, json!({"filter": filter, "note": "sent by a test"})).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"count": 1, "left": 0})));
    let letter = function.get(&format!("/dead-letters/{city}")).await.body;
    assert_eq!((&letter["status"], &letter["note"]), (&json!("discarded"), &json!("sent by a test")));
    assert_eq!(function.get(&format!("/dead-letters/{route}")).await.body["status"], "open");
    let open = function.get("/dead-letters").await.body;
    assert_eq!(open["items"].as_array().unwrap().len(), 1);
    let receipt = function.get(&format!("/receipts/{}/0/0", function.topic("city"))).await.body;
    assert_eq!(receipt, json!({"status": "rejected", "reason": "it exists already"}));

    // A discarded letter cannot be replayed, and is not discarded again.
    let answer = function.post(&format!("/dead-letters/{city}/replay?force=true"), &[], "").await;
    assert_eq!((answer.status, &answer.body["type"]), (StatusCode::CONFLICT, &json!("/problems/not-replayable")));
    let answer = discard(&function, json!({"filter": filter, "note": "again"})).await;
    assert_eq!(answer.body, json!({"count": 0, "left": 0}));
    function.end().await;
}

#[tokio::test]
async fn all_matching_letters_are_discarded_even_if_they_need_several_transactions() {
    let function = TestConsole::start().await;
    let insert = "insert into sluice.dead_letters (topic, \"partition\", \"offset\", incarnation, payload, headers,
                      record_timestamp_ms, reason, error_code)
                  select 't', 0, n, 1, '', '[]', 0, 'r', 'c' from generate_series(1, 25000) n";
    sqlx::query(insert).execute(&function.pool).await.unwrap();
    // Locks one letter, as its replay would.
    let mut transaction = function.pool.begin().await.unwrap();
    let lock = "select id from sluice.dead_letters limit 1 for update";
    let locked: i64 = sqlx::query_scalar(lock).fetch_one(&mut *transaction).await.unwrap();
    let answer = discard(&function, json!({"filter": {"topic": "t"}, "note": "all"})).await;
    assert_eq!(answer.body, json!({"count": 24_999, "left": 1}));
    transaction.rollback().await.unwrap();
    let answer = discard(&function, json!({"filter": {"ids": [locked]}, "note": "the last one"})).await;
    assert_eq!(answer.body, json!({"count": 1, "left": 0}));
    function.end().await;
}
