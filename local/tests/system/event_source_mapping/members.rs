//! Tests restarts, concurrent partitions, stops, and members that join and leave.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{LONG_WINDOW, mapping, numbered, start, topic_with};
use crate::support::kafka::{Record, committed, members, produce, settings};
use crate::support::recorder::{PATIENCE, Recorder, first_seen, offsets, records_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_mapping_resumes_after_the_last_batch_that_succeeded() {
    let topic = topic_with(1, &numbered(4)).await;
    let configuration = mapping(&topic, 2, LONG_WINDOW);
    let recorder = Recorder::failing(|number| number >= 1);
    let first = start(&configuration, &recorder);
    recorder.invocations(2).await;
    first.stop().await;
    // The mapping has left its group. Otherwise, other members would have to wait until the mapping's session times
    // out.
    assert_eq!(members(&settings(), &configuration.group).await, 0);

    let recorder = Recorder::new();
    let second = start(&configuration, &recorder);
    let events = recorder.invocations(1).await;
    second.stop().await;

    assert_eq!(offsets(&events[0]), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_delivered_concurrently_with_one_batch_of_each_in_flight() {
    let records: Vec<Record> =
        (0..40).map(|number| Record::with_value(number.to_string()).in_partition(number % 2)).collect();
    let topic = topic_with(2, &records).await;
    let (recorder, release) = Recorder::held();
    let mapping = start(&mapping(&topic, 5, LONG_WINDOW), &recorder);

    // One batch of each partition is in flight, and no other invocation begins meanwhile.
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
async fn a_stop_waits_for_the_running_invocation_and_commits_its_batch() {
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
async fn a_hurried_stop_abandons_the_invocation_and_commits_no_offset() {
    let topic = topic_with(1, &numbered(2)).await;
    let (recorder, _release) = Recorder::held();
    let mapping = start(&mapping(&topic, 2, LONG_WINDOW), &recorder);
    recorder.invocations(1).await;

    mapping.hurrier().cancel();
    tokio::time::timeout(PATIENCE, mapping.stop()).await.unwrap();

    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 1).await, [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_over_partitions_without_skipping_or_reordering_records() {
    const EACH: i64 = 200;
    let topic = topic_with(4, &[]).await;
    let configuration = mapping(&topic, 7, Duration::from_millis(20));
    let records: Vec<Record> =
        (0..4 * EACH as i32).map(|number| Record::with_value(number.to_string()).in_partition(number % 4)).collect();
    let recorder = Recorder::new();
    let first = start(&configuration, &recorder);
    produce(&settings(), &topic, &records[..400]).await;
    recorder.has_seen(400).await;
    let another = Recorder::new();
    let second = start(&configuration, &another);
    // Once the second member receives records, the group has assigned partitions to both members.
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
