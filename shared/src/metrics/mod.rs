//! Counts each stream's events and their outcomes.
//!
//! On Lambda, [`embed`] writes the counts of each invocation to the log, in CloudWatch's embedded metric format.
//! `local` serves the sums ([`Metrics::prometheus`]). A new counter needs a line in `counters!` and a call of
//! [`Metrics::count`].

mod embedded;
pub mod exposition;
mod prometheus;
mod requests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::embedded::embed;
use self::requests::{Group, Requests};

macro_rules! counters {
    ($(#[doc = $meaning:literal] $counter:ident = $name:literal,)*) => {
        /// A counter. Its documentation is its description in `GET /metrics`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $meaning] $counter,)*
        }

        impl Counter {
            const ALL: &[Self] = &[$(Self::$counter,)*];

            /// Returns the metric's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$counter => $name,)* }
            }

            /// Returns the metric's description.
            const fn meaning(self) -> &'static str {
                match self { $(Self::$counter => $meaning.trim_ascii(),)* }
            }
        }
    };
}

counters! {
    /// Events that the broker acknowledged.
    Accepted = "accepted",
    /// Events that violate their contract.
    Invalid = "invalid",
    /// Events answered 503 because the broker did not acknowledge them in time.
    Unacknowledged = "unacknowledged",
    /// Events whose rows were written, including those that had been waiting.
    Written = "written",
    /// Events that repeat an earlier event, by idempotency key or id.
    Duplicate = "duplicate",
    /// Events that changed nothing because their row had a higher version.
    Superseded = "superseded",
    /// Events that began to wait for their parent.
    Waiting = "waiting",
    /// Waiting events whose parent arrived.
    Released = "released",
    /// Events that became dead letters.
    Rejected = "rejected",
    /// Redelivered records that had been applied.
    Replayed = "replayed",
    /// Records without a value.
    Tombstones = "tombstones",
    /// Updates and deletes of rows that do not exist.
    SkippedRows = "skipped_rows",
    /// Partitions whose offsets restarted: the topic was recreated, or its log truncated.
    Incarnations = "incarnations",
    /// Offsets that Kafka no longer had when `consume` needed them.
    Gaps = "gaps",
}

/// The name of the lag's metric: milliseconds from a batch's oldest new record to its commit.
const LAG_MS: &str = "lag_ms";

/// The upper bounds of the lag's buckets, in milliseconds.
const LAG_BOUNDS_MS: [u64; 12] =
    [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_600_000];

/// The counts of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    streams: Counts,
    /// Failed batches by the invocation's error type.
    failed_batches: BTreeMap<&'static str, u64>,
    requests: Requests,
}

/// Counts by stream. The counts of records that belong to no stream are under `None`.
type Counts = BTreeMap<Option<String>, Count>;

/// The counts of one stream.
#[derive(Debug, Clone, Default)]
struct Count {
    /// The counters, in the order of [`Counter::ALL`].
    counters: [u64; Counter::ALL.len()],
    lag: Lag,
}

/// The lag of batches: the time from each batch's oldest new record to its commit.
#[derive(Debug, Clone, Default)]
struct Lag {
    longest_ms: Option<u64>,
    batches: u64,
    sum_ms: u64,
    /// The number of batches within each of [`LAG_BOUNDS_MS`].
    within: [u64; LAG_BOUNDS_MS.len()],
}

impl Metrics {
    /// Adds `n` to a stream's counter. For records that belong to no stream, `stream` is `None`.
    pub fn count(&self, counter: Counter, stream: Option<&str>, n: u64) {
        if n > 0 {
            self.update(stream, |count| count.counters[counter as usize] += n);
        }
    }

    /// Notes a batch's lag: a batch of this stream was committed `lag_ms` milliseconds after the time of its oldest new
    /// record.
    pub fn note_lag(&self, stream: &str, lag_ms: u64) {
        self.update(Some(stream), |count| count.lag.note(lag_ms));
    }

    /// Counts a batch that did not land. A batch that fails again when it is redelivered counts again.
    pub fn count_failed_batch(&self, error_type: &'static str) {
        *self.lock().failed_batches.entry(error_type).or_default() += 1;
    }

    /// Notes how long a function took for a request. `route` is the route's pattern, and `status` is the response's
    /// status.
    pub fn note_request(&self, function: &'static str, route: &str, status: u16, elapsed: Duration) {
        let class = status / 100;
        let mut counted = self.lock();
        let known = counted.requests.iter_mut().find(|(group, _)| group.is(function, route, class));
        match known {
            Some((_, durations)) => durations.note(elapsed),
            None => {
                let group = Group { function, route: route.to_owned(), class };
                counted.requests.entry(group).or_default().note(elapsed);
            }
        }
    }

    /// Returns the counts since the last call, and resets them.
    fn take(&self) -> Counted {
        std::mem::take(&mut *self.lock())
    }

    fn update(&self, stream: Option<&str>, update: impl FnOnce(&mut Count)) {
        update(self.lock().streams.entry(stream.map(str::to_owned)).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn counted(&self, counter: Counter) -> u64 {
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
