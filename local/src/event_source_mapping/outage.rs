//! When a broker that is not to be reached is worth a line in the log.

use std::time::{Duration, Instant};

/// A broker that restarts is back sooner, and librdkafka says so with every try.
const WORTH_SAYING: Duration = Duration::from_secs(3);
/// How long it is said once.
const SAID_FOR: Duration = Duration::from_secs(30);
/// Without an error for this long, the last outage is over.
const OVER: Duration = Duration::from_secs(10);

/// A row of errors.
#[derive(Debug, Default)]
pub(super) struct Outage {
    began: Option<Instant>,
    last: Option<Instant>,
    said: Option<Instant>,
}

impl Outage {
    /// Takes an error into account, and answers whether to say it.
    pub(super) fn is_worth_saying(&mut self, now: Instant) -> bool {
        let is_over = self.last.is_none_or(|last| now.duration_since(last) > OVER);
        if is_over {
            self.began = Some(now);
        }
        self.last = Some(now);
        let has_lasted = self.began.is_some_and(|began| now.duration_since(began) >= WORTH_SAYING);
        let was_said = self.said.is_some_and(|said| now.duration_since(said) < SAID_FOR);
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
    fn an_outage_is_said_once_it_lasts_and_then_every_half_minute() {
        let begun = Instant::now();
        let mut outage = Outage::default();
        let mut said_at = |seconds: &[u64]| -> Vec<u64> {
            let is_said = |second: &&u64| outage.is_worth_saying(begun + Duration::from_secs(**second));
            seconds.iter().filter(is_said).copied().collect()
        };
        // A short one, and nothing for a while.
        assert_eq!(said_at(&[0, 1, 2]), [0; 0]);
        assert_eq!(said_at(&[20, 22]), [0; 0]);
        assert_eq!(said_at(&[23, 24, 33, 43, 52, 53, 54, 63]), [23, 53]);
    }
}
