//! Computes the delay before a failed batch is delivered again.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// A delay that doubles with every failure, up to a limit. Each delay is randomised between half of this value and all
/// of it, so that partitions that failed together do not retry together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the delay after one more failure.
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
    fn the_delay_doubles_up_to_its_bound_and_varies_within_its_upper_half() {
        let mut backoff = Backoff::default();
        for most_ms in [200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let wait_ms = backoff.next().as_millis();
            assert!((most_ms / 2..=most_ms).contains(&wait_ms), "{wait_ms} of {most_ms}");
        }
    }
}
