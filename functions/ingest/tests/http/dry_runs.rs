//! `?validate_only=true` checks events and shows their rows, but sends nothing.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Lacking, NDJSON, ROUTE, TestIngest, gzip};

const TRACEPARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

#[tokio::test]
async fn rows_are_shown_as_they_would_be_written() {
    let function = TestIngest::start().await;
    let answer = function.post("/events/route?validate_only=true", &[TRACEPARENT], ROUTE).await;
    let row =
        json!({"user_id": 5, "timestamp": "2019-05-07T19:54:13.563+00:00", "latitude": 52.3676, "longitude": 4.9041});
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"valid": 1, "rows": [row]})));
    let event = json!({
        "id": "67E55044-10B1-426F-9247-BB680E5FE0C8", "datetime": "2019-05-07 19:54:13.5",
        "address": {"city": "Baltimore", "state": "Maryland", "country": null, "postCode": "21201"}
    });
    let answer = function.post("/events/user-event?validate_only", &[], event.to_string()).await;
    let row = json!({
        "id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "datetime": "2019-05-07T19:54:13.5", "city": "Baltimore",
        "state": "Maryland", "country": null, "post_code": "21201"
    });
    assert_eq!((answer.status, &answer.body["rows"]), (StatusCode::OK, &json!([row])), "{answer:?}");
    assert_eq!(function.records("routes").await, []);
    assert_eq!(function.records("user-events").await, []);
    function.end().await;
}

#[tokio::test]
async fn an_entity_command_shows_the_columns_that_it_writes_and_a_deletion_shows_its_key() {
    let function = TestIngest::start().await;
    let city = r#"{"country": "Iran", "name": "Bouake\u0301", "population": 9e4}"#;
    let shown = async |method: &str, path: &str, body: &'static str| {
        let answer = function.send(method, path, &[], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["rows"].clone()
    };
    let created = json!([{"country": "Iran", "name": "Bouak\u{e9}", "population": 90000, "area": null, "latitude": null, "longitude": null}]);
    assert_eq!(shown("POST", "/city?validate_only=true", city).await, created);
    assert_eq!(shown("POST", "/events/city?validate_only=true", city).await, created);
    let updated = json!([{"country": "Iran", "name": "Bouak\u{e9}", "population": 90000}]);
    assert_eq!(shown("PUT", "/city?validate_only=true", city).await, updated);
    let key = json!([{"country": "Iran", "name": "Alvand"}]);
    let of_body = r#"{"country": "Iran", "name": "Alvand"}"#;
    assert_eq!(shown("DELETE", "/city?validate_only=true", of_body).await, key);
    assert_eq!(shown("DELETE", "/city?country=Iran&validate_only=true&name=Alvand", "").await, key);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = function.post("/continent?validate_only=true", &form, "name=Asia&population=").await;
    assert_eq!(answer.body, json!({"valid": 1, "rows": [{"name": "Asia", "population": null, "area": null}]}));
    assert_eq!(function.records("city").await, []);
    assert_eq!(function.records("continent").await, []);
    function.end().await;
}

#[tokio::test]
async fn a_change_set_shows_an_entry_for_each_change() {
    let function = TestIngest::start().await;
    let sets = json!([
        {"change": [
            {"kind": "insert", "table": "a", "columnnames": ["id"], "columnvalues": [1]},
            {"kind": "insert", "schema": "public", "table": "a", "columnnames": ["id"], "columnvalues": [2]}
        ]},
        {"action": "T", "table": "a"}
    ]);
    let answer = function.post("/events/changes?validate_only=true", &[], sets.to_string()).await;
    let inserted = |id: i64| json!({"index": 0, "table": "landing.a", "action": "insert", "columns": {"id": id}});
    let truncated = json!({"index": 1, "table": "landing.a", "action": "truncate"});
    assert_eq!(answer.body, json!({"valid": 2, "rows": [inserted(1), inserted(2), truncated]}));
    assert_eq!(function.records("changes").await, []);
    function.end().await;
}

#[tokio::test]
async fn a_dry_run_rejects_a_change_set_that_would_be_rejected_on_landing() {
    let function = TestIngest::start().await;
    let allowed = json!({"action": "T", "table": "a"});
    let other = json!({"action": "T", "schema": "sluice", "table": "users"});
    let errors = json!([{"index": 1, "pointer": "/schema", "detail": "the contract does not allow this schema"}]);
    let sets = json!([allowed, other]).to_string();
    let answer = function.post("/events/changes?validate_only=true", &[], sets.clone()).await;
    let expected = (StatusCode::UNPROCESSABLE_ENTITY, &json!("/problems/contract"));
    assert_eq!((answer.status, &answer.body["type"]), expected, "{answer:?}");
    assert_eq!(answer.body["errors"], errors);
    let lenient = [("prefer", "handling=lenient")];
    let answer = function.post("/events/changes?validate_only=true", &lenient, sets).await;
    assert_eq!((&answer.body["valid"], &answer.body["errors"]), (&json!(1), &errors), "{answer:?}");
    let event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": other});
    let cloud = [("content-type", "application/cloudevents+json")];
    let answer = function.post("/events/changes?validate_only=true", &cloud, event.to_string()).await;
    assert_eq!(answer.body["errors"][0]["pointer"], "/data/schema", "{answer:?}");
    assert_eq!(function.records("changes").await, []);
    function.end().await;
}

/// Method, path, headers and body of a request.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>);

#[tokio::test]
async fn a_dry_run_has_the_same_errors_as_sending() {
    let function = TestIngest::start().await;
    let key = ("idempotency-key", "not legal");
    let compressed = gzip(ROUTE.as_bytes());
    let batch = format!("{ROUTE}\n{{\"userID\": 1}}\n");
    let cases: [Case<'_>; 11] = [
        ("POST", "/events/route", &[], b"{".to_vec()),
        ("POST", "/events/route", &[], b"{\"userID\": \"x\"}".to_vec()),
        ("POST", "/events/route", &[], b"[]".to_vec()),
        ("POST", "/events/route", &[], format!("[{}]", vec!["{}"; 10_001].join(",")).into_bytes()),
        ("POST", "/events/route", &[], vec![b' '; 6_300_000]),
        ("POST", "/events/route", &[("content-type", "text/plain")], ROUTE.as_bytes().to_vec()),
        ("POST", "/events/route", &[("content-encoding", "br")], compressed.clone()),
        ("POST", "/events/route", &[key], ROUTE.as_bytes().to_vec()),
        ("POST", "/events/route", &[NDJSON], batch.clone().into_bytes()),
        ("POST", "/events/routes", &[], ROUTE.as_bytes().to_vec()),
        ("DELETE", "/city", &[], b"{\"op\": \"create\", \"country\": \"a\", \"name\": \"b\"}".to_vec()),
    ];
    for (method, path, headers, body) in cases {
        let sent = function.send(method, path, headers, body.clone()).await;
        let mut checked = function.send(method, &format!("{path}?validate_only=true"), headers, body).await;
        assert!(sent.status.is_client_error(), "{sent:?}");
        checked.body["request_id"] = sent.body["request_id"].clone();
        assert_eq!((checked.status, &checked.body), (sent.status, &sent.body), "{path}");
    }
    let lenient = [NDJSON, ("prefer", "handling=lenient, wait=5")];
    let answer = function.post("/events/route?validate_only=true", &lenient, batch).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (StatusCode::OK, "handling=lenient"));
    assert_eq!((&answer.body["valid"], answer.body["rows"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    assert_eq!(answer.body["errors"][0]["index"], 1, "{answer:?}");
    let answer = function.post("/events/route?validate_only=true", &[("content-encoding", "gzip")], compressed).await;
    assert_eq!((answer.status, &answer.body["valid"]), (StatusCode::OK, &json!(1)));
    assert_eq!(function.records("routes").await, []);
    function.end().await;
}

#[tokio::test]
async fn validate_only_false_sends_events_and_a_misspelled_validate_only_is_refused() {
    let function = TestIngest::start().await;
    for query in [
        "validate_only=1",
        "validate_only=TRUE",
        "validate_only=true&validate_only=false",
        "validate_only=false&validate_only=false",
        "validate_only=%20true",
        "Validate_only=true",
        "validate-only=true",
        "validate_only=true;x",
        "a;validate_only=true",
        "validate_only=true&after=1",
    ] {
        for (method, path) in [("POST", "/events/route"), ("POST", "/continent"), ("PUT", "/continent")] {
            let body = if path == "/continent" { r#"{"name": "Asia"}"# } else { ROUTE };
            let answer = function.send(method, &format!("{path}?{query}"), &[], body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {path}?{query}");
        }
        let answer = function.send("DELETE", &format!("/continent?{query}"), &[], r#"{"name": "Asia"}"#).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let answer = function.send("DELETE", &format!("/continent?name=Asia&{query}"), &[], Body::empty()).await;
        assert!(answer.status.is_client_error(), "{query}: {answer:?}");
    }
    for query in ["validate_only=true", "validate_only=", "validate_only", "validate%5Fonly=tr%75e"] {
        let answer = function.post(&format!("/events/route?{query}"), &[("prefer", "wait=1")], ROUTE).await;
        assert_eq!((answer.status, &answer.body["valid"]), (StatusCode::OK, &json!(1)), "{query}");
    }
    assert_eq!(function.post("/submit/1?validate_only=true", &[], "").await.status, StatusCode::BAD_REQUEST);
    for topic in ["routes", "continent", "user-events"] {
        assert_eq!(function.records(topic).await, [], "{topic}");
    }
    let answer = function.post("/events/route?validate_only=false", &[], ROUTE).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(function.records("routes").await.len(), 1);
    function.end().await;
}

#[tokio::test]
async fn a_dry_run_needs_neither_broker_nor_database() {
    let function = TestIngest::start_lacking(Lacking { broker: true, database: true, ..Lacking::default() }).await;
    let answer = function.post("/events/route?validate_only=true", &[], ROUTE).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn rows_that_do_not_fit_into_the_response_are_omitted_and_counted() {
    let function = TestIngest::start().await;
    let event = json!({"action": "I", "table": "a", "columns": [{"name": "text", "value": "x".repeat(500_000)}]});
    let batch = vec![event.to_string(); 12].join("\n");
    let answer = function.post("/events/changes?validate_only=true", &[NDJSON], batch.clone()).await;
    let shown = answer.body["rows"].as_array().map(Vec::len);
    assert_eq!((&answer.body["valid"], shown, &answer.body["omitted"]), (&json!(12), Some(8), &json!(4)));
    let minimal = [NDJSON, ("prefer", "return=minimal")];
    let answer = function.post("/events/changes?validate_only=true", &minimal, batch).await;
    assert_eq!(answer.body, json!({"valid": 12}));
    assert_eq!(answer.body.get("rows"), None::<&Value>);
    assert_eq!(function.records("changes").await, []);
    function.end().await;
}
