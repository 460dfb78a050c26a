//! Counts and logs what invocations did.

use std::time::Instant;

use crate::land::Tally;
use crate::{Consume, ConsumeError, Summary};

/// An invocation's work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// The invocation lands a batch.
    Batch,
    /// The invocation compares the watermarks with Kafka.
    Comparison,
}

impl Work {
    fn succeeded(self) -> &'static str {
        match self {
            Self::Batch => "landed",
            Self::Comparison => "compared",
        }
    }

    fn failed(self) -> &'static str {
        match self {
            Self::Batch => "did not land",
            Self::Comparison => "the comparison with Kafka failed",
        }
    }
}

impl Consume {
    /// Counts and logs what was committed, and returns it if nothing failed.
    pub(crate) fn report(
        &self,
        topics: &str,
        landed: &Tally,
        begun: Instant,
        work: Work,
        result: Result<(), ConsumeError>,
    ) -> Result<Summary, ConsumeError> {
        let committed_ms = self.clock.now_ms();
        landed.count(&self.metrics, committed_ms);
        let summary = landed.summary();
        if let Err(error) = &result {
            self.count_failure(topics, begun, work, error);
            if summary == Summary::default() {
                return result.map(|()| summary);
            }
        }
        tracing::info!(
            topics,
            records = summary.records,
            written = summary.written,
            fast_path = summary.fast_path,
            replayed = summary.redelivered,
            duplicates = summary.duplicates,
            superseded = summary.superseded,
            waiting = summary.waiting,
            released = summary.released,
            rejected = summary.rejected,
            tombstones = summary.tombstones,
            incarnations = summary.incarnations,
            skipped_offsets = summary.skipped_offsets,
            skipped_rows = summary.skipped_rows,
            lag_ms = landed.lag_ms(committed_ms),
            elapsed_ms = elapsed_ms(begun),
            "{}",
            work.succeeded()
        );
        result.map(|()| summary)
    }

    /// Counts and logs a failure.
    pub(crate) fn count_failure(&self, topics: &str, begun: Instant, work: Work, error: &ConsumeError) {
        let (error_type, elapsed_ms) = (error.name(), elapsed_ms(begun));
        self.metrics.count_failed_batch(error_type);
        tracing::warn!(topics, error_type, cause = %error, elapsed_ms, "{}", work.failed());
    }
}

fn elapsed_ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
