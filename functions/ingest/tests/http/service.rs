use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Function, Lacking};

/// A function that neither broker nor database is needed for.
async fn alone() -> Function {
    Function::start_lacking(Lacking { broker: true, database: true, topics: true }).await
}

#[tokio::test]
async fn a_request_has_its_callers_id_or_a_new_one() {
    let function = alone().await;
    let given = function.send("GET", "/streams", &[("x-request-id", "abc-1")], Body::empty()).await;
    assert_eq!(given.header("x-request-id"), "abc-1");
    let (one, other) = (function.get("/streams").await, function.get("/streams").await);
    assert_eq!(one.header("x-request-id").len(), 36);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    let forged = "x".repeat(129);
    let refused = function.send("GET", "/nothing/here", &[("x-request-id", &forged)], Body::empty()).await;
    assert_eq!(refused.header("x-request-id").len(), 36);
    assert_eq!(refused.body["request_id"], refused.header("x-request-id"));
}

#[tokio::test]
async fn what_no_route_takes_is_a_problem() {
    let function = alone().await;
    for (method, path, status, allow) in [
        ("GET", "/", 404, ""),
        ("GET", "/events", 404, ""),
        ("GET", "/no/such/route", 404, ""),
        ("GET", "/events/city", 405, "POST"),
        ("DELETE", "/health", 405, "GET,HEAD"),
        ("PUT", "/dead-letters/1/replay", 405, "POST"),
    ] {
        let answer = function.send(method, path, &[], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        assert_eq!(answer.body["status"], status);
    }
    assert_eq!(function.send("POST", "/events/%ff", &[], "{}").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn streams_are_listed_with_their_contracts() {
    let function = alone().await;
    let list = function.get("/streams").await.body;
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["stream"].as_str().unwrap()).collect();
    assert_eq!(names, ["changes", "city", "continent", "country", "login", "route", "user-event"]);
    assert_eq!(list["next"], json!(null));
    let page = function.get("/streams?after=city&limit=2").await.body;
    assert_eq!((&page["items"][1]["stream"], &page["next"]), (&json!("country"), &json!("country")));

    let city = function.get("/streams/city").await.body;
    assert_eq!((&city["mode"], &city["table"]), (&json!("entity"), &json!("public.cities")));
    assert_eq!(city["contract"]["x-sluice"]["parent"]["stream"], "country");
    assert_eq!(city, list["items"][1]);
    assert_eq!(function.get("/streams/none").await.status, StatusCode::NOT_FOUND);
}
