//! What becomes of a stream's new records: written, a duplicate, waiting, or a dead letter.

use std::collections::HashMap;

use shared::contract::Contract;
use shared::dead_letter::{self, Rejection};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Summary, Violation};
use crate::candidate::Candidate;
use crate::check::EventId;
use crate::once::{self, Claim};
use crate::write::{Context, Exceptions, WriteError, isolate};

/// How many records went which way.
#[derive(Debug, Default)]
pub(super) struct Settled {
    written: usize,
    duplicates: usize,
    waiting: usize,
    rejected: usize,
    skipped_rows: u64,
    created: Vec<String>,
}

impl Settled {
    /// Adds it to a batch's summary; answers the keys of entities that were created.
    pub(super) fn add_to(self, summary: &mut Summary) -> Vec<String> {
        summary.written += self.written;
        summary.duplicates += self.duplicates;
        summary.waiting += self.waiting;
        summary.rejected += self.rejected;
        summary.skipped_rows += self.skipped_rows;
        self.created
    }
}

/// Makes dead letters of records that break their contract.
pub(super) async fn bury(connection: &mut PgConnection, violations: &[Violation<'_>]) -> Result<(), sqlx::Error> {
    let headers: Vec<_> = violations.iter().map(|(candidate, _)| candidate.headers_json()).collect();
    let letters: Vec<_> = violations
        .iter()
        .zip(&headers)
        .map(|((candidate, rejection), headers)| candidate.dead_letter(headers, rejection))
        .collect();
    dead_letter::insert(connection, &letters).await
}

/// Settles a stream's new records.
pub(super) async fn settle(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    candidates: &[Candidate<'_>],
) -> Result<Settled, WriteError> {
    let ids: Vec<(usize, EventId)> =
        candidates.iter().enumerate().filter_map(|(index, candidate)| Some((index, candidate.id?))).collect();
    if ids.is_empty() {
        let exceptions = isolate(connection, context, contract, candidates).await?;
        return write_off(connection, candidates, exceptions, context.now_ms).await;
    }

    let claimed: Vec<EventId> = ids.iter().map(|(_, id)| *id).collect();
    let claims = once::claim(connection, &contract.stream, &claimed, context.now_ms).await?;
    let claims: HashMap<usize, Claim> = ids.iter().map(|(index, _)| *index).zip(claims).collect();
    let new: Vec<usize> =
        (0..candidates.len()).filter(|index| claims.get(index).is_none_or(|claim| *claim == Claim::First)).collect();
    let slice: Vec<Candidate<'_>> = new.iter().map(|&index| candidates[index]).collect();
    let mut exceptions = isolate(connection, context, contract, &slice).await?;

    exceptions.rejected.iter_mut().for_each(|(index, _)| *index = new[*index]);
    exceptions.duplicates.iter_mut().for_each(|index| *index = new[*index]);
    let rejected: HashMap<usize, Rejection> = exceptions.rejected.iter().cloned().collect();
    for (&index, &claim) in &claims {
        match claim {
            Claim::First => {}
            // What repeats an event of this batch that was rejected has its fate.
            Claim::Repeat(Some(first)) => match rejected.get(&ids[first].0) {
                Some(rejection) => exceptions.rejected.push((index, rejection.clone())),
                None => exceptions.duplicates.push(index),
            },
            Claim::Repeat(None) => exceptions.duplicates.push(index),
            Claim::Conflict => exceptions.rejected.push((
                index,
                Rejection {
                    code: "idempotency_conflict".to_owned(),
                    reason: "another payload came under the same id".to_owned(),
                },
            )),
        }
    }
    let given_up: Vec<Uuid> = rejected.keys().filter_map(|&index| Some(candidates[index].id?.id)).collect();
    once::give_up(connection, &contract.stream, &given_up).await?;
    write_off(connection, candidates, exceptions, context.now_ms).await
}

/// Settles records that had been waiting: their ids are claimed already.
pub(super) async fn settle_released(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    candidates: &[Candidate<'_>],
) -> Result<Settled, WriteError> {
    let exceptions = isolate(connection, context, contract, candidates).await?;
    let rejected = exceptions.rejected.iter();
    let given_up: Vec<Uuid> = rejected.filter_map(|(index, _)| Some(candidates[*index].id?.id)).collect();
    once::give_up(connection, &contract.stream, &given_up).await?;
    write_off(connection, candidates, exceptions, context.now_ms).await
}

/// Notes what was not plainly written.
async fn write_off(
    connection: &mut PgConnection,
    candidates: &[Candidate<'_>],
    exceptions: Exceptions,
    now_ms: i64,
) -> Result<Settled, WriteError> {
    let violations: Vec<Violation<'_>> =
        exceptions.rejected.iter().map(|(index, rejection)| (candidates[*index], rejection)).collect();
    bury(connection, &violations).await?;
    let duplicates: Vec<(&str, i32, i64, i32)> = exceptions
        .duplicates
        .iter()
        .map(|&index| &candidates[index])
        .map(|candidate| (candidate.topic, candidate.partition, candidate.offset, candidate.incarnation))
        .collect();
    once::note_duplicates(connection, &duplicates, now_ms).await?;
    let exceptional = violations.len() + duplicates.len() + exceptions.waiting;
    Ok(Settled {
        written: candidates.len() - exceptional,
        duplicates: duplicates.len(),
        waiting: exceptions.waiting,
        rejected: violations.len(),
        skipped_rows: exceptions.skipped_rows,
        created: exceptions.created,
    })
}
