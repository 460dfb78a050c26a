//! A batch's result, as it is returned, logged and counted.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::contract::trace_id;
use shared::ledger::Rejection;
use shared::ledger::activity::{Activity, Counts};
use shared::ledger::records::{KeptRecord, LogPosition};
use shared::metrics::{Counter, Metrics};
use shared::record::headers;

use crate::envelope::Envelope;

/// A batch's result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Records in the batch.
    pub records: usize,
    /// Records that had been applied before.
    #[serde(rename = "replayed")]
    pub redelivered: usize,
    /// Events that were written, including released ones.
    pub written: usize,
    /// Events that the fast path wrote with its single statement. They are also counted as written.
    pub fast_path: usize,
    /// Events that repeated an earlier event.
    pub duplicates: usize,
    /// Events that changed nothing because their row had a higher version.
    pub superseded: usize,
    /// Events that wait for their parent.
    pub waiting: usize,
    /// Waiting events whose parent arrived.
    pub released: usize,
    /// Events that became dead letters.
    pub rejected: usize,
    /// Records without a value.
    pub tombstones: usize,
    /// Partitions whose offsets have restarted.
    pub incarnations: usize,
    /// Offsets for which Kafka had no record.
    pub skipped_offsets: i64,
    /// Changes (in mode `changes`) to rows or tables that do not exist.
    pub skipped_rows: u64,
}

/// A batch's result, by stream.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    streams: BTreeMap<String, OfStream>,
    /// The batch's result by partition, which its transaction stores.
    pub(crate) activity: Activity,
    /// The batch's dead letters, which are logged after the commit.
    pub(crate) letters: Letters,
}

/// The first dead letters of a batch, as they are logged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Letters(Vec<Letter>);

#[derive(Debug, Clone)]
struct Letter {
    topic: String,
    partition: i32,
    offset: i64,
    error_code: String,
    trace_id: Option<String>,
}

/// At most this many dead letters of a batch get log lines of their own. The batch's own log line counts all of its
/// dead letters.
const LOGGED: usize = 100;

impl Letters {
    /// Notes a rejected record.
    pub(crate) fn note(&mut self, record: &KeptRecord<'_>, rejection: &Rejection) {
        if self.0.len() >= LOGGED {
            return;
        }
        let LogPosition { topic, partition, offset, incarnation: _ } = record.position;
        let traceparent = Envelope::for_record(record).header(headers::TRACEPARENT);
        self.0.push(Letter {
            topic: topic.to_owned(),
            partition,
            offset,
            error_code: rejection.code.clone(),
            trace_id: traceparent.and_then(trace_id).map(str::to_owned),
        });
    }

    pub(super) fn add(&mut self, other: Self) {
        let room = LOGGED.saturating_sub(self.0.len());
        self.0.extend(other.0.into_iter().take(room));
    }

    /// Logs the dead letters. Their reasons are not logged, because a reason may quote names from the event, such as
    /// the name of an unexpected field.
    pub(crate) fn log(&self) {
        for Letter { topic, partition, offset, error_code, trace_id } in &self.0 {
            tracing::info!(topic, partition, offset, error_code, trace_id, "became a dead letter");
        }
    }
}

#[derive(Debug, Default, Clone)]
struct OfStream {
    summary: Summary,
    /// The timestamp of the oldest new record.
    oldest_ms: Option<i64>,
}

impl Tally {
    /// Returns a stream's summary, for the caller to update.
    pub(crate) fn for_stream(&mut self, stream: &str) -> &mut Summary {
        &mut self.streams.entry(stream.to_owned()).or_default().summary
    }

    /// Records the timestamp of a stream's new record.
    pub(super) fn note_time(&mut self, stream: &str, timestamp_ms: i64) {
        let of_stream = self.streams.entry(stream.to_owned()).or_default();
        of_stream.oldest_ms = Some(of_stream.oldest_ms.map_or(timestamp_ms, |oldest_ms| oldest_ms.min(timestamp_ms)));
    }

    /// Adds the outcomes of a stream's records.
    pub(crate) fn count_records(&mut self, stream: &str, activity: &Activity) {
        self.for_stream(stream).count_records(activity.sum());
        self.activity.add(activity);
    }

    /// Adds another batch's result, but not its activity or its dead letters. The activity has already been stored, and
    /// the dead letters have already been logged.
    pub(crate) fn add(&mut self, other: Self) {
        for (stream, OfStream { summary, oldest_ms }) in other.streams {
            let sum = self.for_stream(&stream);
            *sum = sum.and(summary);
            if let Some(oldest_ms) = oldest_ms {
                self.note_time(&stream, oldest_ms);
            }
        }
    }

    /// Returns the sum over all streams.
    pub(crate) fn summary(&self) -> Summary {
        self.streams.values().fold(Summary::default(), |sum, of_stream| sum.and(of_stream.summary))
    }

    /// Returns the milliseconds from the oldest new record's timestamp to `now_ms`, or `None` if no record is new.
    pub(crate) fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        self.streams.values().filter_map(|of_stream| of_stream.lag_ms(now_ms)).max()
    }

    /// Adds the result to the metrics. `now_ms` is the time of the batch's commit.
    pub(crate) fn count(&self, metrics: &Metrics, now_ms: i64) {
        for (stream, of_stream) in &self.streams {
            of_stream.summary.count(metrics, stream);
            if let Some(lag_ms) = of_stream.lag_ms(now_ms) {
                metrics.note_lag(stream, lag_ms);
            }
        }
    }
}

impl OfStream {
    /// Returns the lag, or 0 if a producer's clock is ahead of ours.
    fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        self.oldest_ms.map(|oldest_ms| u64::try_from(now_ms - oldest_ms).unwrap_or_default())
    }
}

impl Summary {
    fn count_records(&mut self, counts: Counts) {
        let Counts { written, duplicates, superseded, waiting, released, rejected, tombstones, replays: _ } = counts;
        for (sum, count) in [
            (&mut self.written, written),
            (&mut self.duplicates, duplicates),
            (&mut self.superseded, superseded),
            (&mut self.waiting, waiting),
            (&mut self.released, released),
            (&mut self.rejected, rejected),
            (&mut self.tombstones, tombstones),
        ] {
            *sum += usize::try_from(count).unwrap_or_default();
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            redelivered: self.redelivered + other.redelivered,
            written: self.written + other.written,
            fast_path: self.fast_path + other.fast_path,
            duplicates: self.duplicates + other.duplicates,
            superseded: self.superseded + other.superseded,
            waiting: self.waiting + other.waiting,
            released: self.released + other.released,
            rejected: self.rejected + other.rejected,
            tombstones: self.tombstones + other.tombstones,
            incarnations: self.incarnations + other.incarnations,
            skipped_offsets: self.skipped_offsets + other.skipped_offsets,
            skipped_rows: self.skipped_rows + other.skipped_rows,
        }
    }

    fn count(self, metrics: &Metrics, stream: &str) {
        let Self {
            // Other counters already count these records.
            records: _,
            fast_path: _,
            redelivered,
            written,
            duplicates,
            superseded,
            waiting,
            released,
            rejected,
            tombstones,
            incarnations,
            skipped_offsets,
            skipped_rows,
        } = self;
        for (counter, n) in [
            (Counter::Replayed, redelivered as u64),
            (Counter::Written, written as u64),
            (Counter::Duplicate, duplicates as u64),
            (Counter::Superseded, superseded as u64),
            (Counter::Waiting, waiting as u64),
            (Counter::Released, released as u64),
            (Counter::Rejected, rejected as u64),
            (Counter::Tombstones, tombstones as u64),
            (Counter::Incarnations, incarnations as u64),
            (Counter::Gaps, u64::try_from(skipped_offsets).unwrap_or_default()),
            (Counter::SkippedRows, skipped_rows),
        ] {
            metrics.count(counter, Some(stream), n);
        }
    }
}
