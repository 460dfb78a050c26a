//! Kafka in, PostgreSQL out: writes batches of records exactly once.
//!
//! One batch's way: `batch` decodes the event, `check` holds its records against their contracts, `land` is the
//! one transaction in which `resume` drops what was applied, `write` writes the rest as the contract's mode says
//! and `fate` decides whose fault an error is. `lambda` is how Lambda invokes it.

// The one transaction is a future within futures, whose layout the compiler looks into.
#![recursion_limit = "256"]

mod batch;
mod candidate;
mod check;
mod fate;
pub mod lambda;
mod land;
mod once;
mod resume;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use shared::clock::Clock;
use shared::contract::Registry;
use shared::metrics::Metrics;
use shared::{database, event_id, receipt};
use sqlx::{PgConnection, PgPool};
use tokio::time::timeout_at;

use self::batch::Batch;
pub use self::batch::NotABatch;
use self::fate::Fate;
pub use self::land::Summary;
use self::land::{Checked, Landed};
pub use self::write::WriteError;

/// Why a batch did not land. Nothing of it was written; the event source mapping delivers it again.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// What invoked the function is no Kafka event source mapping.
    #[error(transparent)]
    NotABatch(#[from] NotABatch),
    /// No contract speaks of this topic.
    #[error("no contract has the topic {0}: is CONTRACTS_DIR right?")]
    UnknownTopic(String),
    /// The world is not ready: the database does not answer, a lock is held.
    #[error("the batch did not land and is to be delivered again: {0}")]
    Retry(#[source] WriteError),
    /// The operator must act: a drifted schema, a missing grant.
    #[error("the batch cannot land until this is mended: {0}")]
    Stop(#[source] WriteError),
    /// The invocation would not have ended in time.
    #[error("the batch did not land within the invocation's time and is to be delivered again")]
    Deadline,
}

impl ConsumeError {
    /// Its name, which stays as it is: alarms and dashboards know it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotABatch(_) => "Sluice.NotABatch",
            Self::UnknownTopic(_) => "Sluice.UnknownTopic",
            Self::Retry(_) => "Sluice.Retry",
            Self::Stop(_) => "Sluice.Stop",
            Self::Deadline => "Sluice.Deadline",
        }
    }
}

/// The function.
#[derive(Debug)]
pub struct Consume {
    pool: PgPool,
    registry: Arc<Registry>,
    clock: Clock,
    wait_for_parent: Duration,
    metrics: Metrics,
    expired_ms: AtomicI64,
    forgot_ms: AtomicI64,
}

/// How often what has waited too long is looked for.
const EXPIRE_EVERY_MS: i64 = 1_000;
/// How often what is remembered too long is looked for.
const FORGET_EVERY_MS: i64 = 3_600_000;

impl Consume {
    /// A function that writes to `pool` what the contracts of `registry` say; rows wait for their parents for
    /// `wait_for_parent`. What became of events is counted in `metrics`.
    pub fn new(
        pool: PgPool,
        registry: Arc<Registry>,
        clock: Clock,
        wait_for_parent: Duration,
        metrics: Metrics,
    ) -> Self {
        let [expired_ms, forgot_ms] = [AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN)];
        Self { pool, registry, clock, wait_for_parent, metrics, expired_ms, forgot_ms }
    }

    /// Writes a batch, given as the JSON of Lambda's Kafka event, within `budget`.
    ///
    /// # Errors
    /// The batch is to be delivered again; nothing of it was written.
    pub async fn invoke(&self, payload: &[u8], budget: Duration) -> Result<Summary, ConsumeError> {
        let begun = Instant::now();
        let batch = Batch::decode(payload)?;
        let checked = land::check(&self.registry, &batch).map_err(ConsumeError::UnknownTopic)?;
        let landed = self.land(&checked, begun + budget).await?;
        let committed_ms = self.clock.now_ms();
        landed.count(&self.metrics, committed_ms);
        let summary = landed.summary();
        tracing::info!(
            records = summary.records,
            written = summary.written,
            replayed = summary.replayed,
            duplicates = summary.duplicates,
            waiting = summary.waiting,
            released = summary.released,
            rejected = summary.rejected,
            tombstones = summary.tombstones,
            incarnations = summary.incarnations,
            skipped_offsets = summary.skipped_offsets,
            skipped_rows = summary.skipped_rows,
            lag_ms = landed.lag_ms(committed_ms),
            elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "landed"
        );
        Ok(summary)
    }

    async fn land(&self, checked: &Checked<'_>, deadline: Instant) -> Result<Landed, ConsumeError> {
        let deadline = deadline.into();
        let acquired = timeout_at(deadline, self.pool.acquire()).await.map_err(|_| ConsumeError::Deadline)?;
        let mut connection = acquired.map_err(|error| failed(error.into()))?;
        let landed = timeout_at(deadline, async {
            self.sweep(&mut connection).await?;
            land::land(&mut connection, &self.registry, self.clock.now_ms(), checked).await
        });
        let landed = match landed.await {
            Ok(landed) => landed.map_err(failed),
            Err(_late) => Err(ConsumeError::Deadline),
        };
        if landed.is_err() {
            // Whatever is wrong may be wrong with this connection: to a server that has become a standby, or with
            // statements prepared for a table that has changed. The next batch opens another. It ends here and now,
            // as a function may be frozen once it has answered, and its transaction must not hold up the next try.
            database::end(connection).await;
        }
        landed
    }

    /// Rejects what has waited too long for its parent and forgets ids that were remembered long enough.
    async fn sweep(&self, connection: &mut PgConnection) -> Result<(), WriteError> {
        let now_ms = self.clock.now_ms();
        if is_due(&self.expired_ms, now_ms, EXPIRE_EVERY_MS) {
            let wait_ms = i64::try_from(self.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
            receipt::reject_expired(&mut *connection, now_ms.saturating_sub(wait_ms), &self.metrics).await?;
        }
        if is_due(&self.forgot_ms, now_ms, FORGET_EVERY_MS) {
            once::forget(connection, now_ms - event_id::REMEMBERED_MS).await?;
        }
        Ok(())
    }
}

/// Whether what was last done at `last_ms` is to be done again; if so, it counts as done.
fn is_due(last_ms: &AtomicI64, now_ms: i64, every_ms: i64) -> bool {
    let last = last_ms.load(Ordering::Relaxed);
    now_ms.saturating_sub(last) >= every_ms
        && last_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

fn failed(error: WriteError) -> ConsumeError {
    match error.fate() {
        Fate::Stop => ConsumeError::Stop(error),
        // A rejection is a record's; where none was being written, only trying again can help.
        Fate::Retry | Fate::Reject(_) => ConsumeError::Retry(error),
    }
}
