//! What became of a batch, as it is told, logged and counted.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::metrics::{Counter, Metrics};

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Records that the batch had.
    pub records: usize,
    /// Records that had been applied before.
    pub replayed: usize,
    /// Events that were written, those that had been waiting included.
    pub written: usize,
    /// Events that repeated one that had landed.
    pub duplicates: usize,
    /// Events that wait for their parent.
    pub waiting: usize,
    /// Events that had been waiting and whose parent came.
    pub released: usize,
    /// Events that became dead letters.
    pub rejected: usize,
    /// Records without a value.
    pub tombstones: usize,
    /// Partitions whose offsets have started anew.
    pub incarnations: usize,
    /// Offsets that never came although later ones did.
    pub skipped_offsets: i64,
    /// Changes of rows that were not there.
    pub skipped_rows: u64,
}

/// What became of a batch, by stream.
#[derive(Debug, Default)]
pub(crate) struct Landed(BTreeMap<String, OfStream>);

#[derive(Debug, Default)]
struct OfStream {
    summary: Summary,
    /// The time of the oldest record that was new.
    oldest_ms: Option<i64>,
}

impl Landed {
    /// A stream's part, to be added to.
    pub(super) fn of(&mut self, stream: &str) -> &mut Summary {
        &mut self.0.entry(stream.to_owned()).or_default().summary
    }

    /// Notes the time of a stream's new record.
    pub(super) fn note_time(&mut self, stream: &str, timestamp_ms: i64) {
        let of_stream = self.0.entry(stream.to_owned()).or_default();
        of_stream.oldest_ms = Some(of_stream.oldest_ms.map_or(timestamp_ms, |oldest_ms| oldest_ms.min(timestamp_ms)));
    }

    /// All streams' together.
    pub(crate) fn summary(&self) -> Summary {
        self.0.values().fold(Summary::default(), |sum, of_stream| sum.and(of_stream.summary))
    }

    /// Milliseconds from the oldest new record's time to `now_ms`; none if none was new.
    pub(crate) fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        self.0.values().filter_map(|of_stream| of_stream.lag_ms(now_ms)).max()
    }

    /// Counts it; `now_ms`: when it was committed.
    pub(crate) fn count(&self, metrics: &Metrics, now_ms: i64) {
        for (stream, of_stream) in &self.0 {
            of_stream.summary.count(metrics, stream);
            if let Some(lag_ms) = of_stream.lag_ms(now_ms) {
                metrics.note_lag(stream, lag_ms);
            }
        }
    }
}

impl OfStream {
    /// A producer's clock may be ahead of ours.
    fn lag_ms(&self, now_ms: i64) -> Option<u64> {
        self.oldest_ms.map(|oldest_ms| u64::try_from(now_ms - oldest_ms).unwrap_or_default())
    }
}

impl Summary {
    fn and(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            replayed: self.replayed + other.replayed,
            written: self.written + other.written,
            duplicates: self.duplicates + other.duplicates,
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
            // Each is one of the others.
            records: _,
            replayed,
            written,
            duplicates,
            waiting,
            released,
            rejected,
            tombstones,
            incarnations,
            skipped_offsets,
            skipped_rows,
        } = self;
        for (counter, n) in [
            (Counter::Replayed, replayed as u64),
            (Counter::Written, written as u64),
            (Counter::Duplicate, duplicates as u64),
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
