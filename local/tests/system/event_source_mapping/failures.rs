//! Tests what happens to a batch that fails. There is one test per rule, with a link to AWS's page about the rule.

use axum::body::Bytes;
use local::event_source_mapping::function::FunctionError;
use serde_json::json;

use super::{LONG_WINDOW, mapping, numbered, start, topic_with};
use crate::support::kafka::{committed, settings};
use crate::support::recorder::{Recorder, offsets};

async fn next_offsets(topic: &str, partitions: i32) -> Vec<Option<i64>> {
    committed(&settings(), &format!("sluice-{topic}"), topic, partitions).await
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_batch_is_not_committed_but_redelivered_until_it_succeeds() {
    let topic = topic_with(1, &numbered(5)).await;
    let recorder = Recorder::failing(|number| number < 3);
    let mapping = start(&mapping(&topic, 5, LONG_WINDOW), &recorder);

    let events = recorder.invocations(3).await;
    assert_eq!(next_offsets(&topic, 1).await, [None]);
    assert!(events.iter().all(|event| event == &events[0]));
    let events = recorder.invocations(4).await;
    mapping.stop().await;

    assert_eq!(events[3], events[0]);
    assert_eq!(events.len(), 4);
    assert_eq!(next_offsets(&topic, 1).await, [Some(5)]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_retried_until_the_function_can_be_invoked() {
    let topic = topic_with(1, &numbered(2)).await;
    let recorder = Recorder::answering(|number| {
        let url = "http://127.0.0.1:9/".parse().unwrap();
        let status = reqwest::StatusCode::TOO_MANY_REQUESTS;
        if number < 3 { Err(FunctionError::Status { url, status, body: String::new() }) } else { Ok(Bytes::new()) }
    });
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);

    let events = recorder.invocations(4).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0, 1]; 4]);
    assert_eq!(next_offsets(&topic, 1).await, [Some(2)]);
}

/// Lambda reads the response only if the mapping declares `FunctionResponseTypes`.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_lists_failed_records_does_not_make_the_batch_fail() {
    let topic = topic_with(1, &numbered(4)).await;
    let identifier = json!({ "partition": format!("{topic}-0"), "offset": 0 });
    let response = json!({ "batchItemFailures": [{ "itemIdentifier": identifier }] }).to_string();
    let recorder = Recorder::answering(move |_| Ok(response.clone().into()));
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);

    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0, 1], [2, 3]]);
}
