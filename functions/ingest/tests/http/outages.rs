use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;
use shared::kafka::{Outgoing, SendError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Function, Lacking, from_environment};

const ROUTE: &str = r#"{"userID": 5, "timestamp": 1557258853.563, "coordinates": [52.3676, 4.9041]}"#;

#[tokio::test]
async fn without_a_broker_nothing_is_acknowledged_and_the_answer_comes_in_time() {
    let function = Function::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    let started = Instant::now();
    let letter = function.reject("city", 0, 1, b"{}", &json!([])).await;
    let replay = format!("/dead-letters/{letter}/replay");
    let headers = [("content-type", "application/x-ndjson")];
    let (one, many, city, replayed) = tokio::join!(
        function.post("/events/route", &[("prefer", "wait=20")], ROUTE),
        function.post("/events/route", &headers, format!("{ROUTE}\n").repeat(10_000)),
        function.post("/city", &[], r#"{"country": "Iran", "name": "Alvand"}"#),
        function.send("POST", &replay, &[], Body::empty()),
    );
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    for answer in [one, many, city, replayed] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "2");
        assert_eq!(answer.body["receipts"], json!([]));
        assert_eq!(answer.body["detail"], "The broker did not answer in time. Try again.");
    }
    assert_eq!(function.get(&format!("/dead-letters/{letter}")).await.body["status"], "open");
}

#[tokio::test]
async fn a_broker_that_comes_back_is_used_again() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let function = Function::start_with_broker_at(&address.to_string()).await;
    assert_eq!(function.post("/events/route", &[], ROUTE).await.status, StatusCode::SERVICE_UNAVAILABLE);

    let listener = TcpListener::bind(address).await.unwrap();
    let forwarding = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut broker = TcpStream::connect(from_environment("KAFKA_BOOTSTRAP_SERVERS")).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut broker).await });
        }
    });
    assert_eq!(function.post("/events/route", &[], ROUTE).await.status, StatusCode::ACCEPTED);
    forwarding.abort();
    function.end().await;
}

#[tokio::test]
async fn without_its_topic_an_event_is_not_acknowledged() {
    let function = Function::start_lacking(Lacking { topics: true, ..Lacking::default() }).await;
    let started = Instant::now();
    let answer = function.post("/events/route", &[], ROUTE).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    // The log can name the cause.
    let topic = function.topic("routes");
    let record = Outgoing { topic: &topic, key: None, value: Some(b"{}"), headers: &[] };
    let answers = function.producer.send(&[record]).await;
    assert!(matches!(answers[..], [Err(SendError::UnknownTopic)]), "{answers:?}");
}

#[tokio::test]
async fn what_the_broker_finds_too_large_is_told_with_what_it_took() {
    let function = Function::start().await;
    function.limit_records("changes", 100_000).await;
    let event = |bytes: usize| format!("{{\"action\":\"M\",\"prefix\":\"{}\"}}", "x".repeat(bytes));
    let answer = function.post("/events/changes", &[], event(200_000)).await;
    assert_eq!((answer.status, &answer.body["receipts"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!([])));
    let batch = format!("[{}, {}, {}]", event(1), event(200_000), event(2));
    let answer = function.post("/events/changes", &[], batch).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let receipts = answer.body["receipts"].as_array().unwrap().len();
    assert_eq!(function.records("changes").await.len(), receipts);
    assert_eq!(function.post("/events/changes", &[], event(3)).await.status, StatusCode::ACCEPTED);
    function.end().await;
}

#[tokio::test]
async fn without_a_database_events_are_accepted_and_questions_are_not_answered() {
    let function = Function::start_lacking(Lacking { database: true, ..Lacking::default() }).await;
    let accepted = function.post("/events/route", &[("prefer", "wait=1")], ROUTE).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    assert_eq!(accepted.body["receipts"][0]["status"], "pending");
    let href = accepted.body["receipts"][0]["href"].as_str().unwrap().to_owned();
    for path in [href.as_str(), "/dead-letters", "/cities"] {
        let started = Instant::now();
        let answer = function.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.body["detail"], "The database did not answer in time. Try again.");
        assert!(started.elapsed() < Duration::from_secs(12), "{path}: {:?}", started.elapsed());
    }
    function.end().await;
}

#[tokio::test]
async fn health_names_what_does_not_answer() {
    let lacking = |broker, database| Lacking { broker, database, topics: true };
    for (lacking, status, detail) in [
        (lacking(false, false), 200, None),
        (lacking(true, false), 503, Some("The broker did not answer in time. Try again.")),
        (lacking(false, true), 503, Some("The database did not answer in time. Try again.")),
        (lacking(true, true), 503, Some("The broker and database did not answer in time. Try again.")),
    ] {
        let function = Function::start_lacking(lacking).await;
        let started = Instant::now();
        let answer = function.get("/health").await;
        assert_eq!((answer.status.as_u16(), answer.body["detail"].as_str()), (status, detail));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}
