use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Function, Lacking, NOW_MS};

#[tokio::test]
async fn a_receipt_tells_what_became_of_the_event() {
    let function = Function::start().await;
    let topic = function.topic("city");
    function.apply("city", 3, 4, NOW_MS).await;
    function.reject("city", 3, 1, b"{}", &json!([])).await;
    function.keep_waiting("city", 3, 2, NOW_MS).await;
    function.repeat("city", 3, 3).await;
    for (offset, fate) in [
        (0, json!({"status": "written"})),
        (1, json!({"status": "rejected", "reason": "it exists already"})),
        (2, json!({"status": "waiting"})),
        (3, json!({"status": "duplicate"})),
        (4, json!({"status": "pending"})),
        (i64::MAX, json!({"status": "pending"})),
    ] {
        let answer = function.get(&format!("/receipts/{topic}/3/{offset}")).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, fate), "{offset}");
    }
    assert_eq!(function.get(&format!("/receipts/{topic}/0/0")).await.body, json!({"status": "pending"}));
    function.end().await;
}

#[tokio::test]
async fn an_unknown_topic_or_partition_is_not_found_and_no_number_is_malformed() {
    let function = Function::start().await;
    let topic = function.topic("city");
    for (path, status) in [
        (format!("/receipts/{topic}/4/0"), 404),
        (format!("/receipts/{topic}/2147483647/0"), 404),
        ("/receipts/city/0/0".to_owned(), 404),
        (format!("/receipts/{topic}/-1/0"), 400),
        (format!("/receipts/{topic}/2147483648/0"), 400),
        (format!("/receipts/{topic}/0/+1"), 400),
        (format!("/receipts/{topic}/0/9223372036854775808"), 400),
        (format!("/receipts/{topic}/zero/0"), 400),
        (format!("/receipts/{topic}/%ff/0"), 400),
    ] {
        let answer = function.get(&path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    function.end().await;
}

#[tokio::test]
async fn while_the_broker_is_away_the_contract_says_which_partitions_there_are() {
    let function = Function::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    let topic = function.topic("city");
    function.apply("city", 3, 4, NOW_MS).await;
    assert_eq!(function.get(&format!("/receipts/{topic}/3/0")).await.body["status"], "written");
    assert_eq!(function.get(&format!("/receipts/{topic}/4/0")).await.status, StatusCode::NOT_FOUND);
}
