//! Kafka in, PostgreSQL out: writes batches of records exactly once.
//!
//! One batch's way: `batch` decodes the event, `check` holds its records against their contracts, `land` is the
//! one transaction in which `resume` drops what was applied, `write` writes the rest as the contract's mode says
//! and `fate` decides whose fault an error is.

mod batch;
mod candidate;
mod check;
mod fate;
mod land;
mod once;
mod resume;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shared::clock::Clock;
use shared::contract::Registry;
use shared::{event_id, receipt};
use sqlx::PgPool;

use self::batch::Batch;
pub use self::batch::NotABatch;
use self::fate::Fate;
pub use self::land::Summary;
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
}

/// The function.
#[derive(Debug)]
pub struct Consume {
    pool: PgPool,
    registry: Arc<Registry>,
    clock: Clock,
    wait_for_parent: Duration,
    expired_ms: AtomicI64,
    forgot_ms: AtomicI64,
}

/// How often what has waited too long is looked for.
const EXPIRE_EVERY_MS: i64 = 1_000;
/// How often what is remembered too long is looked for.
const FORGET_EVERY_MS: i64 = 3_600_000;

impl Consume {
    /// A function that writes to `pool` what the contracts of `registry` say; rows wait for their parents for
    /// `wait_for_parent`.
    pub fn new(pool: PgPool, registry: Arc<Registry>, clock: Clock, wait_for_parent: Duration) -> Self {
        let [expired_ms, forgot_ms] = [AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN)];
        Self { pool, registry, clock, wait_for_parent, expired_ms, forgot_ms }
    }

    /// Writes a batch, given as the JSON of Lambda's Kafka event.
    ///
    /// # Errors
    /// The batch is to be delivered again; nothing of it was written.
    pub async fn invoke(&self, payload: &[u8]) -> Result<Summary, ConsumeError> {
        let batch = Batch::decode(payload)?;
        let checked = land::check(&self.registry, &batch).map_err(ConsumeError::UnknownTopic)?;
        self.sweep().await.map_err(failed)?;
        let landed = land::land(&self.pool, &self.registry, self.clock.now_ms(), &checked).await;
        let summary = landed.map_err(failed)?;
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
            "landed"
        );
        Ok(summary)
    }

    /// Rejects what has waited too long for its parent and forgets ids that were remembered long enough.
    async fn sweep(&self) -> Result<(), WriteError> {
        let now_ms = self.clock.now_ms();
        let expires = is_due(&self.expired_ms, now_ms, EXPIRE_EVERY_MS);
        let forgets = is_due(&self.forgot_ms, now_ms, FORGET_EVERY_MS);
        if !expires && !forgets {
            return Ok(());
        }
        let wait_ms = i64::try_from(self.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
        let mut connection = self.pool.acquire().await?;
        let swept = async {
            if expires {
                receipt::reject_expired(&mut *connection, now_ms.saturating_sub(wait_ms)).await?;
            }
            if forgets {
                once::forget(&mut connection, now_ms - event_id::REMEMBERED_MS).await?;
            }
            Ok(())
        };
        let swept: Result<(), sqlx::Error> = swept.await;
        if swept.is_err() {
            // It may lead to a server that has become a standby.
            connection.close_on_drop();
        }
        Ok(swept?)
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
