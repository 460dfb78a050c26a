//! `Prefer: wait`: looks up the sent events repeatedly until all have landed, one is rejected or lost, or the time is
//! up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shared::http::database::{is_out_of_reach, within};
use shared::ledger::receipts::{self, Outcome, Status};
use shared::ledger::stalls;

use crate::Ingest;
use crate::event_status::reject_if_expired;
use crate::receipt::Receipt;

/// The status of a batch of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchStatus {
    /// All events have landed: each has the status `written`, `duplicate` or `superseded`.
    Written,
    /// At least one event is rejected or lost.
    Rejected,
    /// No event is rejected or lost, but some are pending or wait for their parents.
    Undecided,
}

/// How long the last lookups may take after the deadline. They find the newest statuses and the reasons for stalls.
const LAST_LOOK_UP: Duration = Duration::from_millis(250);

/// Looks up the events of these receipts again and again, until the batch is decided or `deadline` has passed. Sets the
/// statuses of the receipts.
///
/// If the database does not answer, the request does not fail: the events are accepted, and only their statuses are
/// unknown. The wait then ends early.
pub(crate) async fn wait(ingest: &Ingest, topic: &str, receipts: &mut [Receipt], deadline: Instant) -> BatchStatus {
    const SHORTEST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(160);
    for receipt in receipts.iter_mut() {
        receipt.set_status(Outcome::Pending);
    }
    let deadline = deadline.max(Instant::now());
    let last = deadline + LAST_LOOK_UP;
    let mut pause = SHORTEST;
    loop {
        let looked_up = within(left_until(last), look_up_undecided(ingest, topic, receipts)).await;
        if let Err(error) = looked_up {
            if left_until(last).is_zero() {
                return batch_status(receipts);
            }
            tracing::warn!(%error, "the events' statuses could not be looked up");
            // The wait ends here. Otherwise, every waiting request would occupy a Lambda sandbox until the deadline.
            if is_out_of_reach() {
                return batch_status(receipts);
            }
        }
        let status = batch_status(receipts);
        if status != BatchStatus::Undecided {
            return status;
        }
        if Instant::now() + pause > deadline {
            add_stalls(ingest, topic, receipts, last).await;
            return status;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Notes in each pending receipt why the event's partition is stalled.
async fn add_stalls(ingest: &Ingest, topic: &str, receipts: &mut [Receipt], deadline: Instant) {
    match within(left_until(deadline), stalls::reasons(&ingest.pool, topic)).await {
        Ok(reasons) => receipts.iter_mut().for_each(|receipt| receipt.add_stall(&reasons)),
        Err(_late) if left_until(deadline).is_zero() => {}
        Err(error) => tracing::warn!(%error, "the stalled partitions could not be looked up"),
    }
}

fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn batch_status(receipts: &[Receipt]) -> BatchStatus {
    let is = |receipt: &Receipt, status| receipt.status() == Some(status);
    if receipts.iter().any(|receipt| is(receipt, Status::Rejected) || is(receipt, Status::Lost)) {
        BatchStatus::Rejected
    } else if receipts.iter().all(has_landed) {
        BatchStatus::Written
    } else {
        BatchStatus::Undecided
    }
}

/// Returns whether the event has landed. Duplicate and superseded events count as landed, because they need no row.
fn has_landed(receipt: &Receipt) -> bool {
    match receipt.status() {
        Some(Status::Written | Status::Duplicate | Status::Superseded) => true,
        Some(Status::Pending | Status::Waiting | Status::Rejected | Status::Lost) | None => false,
    }
}

/// Looks up the undecided events. The events of a partition are applied in order, so at first, only the partition's
/// earliest pending event is looked up. The others are looked up only if that event turns out to be decided.
async fn look_up_undecided(ingest: &Ingest, topic: &str, receipts: &mut [Receipt]) -> Result<(), sqlx::Error> {
    let mut first_pending: BTreeMap<i32, usize> = BTreeMap::new();
    let mut sought = Vec::new();
    for (at, receipt) in receipts.iter().enumerate() {
        let (partition, offset, _) = receipt.sent();
        if receipt.status() == Some(Status::Pending) {
            let first = first_pending.entry(partition).or_insert(at);
            if offset < receipts[*first].sent().1 {
                *first = at;
            }
        } else if receipt.status() == Some(Status::Waiting) {
            sought.push(at);
        }
    }
    sought.extend(first_pending.values());
    look_up(ingest, topic, receipts, &sought).await?;

    let is_behind = |receipt: &Receipt| {
        let first = first_pending.get(&receipt.sent().0);
        first.is_some_and(|first| receipts[*first].status() != Some(Status::Pending))
    };
    let is_pending = |receipt: &Receipt| receipt.status() == Some(Status::Pending);
    let behind: Vec<usize> =
        (0..receipts.len()).filter(|at| is_pending(&receipts[*at]) && is_behind(&receipts[*at])).collect();
    look_up(ingest, topic, receipts, &behind).await
}

async fn look_up(ingest: &Ingest, topic: &str, receipts: &mut [Receipt], at: &[usize]) -> Result<(), sqlx::Error> {
    if at.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = at.iter().map(|at| receipts[*at].sent()).collect();
    let mut outcomes = receipts::look_up_sent(&ingest.pool, Some(&ingest.reader), topic, &records).await?;
    let oldest = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Waiting { .. })).min_by_key(since_ms);
    if let Some(oldest) = oldest
        && reject_if_expired(ingest, oldest).await?
    {
        outcomes = receipts::look_up_sent(&ingest.pool, Some(&ingest.reader), topic, &records).await?;
    }
    for (at, outcome) in at.iter().zip(outcomes) {
        receipts[*at].set_status(outcome);
    }
    Ok(())
}

fn since_ms(outcome: &&Outcome) -> i64 {
    match outcome {
        Outcome::Waiting { since_ms } => *since_ms,
        Outcome::Pending
        | Outcome::Written
        | Outcome::Duplicate
        | Outcome::Superseded
        | Outcome::Rejected(_)
        | Outcome::Replayed { .. }
        | Outcome::Lost { .. } => i64::MAX,
    }
}
