//! Computes the delay before a failed batch is delivered again.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Computes random delays. The longest possible delay doubles with every failure, up to a limit, and the shortest is
/// half of the longest. The randomness prevents partitions that failed together from retrying together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes one more failure, and returns the delay after it.
    pub(super) fn next(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        most.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delay_is_50_to_100_percent_of_a_maximum_that_doubles_up_to_5_seconds() {
        let mut backoff = Backoff::default();
        for most_ms in [200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let wait_ms = backoff.next().as_millis();
            assert!((most_ms / 2..=most_ms).contains(&wait_ms), "{wait_ms} of {most_ms}");
        }
    }
}
