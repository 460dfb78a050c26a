//! Limits the rate at which events are sent.

use std::time::{Duration, Instant};

/// The maximum delay that is made up for. After a slow gateway has caused a delay, events are sent faster for a while.
/// This limit keeps that burst short.
const MADE_UP_FOR: Duration = Duration::from_secs(1);

/// Schedules the next events.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: Option<f64>,
    next: Option<Instant>,
}

impl Pace {
    /// Creates a pace of `per_second` events per second. Without a rate, events are sent as fast as they are accepted.
    pub(super) fn new(per_second: Option<f64>) -> Self {
        Self { per_second, next: None }
    }

    /// Returns the time from which the next events may be sent. `now` is the current time.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.next.map_or(now, |next| next.max(now))
    }

    /// Records that events were sent at `now`. `events` is their number.
    pub(super) fn went(&mut self, events: usize, now: Instant) {
        if let Some(per_second) = self.per_second {
            #[expect(clippy::cast_precision_loss, reason = "batches are small")]
            let takes = Duration::try_from_secs_f64(events as f64 / per_second).unwrap_or(Duration::MAX);
            let since = self.next.unwrap_or(now).max(now.checked_sub(MADE_UP_FOR).unwrap_or(now));
            self.next = since.checked_add(takes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sent_at_their_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(100.0));
        let mut now = start;
        for _ in 0..50 {
            now = pace.due(now);
            pace.went(10, now);
        }
        assert_eq!(now - start, Duration::from_millis(4_900));
    }

    #[test]
    fn events_are_sent_immediately_when_no_rate_is_given() {
        let now = Instant::now();
        let mut pace = Pace::new(None);
        pace.went(1_000_000, now);
        assert_eq!(pace.due(now), now);
    }

    #[test]
    fn at_most_one_second_of_a_delay_is_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0));
        pace.went(1, start);
        let late = start + Duration::from_millis(500);
        pace.went(1, late);
        assert_eq!(pace.due(late) - start, Duration::from_millis(500));
        assert_eq!(pace.next.map(|next| next - start), Some(Duration::from_millis(200)));
        let much_later = start + Duration::from_secs(60);
        pace.went(1, much_later);
        assert_eq!(pace.next.map(|next| next - start), Some(Duration::from_millis(59_100)));
    }
}
