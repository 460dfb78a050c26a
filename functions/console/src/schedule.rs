//! The work that the schedule starts every minute, whether or not there are requests.

use std::time::{Duration, Instant};

use serde::Serialize;
use shared::http::database::in_time;
use shared::ledger::{replay_run_letters, waiting};

use crate::error::Error;
use crate::{Console, runs};

/// The time limit for all of this work. Runs of replays advance step by step, and the last step may exceed the limit,
/// so the limit is well below the function's timeout of 30 s.
const LONGEST_WORK: Duration = Duration::from_secs(8);

/// The result of the scheduled work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct ScheduledWork {
    /// The number of events that were rejected because they had waited for their parents for too long.
    rejected: u64,
}

/// Rejects the events that have waited too long for their parents. (`consume` also rejects such events, but only when
/// it gets a batch.) Then advances the runs of replays.
///
/// # Errors
/// The database failed, or the broker did not acknowledge replays. The schedule's next invocation tries again.
pub(crate) async fn run(console: &Console) -> Result<ScheduledWork, Error> {
    let begun = Instant::now();
    let until = begun + LONGEST_WORK;
    let ingest = &console.ingest;
    let limit_ms = i64::try_from(ingest.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
    let before_ms = ingest.clock.now_ms().saturating_sub(limit_ms);
    let mut rejected = 0;
    loop {
        let some = in_time(waiting::reject_expired(&ingest.pool, before_ms, &ingest.metrics)).await?;
        rejected += some;
        // This loop ends after half of the time, so that the other half is left for runs of replays.
        if some < waiting::EXPIRED_AT_ONCE || begun.elapsed() > LONGEST_WORK / 2 {
            break;
        }
    }
    in_time(replay_run_letters::forget_cancelled(&ingest.pool)).await?;
    runs::advance_all(console, until).await?;
    Ok(ScheduledWork { rejected })
}
