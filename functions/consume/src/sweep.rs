//! Rejects events that waited too long for their parent, and deletes expired rows. This runs before a batch, but not
//! before every batch: each kind of work has an interval.

use std::sync::atomic::{AtomicI64, Ordering};

use shared::database::error_class::{describe, ended_connection};
use shared::ledger::{
    activity, bigquery_duplicates, bigquery_event_ids, deleted_versions, duplicates, event_ids, stalls, superseded,
    waiting,
};
use shared::metrics::Metrics;
use sqlx::PgConnection;

/// The interval between searches for expired waiting events.
const EXPIRE_EVERY_MS: i64 = 1_000;
/// The interval between deletions of expired rows.
const FORGET_EVERY_MS: i64 = 3_600_000;
/// The time after which a failed deletion of expired rows is tried again.
const FORGET_AGAIN_AFTER_MS: i64 = 600_000;

/// When each kind of work last began.
#[derive(Debug)]
pub(crate) struct Sweeps {
    expired_ms: AtomicI64,
    forgot_ms: AtomicI64,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { expired_ms: AtomicI64::new(i64::MIN), forgot_ms: AtomicI64::new(i64::MIN) }
    }
}

impl Sweeps {
    /// Does the work that is due. Events that have waited for longer than `longest_wait_ms` are rejected.
    pub(crate) async fn run(
        &self,
        connection: &mut PgConnection,
        now_ms: i64,
        longest_wait_ms: i64,
        metrics: &Metrics,
    ) -> Result<(), sqlx::Error> {
        if is_due(&self.expired_ms, now_ms, EXPIRE_EVERY_MS) {
            waiting::reject_expired(&mut *connection, now_ms.saturating_sub(longest_wait_ms), metrics).await?;
        }
        if is_due(&self.forgot_ms, now_ms, FORGET_EVERY_MS) {
            match forget(connection, now_ms - event_ids::REMEMBERED_MS).await {
                Ok(()) => {}
                Err(error) if ended_connection(&error) => return Err(error),
                // Expired rows do no harm, so this error does not fail the batch.
                Err(error) => {
                    tracing::warn!(error = %describe(&error), "cannot delete expired rows");
                    self.forgot_ms.store(now_ms - FORGET_EVERY_MS + FORGET_AGAIN_AFTER_MS, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }
}

/// Deletes expired rows. Ids, duplicates, superseded events and versions expire if they are older than `before_ms`.
async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    duplicates::forget(&mut *connection, before_ms).await?;
    event_ids::forget(&mut *connection, before_ms).await?;
    bigquery_duplicates::forget(&mut *connection, before_ms).await?;
    bigquery_event_ids::forget(&mut *connection, before_ms).await?;
    superseded::forget(&mut *connection, before_ms).await?;
    deleted_versions::forget(&mut *connection, before_ms).await?;
    activity::forget(&mut *connection).await?;
    stalls::forget(connection).await
}

/// Returns whether a task is due again. `last_ms` is the time when the task last began. If the task is due, it is
/// marked as begun now.
fn is_due(last_ms: &AtomicI64, now_ms: i64, every_ms: i64) -> bool {
    let last = last_ms.load(Ordering::Relaxed);
    now_ms.saturating_sub(last) >= every_ms
        && last_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
