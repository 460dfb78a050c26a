//! Rejects overtaken replays. Before `console` replays an event, it searches for later events with the same key. A
//! replay was overtaken if such an event was sent after the search, but before the replay. If the replay landed, it
//! would replace the later event.
//!
//! Nothing is rejected if the contract has a version or the replay is forced. For the events before the batch, only the
//! log is read, which does not show whether an event was rejected. So a rejected event may overtake a replay. The
//! replay is then rejected needlessly, but its dead letter can be replayed again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use shared::contract::{Landing, json};
use shared::kafka::reader::{Limits, LogRecord, Reader};
use shared::ledger::Rejection;
use shared::record::place::Place;
use shared::record::replay::Replay;

use crate::check::{Event, Rows};
use crate::land::{CheckedBatch, Partition};
use crate::write::rows::key_cells;

/// The limits of reading the events between the end of `console`'s search and the start of the batch.
const LIMITS: Limits =
    Limits { max_records: 10_000, max_bytes: 16 * 1_024 * 1_024, max_time: std::time::Duration::from_secs(5) };

/// The columns of a landing table that hold a row's key.
#[derive(Clone, Copy)]
struct Key<'c> {
    landing: &'c Landing,
    columns: &'c [usize],
}

/// The parts of an event that decide whether it overtakes a replay.
struct Other {
    offset: i64,
    first: Option<Place>,
}

/// Rejects the batch's replays that were overtaken. In each partition, the events between the end of a replay's search
/// and the batch are read from Kafka. If they cannot all be read, every replay in the partition whose search ended
/// before the batch's first record is rejected, too.
pub(crate) async fn reject(reader: &dyn Reader, checked: &mut CheckedBatch<'_>) {
    let CheckedBatch { partitions, rows, .. } = checked;
    for partition in partitions {
        let contract = Arc::clone(&partition.contract);
        let key = contract.landing().zip(contract.row_key()).filter(|_| contract.version().is_none());
        let Some(key) = key.map(|(landing, columns)| Key { landing, columns }) else { continue };
        let replays = replays(partition);
        let Some(first) = partition.records.first().map(|record| record.offset) else { continue };
        let Some(from) = replays.iter().map(|(_, _, until)| *until).min() else { continue };
        let before =
            if from < first { before(reader, partition, key, from..first).await } else { Some(HashMap::new()) };
        let within = within(partition, rows, key);
        for (index, replay, until) in replays {
            let Some(Ok(event)) = &partition.events[index] else { continue };
            let own = key_of_event(key, rows, event);
            let overtakes =
                |other: &Other| other.offset >= until && is_later(other.first.as_ref(), replay.first.as_ref());
            let is_overtaken = match &before {
                Some(before) => before.get(&*own).is_some_and(|others| others.iter().any(overtakes)),
                None => until < first,
            };
            // A replay that was itself overtaken does not overtake other replays.
            let is_valid = |index: usize| matches!(partition.events[index], Some(Ok(_)));
            let mut earlier = within.get(&own).into_iter().flatten().filter(|(at, _)| *at < index && is_valid(*at));
            if is_overtaken || earlier.any(|(_, other)| overtakes(other)) {
                const REASON: &str = "a later event with the same key was sent, or may have been sent, just before this replay; replay this dead letter again";
                partition.events[index] = Some(Err(Rejection::new("overtaken", REASON)));
            }
        }
    }
}

/// Returns the replays for which `console` has searched for later events. Each replay comes with its index and the
/// offset at which the search ended.
fn replays(partition: &Partition<'_>) -> Vec<(usize, Replay, i64)> {
    let read = |(index, record): (usize, &crate::batch::Record)| {
        let replay = record.envelope().replay()?;
        // If the partition was created after the search, none of it was searched.
        let until = replay.searched.as_ref()?.until(record.partition).unwrap_or(0);
        Some((index, replay, until))
    };
    partition.records.iter().enumerate().filter_map(read).collect()
}

/// A partition's events by the encoded cells of their keys. Each event comes with its index in the partition.
type EventsByKey<'a> = HashMap<Cow<'a, [u8]>, Vec<(usize, Other)>>;

/// Returns the partition's valid events, by key.
fn within<'a>(partition: &Partition<'_>, rows: &'a Rows, key: Key<'_>) -> EventsByKey<'a> {
    let mut within = EventsByKey::new();
    for (index, (record, event)) in partition.records.iter().zip(&partition.events).enumerate() {
        if let Some(Ok(event)) = event {
            let first = record.envelope().replay().and_then(|replay| replay.first);
            let other = Other { offset: record.offset, first };
            within.entry(key_of_event(key, rows, event)).or_default().push((index, other));
        }
    }
    within
}

fn key_of_event<'a>(Key { landing, columns }: Key<'_>, rows: &'a Rows, event: &Event) -> Cow<'a, [u8]> {
    key_cells(landing, columns, rows.get(&event.row).get(2..).unwrap_or_default())
}

/// Returns the events of a range of the log, by key. Returns `None` if part of the range cannot be read.
async fn before(
    reader: &dyn Reader,
    partition: &Partition<'_>,
    key: Key<'_>,
    range: Range<i64>,
) -> Option<HashMap<Vec<u8>, Vec<Other>>> {
    let read = reader.read(partition.topic, partition.partition, range.start, range.end, LIMITS).await;
    let chunk = read
        .inspect_err(|error| tracing::warn!(topic = partition.topic, %error, "events before a replay cannot be read"))
        .ok()?;
    let is_whole = chunk.from == range.start && chunk.until >= range.end;
    let mut before: HashMap<Vec<u8>, Vec<Other>> = HashMap::new();
    for record in &chunk.records {
        if let Some((key, other)) = other(partition.topic, key, record) {
            before.entry(key).or_default().push(other);
        }
    }
    is_whole.then_some(before)
}

fn other(topic: &str, key: Key<'_>, record: &LogRecord) -> Option<(Vec<u8>, Other)> {
    let event = json::parse(record.value.as_deref()?).ok()?;
    let key = key.landing.comparable_cells(key.columns, &event).ok()?;
    let header = |name: &str| record.headers.iter().find(|(header, _)| header == name)?.1.as_deref();
    let first = Replay::from_headers(topic, header).and_then(|replay| replay.first);
    Some((key, Other { offset: record.offset, first }))
}

/// Returns whether an event that precedes a replay in the log is newer than the event that was replayed. An event that
/// is not itself a replay is always newer. If the preceding event is itself a replay, it is newer if its original event
/// comes after the original event of the later replay, or if the place of either original event is not known.
fn is_later(other: Option<&Place>, own: Option<&Place>) -> bool {
    match (other, own) {
        (Some(other), Some(own)) => other.is_after(own),
        (None, _) | (_, None) => true,
    }
}
