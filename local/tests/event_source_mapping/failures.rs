//! What becomes of a batch that fails: a test for each rule, with the page of AWS that it comes from. Each has a
//! template of its own, as one would deploy it.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use local::event_source_mapping::configuration::{self, MappingConfiguration};
use local::event_source_mapping::function::FunctionError;
use serde_json::{Value, json};

use super::support::kafka::{Record, committed, create_topic, produce, records_in, settings};
use super::support::recorder::{Recorder, failure, offsets, places, records};
use super::{LONG_WINDOW, mapping, numbered, start, topic_with};

/// The mapping of a template in provisioned mode, with these properties.
fn template(topic: &str, batch_size: usize, properties: &str) -> MappingConfiguration {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(
        file,
        "
Resources:
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      Topics: [{topic}]
      BatchSize: {batch_size}
      MaximumBatchingWindowInSeconds: 300
      ProvisionedPollerConfig: {{ MinimumPollers: 1, MaximumPollers: 1 }}
      AmazonManagedKafkaEventSourceConfig: {{ ConsumerGroupId: sluice-{topic} }}
      {properties}
"
    )
    .unwrap();
    configuration::read(file.path()).unwrap().pop().unwrap()
}

async fn next_offsets(topic: &str, partitions: i32) -> Vec<Option<i64>> {
    committed(&settings(), &format!("sluice-{topic}"), topic, partitions).await
}

/// Refuses every event that holds the record at this offset.
fn refusing(offset: i64) -> impl Fn(usize, &Value) -> Result<Bytes, FunctionError> + Send + Sync + 'static {
    move |_, event| if offsets(event).contains(&offset) { Err(failure()) } else { Ok(Bytes::new()) }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_is_delivered_again_with_nothing_committed_until_it_succeeds() {
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

/// The first invocation is not counted.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn after_the_retries_that_the_template_allows_the_batch_is_given_up_and_the_next_one_goes_out() {
    let topic = topic_with(1, &numbered(4)).await;
    let recorder = Recorder::answering(refusing(1));
    let mapping = start(&template(&topic, 2, "MaximumRetryAttempts: 2"), &recorder);

    let events = recorder.invocations(4).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0, 1], [0, 1], [0, 1], [2, 3]]);
    assert_eq!(next_offsets(&topic, 1).await, [Some(4)]);
}

/// Lambda counts what the function refuses, and goes on trying where it could not invoke it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_reached_uses_up_no_retry() {
    let topic = topic_with(1, &numbered(2)).await;
    let recorder = Recorder::answering(|number, _| {
        let url = "http://127.0.0.1:9/".parse().unwrap();
        let status = reqwest::StatusCode::TOO_MANY_REQUESTS;
        if number < 3 { Err(FunctionError::Status { url, status, body: String::new() }) } else { Ok(Bytes::new()) }
    });
    let mapping = start(&template(&topic, 2, "MaximumRetryAttempts: 0"), &recorder);

    let events = recorder.invocations(4).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0, 1]; 4]);
    assert_eq!(next_offsets(&topic, 1).await, [Some(2)]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_older_than_the_template_allows_is_given_up_and_never_sent() {
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let aged = |age_ms: i64| Record { timestamp_ms: Some(now_ms - age_ms), ..Record::of("1") };
    let topic = topic_with(1, &[aged(120_000), aged(0), aged(90_000), aged(0)]).await;
    let recorder = Recorder::new();
    let mapping = start(&template(&topic, 4, "MaximumRecordAgeInSeconds: 60"), &recorder);

    let events = recorder.invocations(1).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[1, 3]]);
    assert_eq!(next_offsets(&topic, 1).await, [Some(4)]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_is_split_until_the_guilty_record_stands_alone() {
    let topic = topic_with(1, &numbered(8)).await;
    let recorder = Recorder::answering(refusing(5));
    let properties = "BisectBatchOnFunctionError: true\n      MaximumRetryAttempts: 1";
    let mapping = start(&template(&topic, 8, properties), &recorder);

    let events = recorder.invocations(8).await;
    mapping.stop().await;

    let delivered: Vec<_> = events.iter().map(offsets).collect();
    let all: Vec<i64> = (0..8).collect();
    // A split uses up no retry: the guilty record has its own.
    let expected = [&all[..], &all[..4], &all[4..], &all[4..6], &[4], &[5], &[5], &[6, 7]];
    assert_eq!(delivered, expected);
    assert_eq!(next_offsets(&topic, 1).await, [Some(8)]);
}

fn report(failed: &[(&str, i64, i64)]) -> Bytes {
    let item = |(topic, partition, offset): &(&str, i64, i64)| json!({ "itemIdentifier": { "partition": format!("{topic}-{partition}"), "offset": offset } });
    let failures: Vec<Value> = failed.iter().map(item).collect();
    json!({ "batchItemFailures": failures }).to_string().into()
}

const REPORTS: &str = "FunctionResponseTypes: [ReportBatchItemFailures]";

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn only_the_records_are_delivered_again_that_the_function_reports() {
    let topic = topic_with(2, &[]).await;
    let reported = topic.clone();
    let recorder = Recorder::answering(move |number, _| {
        Ok(match number {
            0 => report(&[(&reported, 1, 0), (&reported, 0, 1)]),
            1 => report(&[(&reported, 1, 0)]),
            2 => report(&[]),
            _ => Bytes::from_static(b"null"),
        })
    });
    let mapping = start(&template(&topic, 4, REPORTS), &recorder);
    let records: Vec<Record> = (0..4).map(|number| Record::of(number.to_string()).in_partition(number % 2)).collect();
    produce(&settings(), &topic, &records).await;

    let events = recorder.invocations(3).await;
    mapping.stop().await;

    let delivered: Vec<_> = events.iter().map(places).collect();
    assert_eq!(delivered, [vec![(0, 0), (0, 1), (1, 0), (1, 1)], vec![(0, 1), (1, 0)], vec![(1, 0)]]);
    assert_eq!(next_offsets(&topic, 2).await, [Some(2), Some(2)]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_a_record_that_is_not_in_the_batch_fails_all_of_it() {
    let topic = topic_with(1, &numbered(3)).await;
    let reported = topic.clone();
    let recorder = Recorder::answering(move |number, _| {
        let failed = [(reported.as_str(), 0, 1), (reported.as_str(), 7, 1)];
        Ok(report(if number == 0 { &failed } else { &[] }))
    });
    let mapping = start(&template(&topic, 3, REPORTS), &recorder);

    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0, 1, 2]; 2]);
}

/// Lambda heeds a report only where the mapping declares it.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_the_template_does_not_announce_means_nothing() {
    let topic = topic_with(1, &numbered(4)).await;
    let reported = topic.clone();
    let recorder = Recorder::answering(move |_, _| Ok(report(&[(&reported, 0, 0)])));
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);

    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0, 1], [2, 3]]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_in_the_destination_topic_as_it_was_with_the_reason() {
    let headers = vec![("trace".to_owned(), Some(vec![0, 255])), ("none".to_owned(), None)];
    let guilty = Record { key: Some(b"k\xff".to_vec()), headers: headers.clone(), ..Record::of("guilty") };
    let tombstone = Record { key: Some(b"gone".to_vec()), ..Record::default() };
    let topic = topic_with(1, &[guilty, tombstone]).await;
    let destination = format!("{topic}-failures");
    create_topic(&settings(), &destination, 1).await;
    let recorder = Recorder::answering(refusing(0));
    let properties = format!(
        "MaximumRetryAttempts: 0\n      DestinationConfig: {{ OnFailure: {{ Destination: kafka://{destination} }} }}"
    );
    let mapping = start(&template(&topic, 2, &properties), &recorder);
    // What comes after is delivered once they are in the destination.
    produce(&settings(), &topic, &numbered(2)).await;

    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(records(&events[1]).len(), 2);
    let found = records_in(&settings(), &destination).await;
    let with_reason = |headers: &[(String, Option<Vec<u8>>)], offset: &str| {
        let text = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let reason = [
            text("source-topic", &topic),
            text("source-partition", "0"),
            text("source-offset", offset),
            text("condition", "RetryAttemptsExhausted"),
            text("error-message", "as told"),
        ];
        [headers, &reason].concat()
    };
    let found: Vec<_> = found.into_iter().map(|record| (record.key, record.value, record.headers)).collect();
    assert_eq!(
        found,
        [
            (Some(b"k\xff".to_vec()), Some(b"guilty".to_vec()), with_reason(&headers, "0")),
            (Some(b"gone".to_vec()), None, with_reason(&[], "1")),
        ]
    );
}
