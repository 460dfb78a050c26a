//! Decides when an unreachable broker is worth a log line.

use std::time::{Duration, Instant};

/// The shortest outage that is logged. librdkafka reports an error at every attempt to connect. A broker that only
/// restarts is back before this time is over.
const WORTH_SAYING: Duration = Duration::from_secs(3);
/// The interval between log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// The time without an error after which an outage is over.
const OVER: Duration = Duration::from_secs(10);

/// A series of errors from one outage.
#[derive(Debug, Default)]
pub(super) struct Outage {
    began: Option<Instant>,
    last: Option<Instant>,
    said: Option<Instant>,
}

impl Outage {
    /// Records an error, and returns whether to log it.
    pub(super) fn is_worth_saying(&mut self, now: Instant) -> bool {
        let is_over = self.last.is_none_or(|last| now.duration_since(last) > OVER);
        if is_over {
            self.began = Some(now);
        }
        self.last = Some(now);
        let has_lasted = self.began.is_some_and(|began| now.duration_since(began) >= WORTH_SAYING);
        let was_said = self.said.is_some_and(|said| now.duration_since(said) < LOG_INTERVAL);
        if has_lasted && !was_said {
            self.said = Some(now);
        }
        has_lasted && !was_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_after_three_seconds_and_then_every_half_minute() {
        let begun = Instant::now();
        let mut outage = Outage::default();
        let mut said_at = |seconds: &[u64]| -> Vec<u64> {
            let is_said = |second: &&u64| outage.is_worth_saying(begun + Duration::from_secs(**second));
            seconds.iter().filter(is_said).copied().collect()
        };
        // The first outage is too short to be logged. After a quiet period, the second outage begins at second 20.
        assert_eq!(said_at(&[0, 1, 2]), [0; 0]);
        assert_eq!(said_at(&[20, 22]), [0; 0]);
        assert_eq!(said_at(&[23, 24, 33, 43, 52, 53, 54, 63]), [23, 53]);
    }
}
