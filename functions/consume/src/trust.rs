//! Remembers the partitions whose logs this process has verified. A log is verified if it is known to be the log whose
//! records were applied, and not a replacement.
//!
//! Normally, the database's watermarks and Kafka's logs advance together. After a restore or a failover, the database
//! may be in an earlier state, and logs may have been recreated. A log must therefore be verified again after the
//! database server has restarted, or if the watermark is behind what this process has committed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::ledger::watermarks::Watermark;

/// The partitions whose logs are verified.
#[derive(Debug, Default)]
pub(crate) struct Trust(Mutex<HashMap<(String, i32), Seen>>);

/// How far a partition had advanced when this process last saw it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) server_started_us: i64,
    pub(crate) incarnation: i32,
    pub(crate) next_offset: i64,
}

impl Trust {
    /// Returns whether the log of this watermark's partition is verified.
    pub(crate) fn covers(&self, watermark: &Watermark, server_started_us: i64) -> bool {
        self.seen().get(&key(watermark)).is_some_and(|seen| {
            seen.server_started_us == server_started_us
                && (watermark.incarnation(), watermark.next_offset) >= (seen.incarnation, seen.next_offset)
        })
    }

    /// Returns how far a partition had advanced when this process last saw it. Returns `None` if this process has not
    /// verified the partition's log.
    pub(crate) fn last_seen(&self, topic: &str, partition: i32) -> Option<Seen> {
        self.seen().get(&(topic.to_owned(), partition)).copied()
    }

    /// Remembers how far a partition whose log is verified has advanced.
    pub(crate) fn note_advance(&self, topic: &str, partition: i32, seen: Seen) {
        self.seen().insert((topic.to_owned(), partition), seen);
    }

    /// Remembers that the log of this watermark's partition is verified.
    pub(crate) fn note(&self, watermark: &Watermark, server_started_us: i64) {
        let seen = Seen { server_started_us, incarnation: watermark.incarnation(), next_offset: watermark.next_offset };
        self.seen().insert(key(watermark), seen);
    }

    /// Forgets a partition, so that its log must be verified again.
    pub(crate) fn doubt(&self, watermark: &Watermark) {
        self.seen().remove(&key(watermark));
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<(String, i32), Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(watermark: &Watermark) -> (String, i32) {
    (watermark.topic.clone(), watermark.partition)
}
