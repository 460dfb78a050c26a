//! The landing: one transaction per batch. Watermarks are locked, what was applied is dropped, the rest is written or
//! dead-lettered, watermarks are advanced; then it is committed, all or nothing.

mod locks;
mod partitions;
mod settle;
mod summary;

use shared::contract::{Contract, Registry};
use shared::dead_letter::Rejection;
use shared::watermark;
use sqlx::{Connection as _, PgConnection};

use self::partitions::Partition;
use crate::batch::Batch;
use crate::candidate::Candidate;
use crate::check::{Event, Rows};
use crate::fate::Fate;
use crate::resume::{applied_after, resume};
use crate::write::entity::waiting;
use crate::write::{Attempt, Context, WriteError};

/// The batch's records with what their contracts say of them, by partition.
#[derive(Debug)]
pub(crate) struct Checked<'b> {
    pub(crate) batch: &'b Batch,
    pub(crate) rows: Rows,
    pub(crate) partitions: Vec<Partition<'b>>,
}

pub(crate) use partitions::check;
pub(crate) use summary::Landed;
pub use summary::Summary;

/// Lands a batch.
///
/// # Errors
/// The world's or the operator's fault: nothing of the batch was written, it is to be delivered again.
pub(crate) async fn land(
    connection: &mut PgConnection,
    registry: &Registry,
    now_ms: i64,
    checked: &Checked<'_>,
) -> Result<Landed, WriteError> {
    let whole = Context { registry, now_ms, attempt: Attempt::Whole };
    match transaction(connection, &whole, checked).await {
        Err(error) if matches!(error.fate(), Fate::Reject(_)) => {
            let isolating = Context { attempt: Attempt::Isolating, ..whole };
            transaction(connection, &isolating, checked).await
        }
        landed => landed,
    }
}

async fn transaction(
    connection: &mut PgConnection,
    context: &Context<'_>,
    checked: &Checked<'_>,
) -> Result<Landed, WriteError> {
    let mut transaction = connection.begin().await?;
    let keys: Vec<(String, i32)> = checked.partitions.iter().map(|p| (p.topic.to_owned(), p.partition)).collect();
    let mut watermarks = watermark::lock(&mut transaction, &keys).await?;
    let mut landed = Landed::default();

    let mut fresh = Vec::with_capacity(checked.partitions.len());
    for (partition, watermark) in checked.partitions.iter().zip(&mut watermarks) {
        let resume = resume(watermark.applied.as_ref(), &partition.traces);
        let stream = &partition.contract.stream;
        let summary = landed.of(stream);
        summary.records += partition.records.len();
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
        if let Some(oldest_ms) = partition.traces[resume.from..].iter().map(|trace| trace.timestamp_ms).min() {
            landed.note_time(stream, oldest_ms);
        }
        watermark.applied = applied_after(watermark.applied.as_ref(), resume, &partition.traces);
        fresh.push((partition, resume.from, watermark.incarnation));
    }
    let Summary { replayed, records, .. } = landed.summary();
    if replayed == records {
        transaction.rollback().await?;
        return Ok(landed);
    }
    // Parents before children: those that come in one batch need not wait.
    fresh.sort_by_key(|(partition, _, _)| {
        (context.registry.generation(&partition.contract), partition.contract.stream.clone())
    });
    locks::lock(&mut transaction, context.registry, &fresh).await?;
    for group in fresh.chunk_by(|(a, _, _), (b, _, _)| a.contract.stream == b.contract.stream) {
        let contract = &group[0].0.contract;
        let summary = landed.of(&contract.stream);
        let (candidates, violations) = sort_out(checked, group, summary);
        settle::bury(&mut transaction, &violations).await?;
        summary.rejected += violations.len();
        let settled = settle::settle(&mut transaction, context, contract, &candidates).await?;
        let created = settled.add_to(summary);
        release(&mut transaction, context, contract, created, &mut landed).await?;
    }
    watermark::advance(&mut transaction, &watermarks).await?;
    transaction.commit().await?;
    Ok(landed)
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
    landed: &mut Landed,
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
            let summary = landed.of(&child.stream);
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
