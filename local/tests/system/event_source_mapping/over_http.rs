//! Tests a mapping whose function is behind Lambda's Invoke API.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Bytes;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::function::{Function, OverHttp};

use super::{LONG_WINDOW, mapping, numbered, topic_with};
use crate::support::kafka::{committed, settings};
use crate::support::recorder::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_delivered_again_after_every_form_of_error_answer() {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use axum::routing::post;

    let payloads: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let log = Arc::clone(&payloads);
    let answers = move |payload: Bytes| {
        let mut log = log.lock().unwrap();
        log.push(payload);
        let answer = match log.len() {
            1 => (StatusCode::OK, [("x-amz-function-error", "Unhandled")], "{}").into_response(),
            2 => (StatusCode::OK, r#"{"errorType":"A","errorMessage":"b"}"#).into_response(),
            3 => StatusCode::BAD_GATEWAY.into_response(),
            4 => StatusCode::NOT_FOUND.into_response(),
            _ => (StatusCode::OK, "null").into_response(),
        };
        std::future::ready(answer)
    };
    let router = axum::Router::new()
        .route("/base/2015-03-31/functions/consume/invocations", post(answers))
        .layer(axum::extract::DefaultBodyLimit::disable());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/base/", listener.local_addr().unwrap()).parse().unwrap();
    let serving = tokio::spawn(axum::serve(listener, router).into_future());

    let topic = topic_with(1, &numbered(3)).await;
    let function: Arc<dyn Function> = Arc::new(OverHttp::new(&endpoint, "consume").unwrap());
    let mapping = EventSourceMapping::start(mapping(&topic, 3, LONG_WINDOW), &settings(), function).unwrap();
    let group = format!("sluice-{topic}");
    let deadline = Instant::now() + PATIENCE;
    while committed(&settings(), &group, &topic, 1).await == [None] && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    mapping.stop().await;
    serving.abort();

    assert_eq!(committed(&settings(), &group, &topic, 1).await, [Some(3)]);
    let payloads = payloads.lock().unwrap();
    assert_eq!(payloads.len(), 5);
    assert!(payloads.iter().all(|payload| payload == &payloads[0]));
}
