//! Durations of HTTP requests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exposition::{Exposition, Kind};

const NAME: &str = "sluice_http_request_duration_seconds";

/// The upper bounds of the histogram's buckets, in milliseconds. A request may wait for 25 s (`Prefer: wait`).
const BOUNDS_MS: [u32; 12] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// A group of requests. Routes are patterns such as `/events/{stream}`, so that callers cannot create an unlimited
/// number of groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) function: &'static str,
    pub(super) route: String,
    /// The first digit of the response's status.
    pub(super) class: u16,
}

impl Group {
    /// Returns whether the group has these parts. Unlike a comparison with a new group, this allocates nothing.
    pub(super) fn is(&self, function: &str, route: &str, class: u16) -> bool {
        self.class == class && self.route == route && self.function == function
    }
}

/// Requests by group.
pub(super) type Requests = BTreeMap<Group, Durations>;

/// The durations of a group's requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    count: u64,
    sum: Duration,
    /// The number of requests within each of [`BOUNDS_MS`].
    within: [u64; BOUNDS_MS.len()],
}

impl Durations {
    pub(super) fn note(&mut self, elapsed: Duration) {
        self.count += 1;
        self.sum += elapsed;
        for (within, bound_ms) in self.within.iter_mut().zip(BOUNDS_MS) {
            *within += u64::from(elapsed <= Duration::from_millis(bound_ms.into()));
        }
    }
}

/// Writes the histogram.
pub(super) fn write(text: &mut Exposition, requests: &Requests) {
    text.describe(NAME, Kind::Histogram, "How long HTTP requests took, by function, route and class of status.");
    for (Group { function, route, class }, durations) in requests {
        let class = format!("{class}xx");
        let labels = [("function", *function), ("route", route.as_str()), ("status", class.as_str())];
        let seconds = |bound_ms: u32| Duration::from_millis(bound_ms.into()).as_secs_f64().to_string();
        let within = BOUNDS_MS.iter().map(|&bound_ms| seconds(bound_ms)).zip(durations.within);
        text.histogram(NAME, &labels, within, durations.count, durations.sum.as_secs_f64());
    }
}
