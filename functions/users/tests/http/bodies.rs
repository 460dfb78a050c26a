//! Request bodies: encodings and size limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::support::{ADMIN, TestUsers};

const ANN: &str = r#"{"user":"ann","pass":"test1234"}"#;

#[tokio::test]
async fn a_body_over_the_limit_is_read_to_its_end_so_that_the_answer_arrives() {
    let function = TestUsers::start().await;
    for (method, path) in [("POST", "/register"), ("POST", "/login"), ("PUT", "/users/admin/password")] {
        let received = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&received);
        let chunks = stream::iter(0..64).map(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 16_384]))
        });
        let request = Request::builder().method(method).uri(path).header("authorization", ADMIN);
        let answer = function.ask(request.body(Body::from_stream(chunks)).unwrap()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(received.load(Ordering::SeqCst), 64, "{path}");
    }
}

#[tokio::test]
async fn a_body_with_an_unsupported_media_type_or_charset_or_coding_is_rejected() {
    let function = TestUsers::start().await;
    for path in ["/register", "/login"] {
        for (headers, code) in [
            ([("content-type", "application/json; charset=utf-16"), ("x-other", "")], "/problems/media-type"),
            (
                [("content-type", "application/x-www-form-urlencoded;charset=latin1"), ("x-other", "")],
                "/problems/media-type",
            ),
            ([("content-type", "text/plain"), ("x-other", "")], "/problems/media-type"),
            ([("content-type", "application/json"), ("content-encoding", "gzip")], "/problems/content-encoding"),
            ([("content-type", "application/json"), ("content-encoding", "br")], "/problems/content-encoding"),
        ] {
            let mut request = Request::post(path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = function.ask(request.body(Body::from(ANN)).unwrap()).await;
            let refusal = (answer.status, answer.body["type"].clone());
            assert_eq!(refusal, (StatusCode::UNSUPPORTED_MEDIA_TYPE, json!(code)), "{path} {headers:?}");
        }
    }
    let request = Request::post("/register")
        .header("content-type", "application/json; charset=\"UTF-8\"")
        .header("content-encoding", "identity");
    assert_eq!(function.ask(request.body(Body::from(ANN)).unwrap()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_line_and_the_column_of_a_json_error_are_counted_from_1() {
    let function = TestUsers::start().await;
    for path in ["/register", "/login"] {
        for (body, line, column) in [("", 1, 1), ("{\n", 2, 1), ("{\n\n}x", 3, 2), ("nope", 1, 2)] {
            let request = Request::post(path).body(Body::from(body)).unwrap();
            let answer = function.ask(request).await;
            let place = (answer.status.as_u16(), answer.body["line"].clone(), answer.body["column"].clone());
            assert_eq!(place, (400, json!(line), json!(column)), "{path} {body:?}");
        }
    }
}
