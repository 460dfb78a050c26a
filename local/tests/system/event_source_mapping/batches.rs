//! Tests the contents of events, and when events are delivered. There is one test per rule, with a link to AWS's page
//! about the rule.

use std::time::{Duration, Instant};

use base64_simd::STANDARD;
use local::event_source_mapping::configuration::MappingConfiguration;
use serde_json::json;

use super::{LONG_WINDOW, mapping, numbered, start, topic_with};
use crate::support::kafka::{Record, committed, produce, settings, topic_name};
use crate::support::recorder::{PATIENCE, Recorder, offsets, places, records};

/// <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html#msk-sample-event>
#[tokio::test(flavor = "multi_thread")]
async fn the_event_has_lambdas_format() {
    let record = Record {
        key: Some(b"k\xff".to_vec()),
        value: Some(b"{\"a\":1}".to_vec()),
        headers: vec![
            ("trace".to_owned(), Some(vec![0, 127, 128, 255])),
            ("trace".to_owned(), Some(Vec::new())),
            ("quo\"te".to_owned(), None),
        ],
        timestamp_ms: Some(1_545_084_650_987),
        ..Record::default()
    };
    let tombstone = Record { timestamp_ms: Some(1), ..Record::default() };
    let topic = topic_with(1, &[record, tombstone]).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);

    let events = recorder.invocations(1).await;
    mapping.stop().await;

    let mut expected = json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:local:000000000000:cluster/sluice/local",
        "bootstrapServers": settings().bootstrap_servers,
        "records": { format!("{topic}-0"): [
            {
                "topic": topic, "partition": 0, "offset": 0, "timestamp": 1_545_084_650_987_i64,
                "timestampType": "CREATE_TIME", "key": "a/8=", "value": "eyJhIjoxfQ==",
                "headers": [{ "trace": [0, 127, -128, -1] }, { "trace": [] }, { "quo\"te": {} }],
            },
            {
                "topic": topic, "partition": 0, "offset": 1, "timestamp": 1,
                "timestampType": "CREATE_TIME", "key": null, "value": null, "headers": [],
            },
        ] },
    });
    assert_eq!(events, [expected.clone()]);

    let self_managed = MappingConfiguration {
        group: topic_name("another"),
        is_self_managed: true,
        batch_size: 2,
        ..MappingConfiguration::for_topic(&topic)
    };
    let recorder = Recorder::new();
    let mapping = start(&self_managed, &recorder);
    let events = recorder.invocations(1).await;
    mapping.stop().await;
    expected["eventSource"] = json!("SelfManagedKafka");
    expected.as_object_mut().unwrap().remove("eventSourceArn");
    assert_eq!(events, [expected]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching>
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closes_when_it_contains_the_maximum_number_of_records() {
    let topic = topic_with(1, &numbered(25)).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 10, LONG_WINDOW), &recorder);

    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [(0..10).collect::<Vec<_>>(), (10..20).collect()]);
    // The five records that waited for more records are not lost, because their offsets were not committed.
    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 1).await, [Some(20)]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching>
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closes_when_the_window_since_its_first_record_is_over() {
    let window = Duration::from_millis(700);
    let topic = topic_with(1, &[]).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 100, window), &recorder);
    // Waits until the mapping has joined the group, so that the time measured below is only the time of the window.
    produce(&settings(), &topic, &[Record::with_value("first")]).await;
    recorder.invocations(1).await;

    let started = Instant::now();
    produce(&settings(), &topic, &numbered(3)).await;
    let events = recorder.invocations(2).await;
    let took = started.elapsed();
    mapping.stop().await;

    assert_eq!(offsets(&events[1]), [1, 2, 3]);
    assert!(took >= window, "{took:?}");
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching>
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_zero_delivers_the_available_records() {
    let topic = topic_with(1, &[]).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 100, Duration::ZERO), &recorder);
    produce(&settings(), &topic, &[Record::with_value("first")]).await;
    recorder.invocations(1).await;

    produce(&settings(), &topic, &[Record::with_value("second")]).await;
    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0], [1]]);
}

/// The payload contains the records in base64, so five records of a million bytes each do not fit.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html#invocation-eventsourcemapping-batching>
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closes_at_six_megabytes_and_no_record_is_lost_between_two_batches() {
    let values: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 1_000_000]).collect();
    let topic = topic_with(1, &values.iter().map(|value| Record::with_value(value.clone())).collect::<Vec<_>>()).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 10_000, Duration::from_secs(2)), &recorder);

    recorder.has_seen(20).await;
    let events = recorder.invocations(1).await;
    mapping.stop().await;

    let delivered: Vec<Vec<u8>> = events
        .iter()
        .flat_map(records)
        .map(|record| STANDARD.decode_to_vec(record["value"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(delivered, values);
    let sizes: Vec<usize> = events.iter().map(|event| event.to_string().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 6 * 1024 * 1024), "{sizes:?}");
    assert_eq!(events.iter().map(|event| records(event).len()).collect::<Vec<_>>(), [4, 4, 4, 4, 4]);
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-scaling-modes.html>
#[tokio::test(flavor = "multi_thread")]
async fn an_event_contains_records_of_several_partitions_and_keeps_the_order_of_each_partition() {
    let records: Vec<Record> =
        (0..7).map(|number| Record::with_value(number.to_string()).in_partition(number % 3)).collect();
    let topic = topic_with(3, &[]).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 7, LONG_WINDOW), &recorder);

    // No partition fills the batch alone, but all partitions together do.
    produce(&settings(), &topic, &records).await;
    let events = recorder.invocations(1).await;
    mapping.stop().await;

    let keys: Vec<_> = events[0]["records"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, [0, 1, 2].map(|partition| format!("{topic}-{partition}")));
    assert_eq!(places(&events[0]), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)]);
    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 3).await, [Some(3), Some(2), Some(2)]);
}

/// The broker answers about 150 commits per second. If each batch were committed, the commits of this test would take
/// half a minute, and heartbeats would wait behind them until the broker removes the mapping from its group.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_batches_do_not_cause_more_commits_than_the_broker_can_answer() {
    const RECORDS: usize = 4_000;
    let topic = topic_with(1, &numbered(RECORDS)).await;
    let recorder = Recorder::new();
    let configuration = mapping(&topic, 1, Duration::ZERO);
    let running = start(&configuration, &recorder);

    let mut log = recorder.log.subscribe();
    let delivered = log.wait_for(|log| log.len() >= RECORDS);
    tokio::time::timeout(PATIENCE, delivered).await.expect("all records are delivered").expect("the log stays open");
    running.stop().await;

    let group = &configuration.group;
    assert_eq!(committed(&settings(), group, &topic, 1).await, [Some(i64::try_from(RECORDS).unwrap())]);
    assert_eq!(recorder.log.borrow().len(), RECORDS, "records were delivered again");
}
