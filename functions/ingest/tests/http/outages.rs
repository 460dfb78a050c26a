use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use shared::kafka::{Outgoing, SendError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{CITY, Lacking, NDJSON, ROUTE, TestIngest, from_environment};

#[tokio::test]
async fn requests_get_503_in_time_without_a_broker() {
    let function = TestIngest::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    let started = Instant::now();
    let (one, many, city) = tokio::join!(
        function.post("/events/route", &[("prefer", "wait=20")], ROUTE),
        function.post("/events/route", &[NDJSON], format!("{ROUTE}\n").repeat(10_000)),
        function.post("/city", &[], CITY),
    );
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    for answer in [one, many, city] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "2");
        assert_eq!(answer.body["receipts"], json!([]));
        assert_eq!(answer.body["detail"], "The broker did not answer in time. Try again.");
    }
}

#[tokio::test]
async fn events_are_accepted_again_when_the_broker_is_back() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let function = TestIngest::start_with_broker_at(&address.to_string()).await;
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
async fn an_event_whose_topic_does_not_exist_is_not_accepted() {
    let function = TestIngest::start_lacking(Lacking { topics: true, ..Lacking::default() }).await;
    let started = Instant::now();
    let answer = function.post("/events/route", &[], ROUTE).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    // The producer's error names the cause, so that the log can name it, too.
    let topic = function.topic("routes");
    let record = Outgoing { topic: &topic, key: None, value: Some(b"{}"), headers: &[] };
    let answers = function.producer.send(&[record]).await;
    assert!(matches!(answers[..], [Err(SendError::UnknownTopic)]), "{answers:?}");
}

#[tokio::test]
async fn a_record_that_the_broker_rejects_as_too_large_gets_413_with_the_receipts_of_the_other_events() {
    let function = TestIngest::start().await;
    function.limit_records("changes", 100_000).await;
    let before = function.records("changes").await.len();
    let event = |bytes: usize| format!("{{\"action\":\"M\",\"prefix\":\"{}\"}}", "x".repeat(bytes));
    let answer = function.post("/events/changes", &[], event(200_000)).await;
    assert_eq!((answer.status, &answer.body["receipts"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!([])));
    let batch = format!("[{}, {}, {}]", event(1), event(200_000), event(2));
    let answer = function.post("/events/changes", &[], batch).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let receipts = answer.body["receipts"].as_array().unwrap().len();
    assert_eq!(function.records("changes").await.len(), before + receipts);
    assert_eq!(function.post("/events/changes", &[], event(3)).await.status, StatusCode::ACCEPTED);
    function.end().await;
}

#[tokio::test]
async fn events_are_accepted_without_a_database_but_queries_get_503() {
    let function = TestIngest::start_lacking(Lacking { database: true, ..Lacking::default() }).await;
    let accepted = function.post("/events/route", &[("prefer", "wait=1")], ROUTE).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    assert_eq!(accepted.body["receipts"][0]["status"], "pending");
    let href = accepted.body["receipts"][0]["href"].as_str().unwrap().to_owned();
    for path in [href.as_str(), "/gaps", "/cities"] {
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
    let lacking = |broker, database| Lacking { broker, database, topics: true, roles: false };
    for (lacking, status, detail) in [
        (lacking(false, false), 200, None),
        (lacking(true, false), 503, Some("The broker did not answer in time. Try again.")),
        (lacking(false, true), 503, Some("The database did not answer in time. Try again.")),
        (lacking(true, true), 503, Some("The broker and database did not answer in time. Try again.")),
    ] {
        let function = TestIngest::start_lacking(lacking).await;
        let started = Instant::now();
        let answer = function.get("/health").await;
        assert_eq!((answer.status.as_u16(), answer.body["detail"].as_str()), (status, detail));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}
