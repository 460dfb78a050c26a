//! Receipts. A receipt's status is derived from its partition's watermark, the table `gaps`, and the exception tables:
//! `dead_letters`, `waiting`, `duplicates` and `superseded`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};

use super::gaps::Cause;
use super::{Rejection, dead_letters};
use crate::kafka::reader::{Chunk, Limits, Reader};
use crate::record::place::Place;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided yet.
    Pending,
    /// Its parent is not there yet.
    Waiting {
        /// When it began to wait, milliseconds since the Unix epoch.
        since_ms: i64,
    },
    /// It was written to its table.
    Written,
    /// It repeats an event that has landed already.
    Duplicate,
    /// It changed nothing, because its row already had a higher version.
    Superseded,
    /// It is a dead letter, or it repeats an event that is a dead letter.
    Rejected(Rejection),
    /// It was rejected, and then its dead letter was replayed.
    Replayed {
        /// Why it was rejected.
        rejection: Rejection,
        /// The place of the replay.
        replay: Place,
    },
    /// Kafka no longer had it when `consume` needed it.
    Lost {
        /// Why, as far as it is known.
        reason: String,
    },
}

/// The outcome's name, as receipts show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not decided yet.
    Pending,
    /// Its parent is not there yet.
    Waiting,
    /// It was written to its table.
    Written,
    /// It repeats an event that has landed already.
    Duplicate,
    /// It changed nothing, because its row already had a higher version.
    Superseded,
    /// It is a dead letter, or it repeats an event that is a dead letter.
    Rejected,
    /// Kafka no longer had it when `consume` needed it.
    Lost,
}

impl Outcome {
    /// Returns the outcome's name.
    pub fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Waiting { .. } => Status::Waiting,
            Self::Written => Status::Written,
            Self::Duplicate => Status::Duplicate,
            Self::Superseded => Status::Superseded,
            Self::Rejected(_) | Self::Replayed { .. } => Status::Rejected,
            Self::Lost { .. } => Status::Lost,
        }
    }
}

/// Looks up the outcomes of one topic's records, in the order of `records`. Each record is given as its partition and
/// offset.
///
/// If a topic was recreated, an offset means a record of the current topic.
///
/// If a partition has too many gaps, `gaps` merges some gaps of an incarnation into one range, which also spans applied
/// records. So the ledger alone does not show whether a record in a merged gap is lost. Such a record is looked up in
/// Kafka. If there is no reader, the record is reported as lost.
///
/// # Errors
/// PostgreSQL's error.
pub async fn look_up(
    executor: impl PgExecutor<'_> + Copy,
    reader: Option<&dyn Reader>,
    topic: &str,
    records: &[(i32, i64)],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let found = look_through(executor, topic, records, None).await?;
    Ok(decide(reader, topic, found).await)
}

/// Like [`look_up`], but for records that were just sent. Each record is given as its partition, its offset, and its
/// time in milliseconds since the Unix epoch.
///
/// A record that is newer than all applied records counts as not applied, even if its offset is below the watermark:
/// its partition's offsets have restarted, and the watermark does not show that yet.
///
/// # Errors
/// PostgreSQL's error.
pub async fn look_up_sent(
    executor: impl PgExecutor<'_> + Copy,
    reader: Option<&dyn Reader>,
    topic: &str,
    records: &[(i32, i64, i64)],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let places: Vec<(i32, i64)> = records.iter().map(|record| (record.0, record.1)).collect();
    let times_ms = records.iter().map(|record| record.2).collect();
    let found = look_through(executor, topic, &places, Some(times_ms)).await?;
    Ok(decide(reader, topic, found).await)
}

/// What the ledger says of a record.
enum Found {
    /// This outcome is certain.
    Certain(Outcome),
    /// This outcome is certain only if `consume` could read a record in a merged gap.
    Doubtful(Doubt),
    /// The record repeats the event at this place.
    Repeats(Place),
}

/// An outcome that is certain only if Kafka still had the record at this partition and offset when `consume` needed it.
/// Otherwise, that record was lost for this cause.
struct Doubt {
    outcome: Outcome,
    partition: i32,
    offset: i64,
    cause: Cause,
}

/// The maximum number of steps that are followed in a chain of repeats or replays. No real chain is that long.
const LONGEST_CHAIN: usize = 100;

/// Follows each chain of replays to its last replay. A chain arises because a rejected replay may be replayed in turn.
/// Returns the place and the outcome of each last replay, in the order of `places`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn follow_replays(
    executor: impl PgExecutor<'_> + Copy,
    reader: Option<&dyn Reader>,
    places: Vec<Place>,
) -> Result<Vec<(Place, Outcome)>, sqlx::Error> {
    let mut ends: Vec<(Place, Outcome)> = places.into_iter().map(|place| (place, Outcome::Pending)).collect();
    let mut open: Vec<usize> = (0..ends.len()).collect();
    for _ in 0..LONGEST_CHAIN {
        let mut by_topic: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in open.drain(..) {
            by_topic.entry(ends[index].0.topic.clone()).or_default().push(index);
        }
        for (topic, indexes) in by_topic {
            let sent = |&index: &usize| {
                let Place { partition, offset, timestamp_ms, .. } = ends[index].0;
                (partition, offset, timestamp_ms)
            };
            let records: Vec<_> = indexes.iter().map(sent).collect();
            let outcomes = look_up_sent(executor, reader, &topic, &records).await?;
            for (index, outcome) in indexes.into_iter().zip(outcomes) {
                if let Outcome::Replayed { replay, .. } = &outcome {
                    ends[index].0 = replay.clone();
                    open.push(index);
                }
                ends[index].1 = outcome;
            }
        }
        if open.is_empty() {
            break;
        }
    }
    Ok(ends)
}

/// Like [`look`], but also looks up the events that these records repeat. A record shares the outcome of the event that
/// it repeats, except that it is a duplicate if that event was written or superseded.
async fn look_through(
    executor: impl PgExecutor<'_> + Copy,
    topic: &str,
    records: &[(i32, i64)],
    times_ms: Option<Vec<i64>>,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut found = look(executor, topic, records, times_ms).await?;
    for _ in 0..LONGEST_CHAIN {
        let repeats: Vec<(usize, &Place)> = found
            .iter()
            .enumerate()
            .filter_map(|(index, found)| match found {
                Found::Repeats(place) => Some((index, place)),
                Found::Certain(_) | Found::Doubtful(_) => None,
            })
            .collect();
        if repeats.is_empty() {
            break;
        }
        let places: Vec<_> = repeats.iter().map(|(_, place)| (place.partition, place.offset)).collect();
        let times_ms = repeats.iter().map(|(_, place)| place.timestamp_ms).collect();
        let indexes: Vec<usize> = repeats.into_iter().map(|(index, _)| index).collect();
        for (index, repeated) in indexes.into_iter().zip(look(executor, topic, &places, Some(times_ms)).await?) {
            found[index] = match repeated {
                Found::Certain(Outcome::Written | Outcome::Superseded) => Found::Certain(Outcome::Duplicate),
                Found::Doubtful(doubt) => Found::Doubtful(Doubt { outcome: Outcome::Duplicate, ..doubt }),
                other @ (Found::Certain(_) | Found::Repeats(_)) => other,
            };
        }
    }
    Ok(found)
}

async fn look(
    executor: impl PgExecutor<'_>,
    topic: &str,
    records: &[(i32, i64)],
    times_ms: Option<Vec<i64>>,
) -> Result<Vec<Found>, sqlx::Error> {
    const SELECT: &str = include_str!("receipts.sql");
    let (partitions, offsets): (Vec<i32>, Vec<i64>) = records.iter().copied().unzip();
    let select = sqlx::query(SELECT).bind(topic).bind(partitions).bind(offsets).bind(times_ms);
    let rows = select.fetch_all(executor).await?;
    rows.iter().zip(records).map(|(row, record)| read(row, *record)).collect()
}

fn read(row: &PgRow, (partition, offset): (i32, i64)) -> Result<Found, sqlx::Error> {
    let cause = |name: Option<String>| name.map(|name| Cause::from_name(&name).unwrap_or(Cause::Unknown));
    let reason: Option<String> = row.try_get("reason")?;
    let since_ms: Option<i64> = row.try_get("since_ms")?;
    let outcome = if !row.try_get::<bool, _>("applied")? {
        Outcome::Pending
    } else if let Some(cause) = cause(row.try_get("gap")?) {
        Outcome::Lost { reason: cause.reason().to_owned() }
    } else if let Some(reason) = reason {
        let rejection = Rejection::new(row.try_get::<String, _>("error_code")?, reason);
        match dead_letters::replayed_as(row)? {
            Some(replay) => Outcome::Replayed { rejection, replay },
            None => Outcome::Rejected(rejection),
        }
    } else if let Some(since_ms) = since_ms {
        Outcome::Waiting { since_ms }
    } else if row.try_get("duplicate")? {
        let place = repeated(row)?;
        return Ok(place.map_or(Found::Certain(Outcome::Duplicate), Found::Repeats));
    } else if row.try_get("superseded")? {
        Outcome::Superseded
    } else if let Some(cause) = cause(row.try_get("merged_gap")?) {
        return Ok(Found::Doubtful(Doubt { outcome: Outcome::Written, partition, offset, cause }));
    } else {
        Outcome::Written
    };
    Ok(Found::Certain(outcome))
}

/// Returns the place of the event that a duplicate repeats, if the row has that place.
fn repeated(row: &PgRow) -> Result<Option<Place>, sqlx::Error> {
    let (partition, offset) = (row.try_get("of_partition")?, row.try_get("of_offset")?);
    let (Some(partition), Some(offset)) = (partition, offset) else { return Ok(None) };
    let (topic, timestamp_ms) = (row.try_get("topic")?, row.try_get("of_timestamp_ms")?);
    Ok(Some(Place { topic, partition, offset, timestamp_ms }))
}

/// Returns the outcomes of the records, in their order. Records in merged gaps are looked up in Kafka. If Kafka still
/// has a record now, it also had the record when `consume` needed it, so the record is not lost.
async fn decide(reader: Option<&dyn Reader>, topic: &str, found: Vec<Found>) -> Vec<Outcome> {
    let uncertain = found.iter().filter_map(|found| match found {
        Found::Doubtful(doubt) => Some((doubt.partition, doubt.offset)),
        Found::Certain(_) | Found::Repeats(_) => None,
    });
    let mut chunks = BTreeMap::new();
    if let Some(reader) = reader {
        for ((partition, first), last) in ranges(uncertain.collect()) {
            match reader.read(topic, partition, first, last + 1, MERGED_GAP_LIMITS).await {
                Ok(chunk) => {
                    chunks.insert((partition, first), chunk);
                }
                Err(error) => {
                    tracing::warn!(%error, topic, partition, "records within a merged gap were not looked up")
                }
            }
        }
    }
    let chunk = |partition: i32, offset: i64| {
        chunks.range((partition, i64::MIN)..=(partition, offset)).next_back().map(|(_, chunk)| chunk)
    };
    let outcomes = found.into_iter().map(|found| match found {
        Found::Certain(outcome) => outcome,
        // The chain is longer than `LONGEST_CHAIN`.
        Found::Repeats(_) => Outcome::Pending,
        Found::Doubtful(doubt) => decide_one(chunk(doubt.partition, doubt.offset), doubt),
    });
    outcomes.collect()
}

/// Returns ranges of offsets that contain these records. The key is a range's partition and first offset, the value its
/// last offset. Records that are far from each other are in different ranges, so that the records between them are not
/// read.
fn ranges(mut records: Vec<(i32, i64)>) -> BTreeMap<(i32, i64), i64> {
    const FAR: i64 = 1_000;
    records.sort_unstable();
    let mut ranges: BTreeMap<(i32, i64), i64> = BTreeMap::new();
    for (partition, offset) in records {
        match ranges.last_entry() {
            Some(mut range) if range.key().0 == partition && offset - *range.get() <= FAR => {
                range.insert(offset);
            }
            Some(_) | None => {
                ranges.insert((partition, offset), offset);
            }
        }
    }
    ranges
}

/// The limits of what one lookup reads from Kafka for each range.
const MERGED_GAP_LIMITS: Limits =
    Limits { max_records: 20_000, max_bytes: 16 * 1024 * 1024, max_time: Duration::from_secs(3) };

fn decide_one(chunk: Option<&Chunk>, Doubt { outcome, offset, cause, .. }: Doubt) -> Outcome {
    let unknown = |why: &str| Outcome::Lost {
        reason: format!(
            "it is not known whether the event was applied, because {why}; it was applied unless {}",
            match cause {
                Cause::Transaction => "its transaction was aborted",
                Cause::Compaction => "Kafka had compacted it away before `consume` needed it",
                Cause::Retention | Cause::Unknown => "Kafka no longer had it when `consume` needed it",
            }
        ),
    };
    let Some(chunk) = chunk else { return unknown("Kafka could not be asked") };
    if chunk.records.binary_search_by_key(&offset, |record| record.offset).is_ok() {
        outcome
    } else if offset < chunk.from {
        unknown("Kafka no longer has the record")
    } else if offset < chunk.until {
        match cause {
            // The topic is not compacted, so within its log, only records of aborted transactions are missing.
            Cause::Transaction => Outcome::Lost { reason: cause.reason().to_owned() },
            Cause::Compaction | Cause::Retention | Cause::Unknown => unknown("Kafka no longer has the record"),
        }
    } else {
        unknown("Kafka did not answer in time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_far_from_each_other_are_read_in_separate_ranges() {
        let found = ranges(vec![(0, 5_000), (0, 7), (1, 9), (0, 1_007), (0, 8)]);
        assert_eq!(found, BTreeMap::from([((0, 7), 1_007), ((0, 5_000), 5_000), ((1, 9), 9)]));
    }
}
