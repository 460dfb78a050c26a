//! Lands a batch in one transaction. The transaction locks the watermarks, drops records that were applied before,
//! writes or dead-letters the rest, advances the watermarks and commits. If a row is at fault, the whole transaction is
//! rolled back and repeated with a stricter search for bad rows.
//!
//! If nothing about a batch is unusual, a single statement lands it instead (`fast_path`).

mod apply;
mod deferred;
mod fast_path;
mod locate;
mod locks;
mod partitions;
pub(crate) mod plan;
mod release;
mod settle;
mod summary;

use std::collections::HashMap;
use std::sync::Arc;

use shared::contract::{Contract, Registry};
use shared::drift::{self, Difference};
use shared::ledger::Destination;
use shared::ledger::activity::Activity;
use shared::ledger::records::LogPosition;
use shared::ledger::watermarks;
use sqlx::{Connection as _, PgConnection};

pub(crate) use self::fast_path::Pauses;
pub(crate) use self::partitions::{CheckedBatch, Partition};
pub(crate) use self::plan::{Hold, Reason};
use self::plan::{Planned, Plans};
use self::settle::{RejectedRecord, StreamRecords};
use crate::candidate::Candidate;
use crate::trust::Trust;
use crate::verdict::Verdict;
use crate::write::{Attempt, Context, WriteError};

pub(crate) use partitions::{check, check_log};
pub use summary::Summary;
pub(crate) use summary::Tally;

const POSTGRESQL: Destination = Destination::Postgresql;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The batch has landed, in this attempt or earlier.
    Landed(Tally),
    /// Nothing was written, because Kafka has to be asked about these partitions first.
    Held(Vec<Hold>),
}

/// How strictly a transaction looks for bad rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// All rows are written at once. A bad row makes the transaction fail.
    Whole,
    /// Rows that make a statement fail are isolated.
    Isolated,
    /// Deferred constraints are checked before COMMIT, so that rows that violate them are isolated as well.
    Checked,
}

/// Lands a batch.
///
/// # Errors
/// An environment or operator fault. Nothing of the batch was written, and the batch must be delivered again.
pub(crate) async fn land(
    connection: &mut PgConnection,
    registry: &Registry,
    trust: &Trust,
    pauses: &Pauses,
    now_ms: i64,
    checked: &CheckedBatch<'_>,
) -> Result<Ending, WriteError> {
    if let Some(landed) = fast_path::land(connection, trust, pauses, checked).await? {
        return Ok(Ending::Landed(landed));
    }
    let mut strictness = Strictness::Whole;
    loop {
        match transaction(connection, registry, trust, now_ms, checked, strictness).await {
            Ok(landing) => return Ok(landing),
            Err(error) => {
                let stricter = stricter(strictness, &error).ok_or(error)?;
                if strictness == Strictness::Whole
                    && let Some(difference) = takes_no_row(connection, checked).await?
                {
                    return Err(WriteError::Drift(Box::new(difference)));
                }
                strictness = stricter;
            }
        }
    }
}

/// Returns a difference between a table and its contract that keeps every row out of the table. Returns `None` if there
/// is no such difference. PostgreSQL may blame a single row for such a difference, for example if a column must not be
/// null but nothing fills it. No row is at fault, however.
async fn takes_no_row(
    connection: &mut PgConnection,
    checked: &CheckedBatch<'_>,
) -> Result<Option<Difference>, WriteError> {
    let mut contracts: Vec<Arc<Contract>> =
        checked.partitions.iter().map(|partition| Arc::clone(&partition.contract)).collect();
    contracts.dedup_by(|a, b| a.stream == b.stream);
    let differences = drift::compare(connection, &contracts).await?;
    Ok(differences.into_iter().find(|difference| difference.keeps_all_out))
}

/// Returns the strictness with which a batch can land despite this error, or `None` if no strictness helps.
fn stricter(strictness: Strictness, error: &WriteError) -> Option<Strictness> {
    match strictness {
        Strictness::Whole | Strictness::Isolated if error.needs_checks() => Some(Strictness::Checked),
        Strictness::Whole if matches!(error.verdict(), Verdict::Reject(_)) => Some(Strictness::Isolated),
        Strictness::Whole | Strictness::Isolated | Strictness::Checked => None,
    }
}

async fn transaction(
    connection: &mut PgConnection,
    registry: &Registry,
    trust: &Trust,
    now_ms: i64,
    checked: &CheckedBatch<'_>,
    strictness: Strictness,
) -> Result<Ending, WriteError> {
    let mut transaction = connection.begin().await?;
    let keys = checked.keys();
    let locked = watermarks::lock(&mut transaction, POSTGRESQL, &keys).await?;
    let mut planned = match plan::plan(&mut transaction, POSTGRESQL, trust, checked, &locked).await? {
        Plans::Ready(planned) => planned,
        Plans::Held(holds) => {
            transaction.rollback().await?;
            return Ok(Ending::Held(holds));
        }
    };
    let mut landed = Tally::default();
    for one in &planned {
        one.note(&mut landed);
    }
    if planned.iter().all(Planned::changes_nothing) {
        transaction.rollback().await?;
        return Ok(Ending::Landed(landed));
    }
    plan::note_gaps(&mut transaction, POSTGRESQL, &planned.iter().collect::<Vec<_>>()).await?;
    // Parents come before children, so that children in the same batch do not have to wait.
    planned.sort_by_key(|one| {
        let contract = &one.partition.contract;
        (registry.generation(contract), contract.stream.clone())
    });
    locks::lock(&mut transaction, registry, &planned).await?;
    let mut streams = Vec::new();
    for group in planned.chunk_by(|a, b| a.partition.contract.stream == b.partition.contract.stream) {
        let contract = &*group[0].partition.contract;
        let (candidates, rejected) = split(checked, group, &mut landed);
        settle::reject(&mut transaction, now_ms, contract, &rejected).await?.add_to(&mut landed, contract);
        streams.push(StreamRecords { contract, candidates });
    }
    let mut landed = match strictness {
        Strictness::Whole => apply_once(&mut transaction, registry, now_ms, Attempt::Whole, &streams, landed).await?,
        Strictness::Isolated => {
            apply_once(&mut transaction, registry, now_ms, Attempt::Isolated, &streams, landed).await?
        }
        Strictness::Checked => deferred::apply(&mut transaction, registry, now_ms, &streams, landed).await?,
    };
    planned.iter().for_each(|one| one.note_log(&mut landed.activity));
    let (after, activity) = (planned.iter().map(|one| &one.plan.after), std::mem::take(&mut landed.activity));
    watermarks::advance(&mut transaction, POSTGRESQL, after, &locked.over, activity).await?;
    transaction.commit().await.map_err(WriteError::Commit)?;
    landed.letters.log();
    for one in &planned {
        one.trust(trust, locked.server_started_us);
    }
    Ok(Ending::Landed(landed))
}

async fn apply_once(
    connection: &mut PgConnection,
    registry: &Registry,
    now_ms: i64,
    attempt: Attempt<'_>,
    streams: &[StreamRecords<'_>],
    landed: Tally,
) -> Result<Tally, WriteError> {
    let context = Context { registry, now_ms, attempt, excluded: &HashMap::new() };
    Ok(apply::apply(connection, &context, streams, landed).await?.landed)
}

/// Splits the new records of one stream into valid records and records that violate the contract. Counts tombstones.
fn split<'c>(
    checked: &'c CheckedBatch<'_>,
    group: &[Planned<'c, '_>],
    landed: &mut Tally,
) -> (Vec<Candidate<'c>>, Vec<RejectedRecord<'c>>) {
    let mut candidates = Vec::new();
    let mut rejected = Vec::new();
    let mut tombstones = Activity::default();
    for (partition, range, incarnation) in group.iter().flat_map(Planned::fresh) {
        for (record, event) in partition.records[range.clone()].iter().zip(&partition.events[range]) {
            match (checked.batch.kept(record, incarnation), event) {
                (Some(record), Some(Ok(event))) => candidates.push(Candidate::new(record, event, &checked.rows)),
                (Some(record), Some(Err(rejection))) => rejected.push((record, rejection)),
                (None, _) | (_, None) => {
                    let (topic, partition, offset) = record.place();
                    let position = LogPosition { topic, partition, offset, incarnation };
                    tombstones.counts(position).tombstones += 1;
                }
            }
        }
    }
    landed.count_records(&group[0].partition.contract.stream, &tombstones);
    (candidates, rejected)
}
