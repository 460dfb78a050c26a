//! `Prefer: wait`: follows sent events until they are written, one is rejected, or time is up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shared::receipt::{self, Outcome, Status};

use crate::Ingest;
use crate::receipts::{Receipt, reject_if_expired};

/// What a batch has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// All events are written, or repeat some that are.
    Written,
    /// One at least is rejected.
    Rejected,
    /// Some are pending or wait for their parents.
    NotYet,
}

/// Follows the events of these receipts, which then tell what became of each, until `deadline`.
///
/// The events are accepted: a database that does not answer makes their fate unknown, not the request a failure.
pub(crate) async fn wait(ingest: &Ingest, topic: &str, receipts: &mut [Receipt], deadline: Instant) -> Settled {
    const SHORTEST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(160);
    for receipt in receipts.iter_mut() {
        receipt.settle(Outcome::Pending);
    }
    let deadline = tokio::time::Instant::from_std(deadline.max(Instant::now() + SHORTEST));
    let mut pause = SHORTEST;
    loop {
        match tokio::time::timeout_at(deadline, look(ingest, topic, receipts)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "what became of the events is not known");
            }
            Err(_deadline) => return settled(receipts),
        }
        let settled = settled(receipts);
        if settled != Settled::NotYet || tokio::time::Instant::now() + pause > deadline {
            return settled;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

fn settled(receipts: &[Receipt]) -> Settled {
    let is = |receipt: &Receipt, status| receipt.status() == Some(status);
    if receipts.iter().any(|receipt| is(receipt, Status::Rejected)) {
        Settled::Rejected
    } else if receipts.iter().all(|receipt| is(receipt, Status::Written) || is(receipt, Status::Duplicate)) {
        Settled::Written
    } else {
        Settled::NotYet
    }
}

/// Looks up what is not settled. A partition is applied in order: as long as its first pending event is pending, so
/// are the others, which then need no look.
async fn look(ingest: &Ingest, topic: &str, receipts: &mut [Receipt]) -> Result<(), sqlx::Error> {
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
    let mut outcomes = receipt::look_up_sent(&ingest.pool, topic, &records).await?;
    let oldest = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Waiting { .. })).min_by_key(since_ms);
    if let Some(oldest) = oldest
        && reject_if_expired(ingest, oldest).await?
    {
        outcomes = receipt::look_up_sent(&ingest.pool, topic, &records).await?;
    }
    for (at, outcome) in at.iter().zip(outcomes) {
        receipts[*at].settle(outcome);
    }
    Ok(())
}

fn since_ms(outcome: &&Outcome) -> i64 {
    match outcome {
        Outcome::Waiting { since_ms } => *since_ms,
        Outcome::Pending | Outcome::Written | Outcome::Duplicate | Outcome::Rejected(_) => i64::MAX,
    }
}
