//! Tests which payloads under one id count as equal, and which values are not ids.

use serde_json::Value;

use crate::support::{Function, Record, record};

/// Returns records that have the same id and exactly these payloads.
fn under_one_id(headers: &[(&str, &str)], payloads: &[&str]) -> Vec<Record> {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let record = |(payload, offset): (&&str, i64)| Record {
        value: Some(payload.as_bytes().to_vec()),
        headers: headers.clone(),
        ..record("routes", offset, &Value::Null)
    };
    payloads.iter().zip(0..).map(record).collect()
}

const KEY: &[(&str, &str)] = &[("idempotency-key", "k"), ("sluice-user", "ann")];
const CLOUD_EVENT: &[(&str, &str)] = &[("ce_id", "1"), ("ce_source", "/s"), ("sluice-user", "ann")];

#[tokio::test]
async fn a_repeat_whose_numbers_are_written_differently_is_a_duplicate() {
    let payloads = [
        r#"{"userID":5,"timestamp":1,"coordinates":[1,0]}"#,
        r#"{"userID":5.0,"timestamp":1,"coordinates":[1,0]}"#,
        r#"{"userID":5e0,"timestamp":1.000,"coordinates":[1,-0]}"#,
        r#"{"coordinates":[10e-1,0.0],"timestamp":0.1E1,"userID":50e-1}"#,
    ];
    let expected = ["written", "duplicate", "duplicate", "duplicate"];
    for headers in [KEY, CLOUD_EVENT] {
        let function = Function::new().await;
        function.land(&under_one_id(headers, &payloads)).await;
        assert_eq!(function.outcomes("routes", 0..4).await, expected, "in one batch");
        let function = Function::new().await;
        for record in under_one_id(headers, &payloads) {
            function.land(&[record]).await;
        }
        assert_eq!(function.outcomes("routes", 0..4).await, expected, "one by one");
    }
}

#[tokio::test]
async fn payloads_whose_numbers_differ_only_beyond_the_precision_of_a_double_are_different() {
    let function = Function::new().await;
    let payloads = [
        r#"{"userID":9007199254740992,"timestamp":1,"coordinates":[1,2]}"#,
        r#"{"userID":9007199254740993,"timestamp":1,"coordinates":[1,2]}"#,
        r#"{"userID":9007199254740992.0,"timestamp":1,"coordinates":[1.00000000000000000001,2]}"#,
        r#"{"userID":9007199254740992.0,"timestamp":1,"coordinates":[1,2]}"#,
    ];
    function.land(&under_one_id(KEY, &payloads)).await;
    let conflict = "rejected: idempotency_conflict";
    assert_eq!(function.outcomes("routes", 0..4).await, ["written", conflict, conflict, "duplicate"]);
}

#[tokio::test]
async fn an_empty_idempotency_key_from_a_producer_other_than_ingest_does_not_count_as_a_key() {
    for key in ["", " "] {
        let function = Function::new().await;
        let payloads = [
            r#"{"userID":1,"timestamp":1,"coordinates":[1,2]}"#,
            r#"{"userID":2,"timestamp":1,"coordinates":[1,2]}"#,
            r#"{"userID":2,"timestamp":1,"coordinates":[1,2]}"#,
        ];
        function.land(&under_one_id(&[("idempotency-key", key)], &payloads)).await;
        assert_eq!(function.outcomes("routes", 0..3).await, ["written"; 3], "{key:?}");
    }
}
