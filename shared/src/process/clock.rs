//! The functions' clock, which tests can set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of the current time. Clones share their setting.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// Creates a clock that reads the machine's time.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Creates a clock that shows `unix_ms` until [`Clock::advance`] moves it.
    pub fn fixed(unix_ms: i64) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(unix_ms))))
    }

    /// Returns the time in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => unix_ms(SystemTime::now()),
            Source::Fixed(ms) => ms.load(Ordering::SeqCst),
        }
    }

    /// Moves a fixed clock forward. A negative number moves it back. Has no effect on a clock that reads the machine's
    /// time.
    pub fn advance(&self, by_ms: i64) {
        match &self.0 {
            Source::System => {}
            Source::Fixed(ms) => {
                ms.fetch_add(by_ms, Ordering::SeqCst);
            }
        }
    }
}

/// Converts to milliseconds since the Unix epoch; earlier times become 0.
pub fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
