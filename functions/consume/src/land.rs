//! The landing: one transaction per batch. Watermarks are locked, what was applied is dropped, the rest is written or
//! dead-lettered, watermarks are advanced; then it is committed, all or nothing.

mod locks;
mod partitions;
mod settle;

use serde::Serialize;
use shared::contract::{Contract, Registry};
use shared::dead_letter::Rejection;
use shared::watermark;
use sqlx::{Connection as _, PgConnection, PgPool};

use self::partitions::Partition;
use crate::batch::Batch;
use crate::candidate::Candidate;
use crate::check::{Event, Rows};
use crate::fate::Fate;
use crate::resume::{applied_after, resume};
use crate::write::entity::waiting;
use crate::write::{Attempt, Context, WriteError};

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Records that the batch had.
    pub records: usize,
    /// Records that had been applied before.
    pub replayed: usize,
    /// Events that were written, those that had been waiting included.
    pub written: usize,
    /// Events that repeated one that had landed.
    pub duplicates: usize,
    /// Events that wait for their parent.
    pub waiting: usize,
    /// Events that had been waiting and whose parent came.
    pub released: usize,
    /// Events that became dead letters.
    pub rejected: usize,
    /// Records without a value.
    pub tombstones: usize,
    /// Partitions whose offsets have started anew.
    pub incarnations: usize,
    /// Offsets that never came although later ones did.
    pub skipped_offsets: i64,
    /// Changes of rows that were not there.
    pub skipped_rows: u64,
}

/// The batch's records with what their contracts say of them, by partition.
#[derive(Debug)]
pub(crate) struct Checked<'b> {
    pub(crate) batch: &'b Batch,
    pub(crate) rows: Rows,
    pub(crate) partitions: Vec<Partition<'b>>,
}

pub(crate) use partitions::check;

/// Lands a batch.
///
/// # Errors
/// The world's or the operator's fault: nothing of the batch was written, it is to be delivered again.
pub(crate) async fn land(
    pool: &PgPool,
    registry: &Registry,
    now_ms: i64,
    checked: &Checked<'_>,
) -> Result<Summary, WriteError> {
    let mut connection = pool.acquire().await?;
    let whole = Context { registry, now_ms, attempt: Attempt::Whole };
    let mut landed = transaction(&mut connection, &whole, checked).await;
    if matches!(&landed, Err(error) if matches!(error.fate(), Fate::Reject(_))) {
        let isolating = Context { attempt: Attempt::Isolating, ..whole };
        landed = transaction(&mut connection, &isolating, checked).await;
    }
    if landed.is_err() {
        // Whatever is wrong may be wrong with this connection: to a server that has become a standby, or with
        // statements prepared for a table that has changed. The next batch opens another.
        connection.close_on_drop();
    }
    landed
}

async fn transaction(
    connection: &mut PgConnection,
    context: &Context<'_>,
    checked: &Checked<'_>,
) -> Result<Summary, WriteError> {
    let mut transaction = connection.begin().await?;
    let keys: Vec<(String, i32)> = checked.partitions.iter().map(|p| (p.topic.to_owned(), p.partition)).collect();
    let mut watermarks = watermark::lock(&mut transaction, &keys).await?;
    let mut summary = Summary { records: checked.batch.records.len(), ..Summary::default() };

    let mut fresh = Vec::with_capacity(checked.partitions.len());
    for (partition, watermark) in checked.partitions.iter().zip(&mut watermarks) {
        let resume = resume(watermark.applied.as_ref(), &partition.traces);
        if resume.new_incarnation {
            watermark.incarnation += 1;
            summary.incarnations += 1;
            tracing::warn!(
                topic = partition.topic,
                partition = partition.partition,
                incarnation = watermark.incarnation,
                "offsets have started anew: the topic was created anew or its log truncated"
            );
        }
        if resume.skipped_offsets > 0 {
            tracing::warn!(
                topic = partition.topic,
                partition = partition.partition,
                skipped_offsets = resume.skipped_offsets,
                "offsets never came: removed by retention before they were read, or skipped by compaction or transactions"
            );
        }
        watermark.skipped_offsets += resume.skipped_offsets;
        summary.skipped_offsets += resume.skipped_offsets;
        summary.replayed += resume.from;
        watermark.applied = applied_after(watermark.applied.as_ref(), resume, &partition.traces);
        fresh.push((partition, resume.from, watermark.incarnation));
    }
    if summary.replayed == summary.records {
        transaction.rollback().await?;
        return Ok(summary);
    }
    // Parents before children: those that come in one batch need not wait.
    fresh.sort_by_key(|(partition, _, _)| {
        (context.registry.generation(&partition.contract), partition.contract.stream.clone())
    });
    locks::lock(&mut transaction, context.registry, &fresh).await?;
    for group in fresh.chunk_by(|(a, _, _), (b, _, _)| a.contract.stream == b.contract.stream) {
        let contract = &group[0].0.contract;
        let (candidates, violations) = sort_out(checked, group, &mut summary);
        settle::bury(&mut transaction, &violations).await?;
        summary.rejected += violations.len();
        let settled = settle::settle(&mut transaction, context, contract, &candidates).await?;
        let created = settled.add_to(&mut summary);
        release(&mut transaction, context, contract, created, &mut summary).await?;
    }
    watermark::advance(&mut transaction, &watermarks).await?;
    transaction.commit().await?;
    Ok(summary)
}

/// A rejected record and why.
type Violation<'c> = (Candidate<'c>, &'c Rejection);

/// The new records of one stream: those to be written and those that break the contract.
fn sort_out<'c>(
    checked: &'c Checked<'_>,
    group: &[(&'c Partition<'_>, usize, i32)],
    summary: &mut Summary,
) -> (Vec<Candidate<'c>>, Vec<Violation<'c>>) {
    let mut candidates = Vec::new();
    let mut violations = Vec::new();
    for &(partition, from, incarnation) in group {
        for (record, event) in partition.records.iter().zip(&partition.events).skip(from) {
            let Some(payload) = checked.batch.value(record) else {
                summary.tombstones += 1;
                continue;
            };
            let candidate = Candidate::new(checked.batch, record, payload, incarnation);
            match event {
                Some(Ok(event)) => candidates.push(candidate.with(event, &checked.rows)),
                Some(Err(rejection)) => violations.push((candidate, rejection)),
                None => {}
            }
        }
    }
    (candidates, violations)
}

/// Lands what was waiting for these entities, and what was waiting for that in turn.
async fn release(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    created: Vec<String>,
    summary: &mut Summary,
) -> Result<(), WriteError> {
    let mut parents = vec![(contract.stream.clone(), created)];
    while let Some((stream, keys)) = parents.pop() {
        if keys.is_empty() {
            continue;
        }
        for (child, _) in context.registry.children(&stream) {
            let released = waiting::release(connection, &child.stream, &keys).await?;
            if released.is_empty() {
                continue;
            }
            summary.released += released.len();
            let created = land_released(connection, context, child, &released, summary).await?;
            parents.push((child.stream.clone(), created));
        }
    }
    Ok(())
}

async fn land_released(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    released: &[waiting::Released],
    summary: &mut Summary,
) -> Result<Vec<String>, WriteError> {
    let mut rows = Rows::default();
    let events: Vec<Result<Event, Rejection>> =
        released.iter().map(|waiter| rows.check(contract, &waiter.payload, |name| waiter.header(name))).collect();
    let mut candidates = Vec::with_capacity(released.len());
    let mut violations = Vec::new();
    for (waiter, event) in released.iter().zip(&events) {
        let candidate = Candidate::released(waiter);
        match event {
            Ok(event) => candidates.push(candidate.with(event, &rows)),
            Err(rejection) => violations.push((candidate, rejection)),
        }
    }
    settle::bury(connection, &violations).await?;
    summary.rejected += violations.len();
    let settled = settle::settle_claimed(connection, context, contract, &candidates).await?;
    Ok(settled.add_to(summary))
}
