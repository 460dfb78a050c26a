//! The event source mapping against a real Kafka, with a function that writes down what it is invoked with.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground gives way")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use base64_simd::STANDARD;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::{Function, OverHttp};
use serde_json::json;
use support::kafka::{Record, committed, create_topic, members, produce, settings, topic_name};
use support::recorder::{PATIENCE, Recorder, first_seen, offsets, records, records_of};

const LONG_WINDOW: Duration = Duration::from_secs(300);

fn mapping(topic: &str, batch_size: usize, window: Duration) -> MappingConfiguration {
    MappingConfiguration { batch_size, window, ..MappingConfiguration::of_topic(topic) }
}

fn start(configuration: &MappingConfiguration, function: &Arc<Recorder>) -> EventSourceMapping {
    let function: Arc<dyn Function> = Arc::clone(function) as _;
    EventSourceMapping::start(configuration.clone(), &settings(), function).unwrap()
}

async fn topic_with(partitions: i32, records: &[Record]) -> String {
    let topic = topic_name("mapping");
    create_topic(&settings(), &topic, partitions).await;
    produce(&settings(), &topic, records).await;
    topic
}

fn numbered(count: usize) -> Vec<Record> {
    (0..count).map(|number| Record::of(number.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_is_as_lambda_writes_it() {
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
        ..MappingConfiguration::of_topic(&topic)
    };
    let recorder = Recorder::new();
    let mapping = start(&self_managed, &recorder);
    let events = recorder.invocations(1).await;
    mapping.stop().await;
    expected["eventSource"] = json!("SelfManagedKafka");
    expected.as_object_mut().unwrap().remove("eventSourceArn");
    assert_eq!(events, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closes_at_its_size() {
    let topic = topic_with(1, &numbered(25)).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 10, LONG_WINDOW), &recorder);

    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [(0..10).collect::<Vec<_>>(), (10..20).collect()]);
    // The five that waited for more are not lost: nobody committed them.
    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 1).await, [Some(20)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closes_at_the_window_after_its_first_record() {
    let window = Duration::from_millis(700);
    let topic = topic_with(1, &[]).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 100, window), &recorder);
    // The group is joined, so that from here on only the window takes time.
    produce(&settings(), &topic, &[Record::of("first")]).await;
    recorder.invocations(1).await;

    let begun = Instant::now();
    produce(&settings(), &topic, &numbered(3)).await;
    let events = recorder.invocations(2).await;
    let took = begun.elapsed();
    mapping.stop().await;

    assert_eq!(offsets(&events[1]), [1, 2, 3]);
    assert!(took >= window, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_zero_delivers_what_is_there() {
    let topic = topic_with(1, &[]).await;
    let recorder = Recorder::new();
    let mapping = start(&mapping(&topic, 100, Duration::ZERO), &recorder);
    produce(&settings(), &topic, &[Record::of("first")]).await;
    recorder.invocations(1).await;

    produce(&settings(), &topic, &[Record::of("second")]).await;
    let events = recorder.invocations(2).await;
    mapping.stop().await;

    assert_eq!(events.iter().map(offsets).collect::<Vec<_>>(), [[0], [1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_closes_at_six_megabytes_and_no_record_is_lost_between_two() {
    let values: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 1_000_000]).collect();
    let topic = topic_with(1, &values.iter().map(|value| Record::of(value.clone())).collect::<Vec<_>>()).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_is_delivered_again_with_nothing_committed_until_it_succeeds() {
    let topic = topic_with(1, &numbered(5)).await;
    let recorder = Recorder::failing(|number| number < 3);
    let mapping = start(&mapping(&topic, 5, LONG_WINDOW), &recorder);
    let group = format!("sluice-{topic}");

    let events = recorder.invocations(3).await;
    assert_eq!(committed(&settings(), &group, &topic, 1).await, [None]);
    assert!(events.iter().all(|event| event == &events[0]));
    let events = recorder.invocations(4).await;
    mapping.stop().await;

    assert_eq!(events[3], events[0]);
    assert_eq!(events.len(), 4);
    assert_eq!(committed(&settings(), &group, &topic, 1).await, [Some(5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_it_goes_on_where_the_last_success_was() {
    let topic = topic_with(1, &numbered(4)).await;
    let configuration = mapping(&topic, 2, LONG_WINDOW);
    let recorder = Recorder::failing(|number| number >= 1);
    let first = start(&configuration, &recorder);
    recorder.invocations(2).await;
    first.stop().await;
    // It has left its group: nobody has to wait for its session to time out.
    assert_eq!(members(&settings(), &configuration.group).await, 0);

    let recorder = Recorder::new();
    let second = start(&configuration, &recorder);
    let events = recorder.invocations(1).await;
    second.stop().await;

    assert_eq!(offsets(&events[0]), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_run_side_by_side_with_one_batch_in_flight_each() {
    let records: Vec<Record> = (0..40).map(|number| Record::of(number.to_string()).in_partition(number % 2)).collect();
    let topic = topic_with(2, &records).await;
    let (recorder, release) = Recorder::held();
    let mapping = start(&mapping(&topic, 5, LONG_WINDOW), &recorder);

    // Both are in flight, and as long as they are no other one begins.
    let events = recorder.invocations(2).await;
    let in_flight: Vec<_> = events.iter().map(records_of).collect();
    assert_ne!(in_flight[0].0, in_flight[1].0);
    assert!(in_flight.iter().all(|(_, offsets)| offsets == &[0, 1, 2, 3, 4]));
    let third = tokio::time::timeout(Duration::from_secs(1), async {
        recorder.log.subscribe().wait_for(|log| log.len() > 2).await.unwrap();
    });
    assert!(third.await.is_err());

    release.send_replace(usize::MAX);
    let events = recorder.invocations(8).await;
    mapping.stop().await;
    let mut by_partition: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for event in &events {
        let (partition, offsets) = records_of(event);
        by_partition.entry(partition).or_default().extend(offsets);
    }
    assert_eq!(by_partition, BTreeMap::from([(0, (0..20).collect()), (1, (0..20).collect())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_the_invocation_that_runs_and_commits_it() {
    let topic = topic_with(1, &numbered(6)).await;
    let (recorder, release) = Recorder::held();
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);
    recorder.invocations(1).await;

    let mut stopping = tokio::spawn(mapping.stop());
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut stopping).await.is_err());
    release.send_replace(1);
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();

    assert_eq!(recorder.invocations(1).await.len(), 1);
    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 1).await, [Some(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hurried_stop_gives_the_invocation_up_and_commits_nothing_of_it() {
    let topic = topic_with(1, &numbered(2)).await;
    let (recorder, _release) = Recorder::held();
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);
    recorder.invocations(1).await;

    mapping.hurrier().cancel();
    tokio::time::timeout(PATIENCE, mapping.stop()).await.unwrap();

    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 1).await, [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_partitions_over_and_no_record_is_left_out_or_out_of_order() {
    const EACH: i64 = 200;
    let topic = topic_with(4, &[]).await;
    let configuration = mapping(&topic, 7, Duration::from_millis(20));
    let records: Vec<Record> =
        (0..4 * EACH as i32).map(|number| Record::of(number.to_string()).in_partition(number % 4)).collect();
    let recorder = Recorder::new();
    let first = start(&configuration, &recorder);
    produce(&settings(), &topic, &records[..400]).await;
    recorder.has_seen(400).await;
    let another = Recorder::new();
    let second = start(&configuration, &another);
    // Both get records: the group has given partitions to the second.
    produce(&settings(), &topic, &records[400..600]).await;
    let mut more = 600;
    while another.log.borrow().is_empty() {
        produce(&settings(), &topic, &records[more..more + 4]).await;
        more += 4;
        let mut log = another.log.subscribe();
        let _looked = tokio::time::timeout(Duration::from_millis(200), log.wait_for(|log| !log.is_empty())).await;
    }
    first.stop().await;
    produce(&settings(), &topic, &records[more..]).await;

    let mut seen = BTreeMap::new();
    let complete = || (0..4).map(|partition| (partition, (0..EACH).collect())).collect::<BTreeMap<i64, Vec<i64>>>();
    let deadline = Instant::now() + PATIENCE;
    while seen != complete() && Instant::now() < deadline {
        seen = first_seen(&[&recorder, &another]);
        let mut log = another.log.subscribe();
        let _changed = tokio::time::timeout(Duration::from_millis(100), log.changed()).await;
    }
    second.stop().await;
    assert_eq!(seen, complete());
    assert_eq!(committed(&settings(), &configuration.group, &topic, 4).await, [Some(EACH); 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_an_error_answer_in_any_of_its_forms_is_a_failure() {
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
