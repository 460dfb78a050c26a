//! What the functions count: streams' events and what became of them.
//!
//! On Lambda the counts of each invocation go to CloudWatch in its embedded metric format ([`embed`]); `local` serves
//! the sums ([`Metrics::prometheus`]). A counter is added by a line in `counters!` and one that counts it.

mod embedded;
mod prometheus;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use self::embedded::embed;

macro_rules! counters {
    ($(#[doc = $meaning:literal] $counter:ident = $name:literal,)*) => {
        /// What is counted. Its documentation is what `GET /metrics` says of it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $meaning] $counter,)*
        }

        impl Counter {
            const ALL: &[Self] = &[$(Self::$counter,)*];

            /// The metric's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$counter => $name,)* }
            }

            /// What it counts.
            const fn meaning(self) -> &'static str {
                match self { $(Self::$counter => $meaning.trim_ascii(),)* }
            }
        }
    };
}

counters! {
    /// Events that were accepted: the broker has acknowledged them.
    Accepted = "accepted",
    /// Events that were refused as they break their contract.
    Invalid = "invalid",
    /// Events that were answered 503 as the broker had not acknowledged them in time.
    Unacknowledged = "unacknowledged",
    /// Events whose rows were written, those included that had been waiting.
    Written = "written",
    /// Events that repeat one that has landed, by its idempotency key or its id.
    Duplicate = "duplicate",
    /// Events that began to wait for their parent.
    Waiting = "waiting",
    /// Events that had been waiting and whose parent came.
    Released = "released",
    /// Events that became dead letters.
    Rejected = "rejected",
    /// Records that were delivered again and had been applied.
    Replayed = "replayed",
    /// Records without a value.
    Tombstones = "tombstones",
    /// Changes of rows that were not there.
    SkippedRows = "skipped_rows",
    /// Partitions whose offsets started anew: the topic was created anew, or its log truncated.
    Incarnations = "incarnations",
    /// Offsets that never came although later ones did.
    Gaps = "gaps",
}

/// The name of the one metric that is no count: milliseconds from a batch's oldest new record to its commit.
const LAG_MS: &str = "lag_ms";

/// The upper bounds of the lag's buckets, in milliseconds.
const LAG_BOUNDS_MS: [u64; 12] =
    [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_600_000];

/// What a process has counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

/// By stream; of what belongs to none, under none.
type Counts = BTreeMap<Option<String>, Count>;

/// What was counted of one stream.
#[derive(Debug, Clone, Default)]
struct Count {
    /// In the order of [`Counter::ALL`].
    counters: [u64; Counter::ALL.len()],
    lag: Lag,
}

/// How late batches were committed.
#[derive(Debug, Clone, Default)]
struct Lag {
    longest_ms: Option<u64>,
    batches: u64,
    sum_ms: u64,
    /// How many batches were within each of [`LAG_BOUNDS_MS`].
    within: [u64; LAG_BOUNDS_MS.len()],
}

impl Metrics {
    /// Counts `n` more of a stream's events, or of what belongs to no stream.
    pub fn count(&self, counter: Counter, stream: Option<&str>, n: u64) {
        if n > 0 {
            self.update(stream, |count| count.counters[counter as usize] += n);
        }
    }

    /// Notes that a batch of a stream was committed `lag_ms` after the time of its oldest new record.
    pub fn note_lag(&self, stream: &str, lag_ms: u64) {
        self.update(Some(stream), |count| count.lag.note(lag_ms));
    }

    /// What was counted so far, as Prometheus reads it.
    pub fn prometheus(&self) -> String {
        prometheus::text(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was counted since the last time.
    fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn update(&self, stream: Option<&str>, update: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        update(counts.entry(stream.map(str::to_owned)).or_default());
    }
}

impl Count {
    fn of(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }
}

impl Lag {
    fn note(&mut self, lag_ms: u64) {
        self.longest_ms = self.longest_ms.max(Some(lag_ms));
        self.batches += 1;
        self.sum_ms += lag_ms;
        for (within, bound_ms) in self.within.iter_mut().zip(LAG_BOUNDS_MS) {
            *within += u64::from(lag_ms <= bound_ms);
        }
    }
}
