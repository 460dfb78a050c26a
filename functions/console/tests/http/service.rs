use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Lacking, TestConsole};

/// Starts a function without a broker or a database.
async fn start() -> TestConsole {
    TestConsole::start_lacking(Lacking { broker: true, database: true, topics: true, roles: false }).await
}

#[tokio::test]
async fn unsupported_methods_are_answered_with_problems() {
    let function = start().await;
    for (method, path, allow) in [("PUT", "/dead-letters/1/replay", "POST"), ("DELETE", "/dead-letters/1", "GET,HEAD")]
    {
        let answer = function.send(method, path, &[], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
    }
}

#[tokio::test]
async fn requests_from_another_site_change_nothing() {
    let function = start().await;
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "https://evil.example")]] {
        for path in [
            "/dead-letters/1/replay",
            "/dead-letters/discard",
            "/dead-letters/replays",
            "/dead-letters/replays/1/cancel",
        ] {
            let answer = function.post(path, &headers, "").await;
            let expected = (StatusCode::FORBIDDEN, &json!("/problems/cross-site"));
            assert_eq!((answer.status, &answer.body["type"]), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_support_is_refused() {
    let function = start().await;
    for (method, path) in [
        ("GET", "/dead-letters?cause=1"),
        ("GET", "/dead-letters?limit=1001"),
        ("GET", "/dead-letters/1?after=1"),
        ("POST", "/dead-letters/1/replay?dry_run=true"),
        ("POST", "/dead-letters/discard?dry_run=true"),
        ("POST", "/dead-letters/replays?dry_run=true"),
        ("GET", "/dead-letters/replays?status=done"),
        ("GET", "/audit?user=ann"),
        ("POST", "/dead-letters/1/replay?force=perhaps"),
    ] {
        let answer = function.send(method, path, &[], "").await;
        let expected = (StatusCode::BAD_REQUEST, &json!("/problems/malformed"));
        assert_eq!((answer.status, &answer.body["type"]), expected, "{method} {path}");
    }
}
