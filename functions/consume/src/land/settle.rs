//! What becomes of a stream's new records: written, a duplicate, waiting, or a dead letter.

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
    let ids: Vec<EventId> = candidates.iter().filter_map(|candidate| candidate.id).collect();
    let mut claims = once::claim(connection, &contract.stream, &ids, context.now_ms).await?.into_iter();
    let mut first = Vec::with_capacity(candidates.len());
    let mut repeats = Vec::new();
    let mut conflicts = Vec::new();
    for candidate in candidates {
        match candidate.id.and_then(|_| claims.next()) {
            None | Some(Claim::First) => first.push(*candidate),
            Some(Claim::Repeat) => repeats.push(candidate),
            Some(Claim::Conflict) => conflicts.push(*candidate),
        }
    }
    let mut settled = settle_claimed(connection, context, contract, &first).await?;
    let conflict = Rejection {
        code: "idempotency_conflict".to_owned(),
        reason: "another payload came under the same id".to_owned(),
    };
    let violations: Vec<Violation<'_>> = conflicts.iter().map(|candidate| (*candidate, &conflict)).collect();
    bury(connection, &violations).await?;
    once::note_duplicates(connection, &contract.stream, &repeats, context.now_ms).await?;
    settled.rejected += violations.len();
    settled.duplicates += repeats.len();
    Ok(settled)
}

/// Settles records whose ids are claimed, if they carry any: what is new, and what had been waiting.
pub(super) async fn settle_claimed(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    candidates: &[Candidate<'_>],
) -> Result<Settled, WriteError> {
    let Exceptions { rejected, duplicates, waiting, skipped_rows, created } =
        isolate(connection, context, contract, candidates).await?;
    let violations: Vec<Violation<'_>> =
        rejected.iter().map(|(index, rejection)| (candidates[*index], rejection)).collect();
    bury(connection, &violations).await?;
    let ids: Vec<(Uuid, &Rejection)> =
        violations.iter().filter_map(|(candidate, rejection)| Some((candidate.id?.id, *rejection))).collect();
    once::note_rejections(connection, &contract.stream, &ids).await?;
    let repeats: Vec<&Candidate<'_>> = duplicates.iter().map(|&index| &candidates[index]).collect();
    once::note_duplicates(connection, &contract.stream, &repeats, context.now_ms).await?;
    Ok(Settled {
        written: candidates.len() - violations.len() - repeats.len() - waiting,
        duplicates: repeats.len(),
        waiting,
        rejected: violations.len(),
        skipped_rows,
        created,
    })
}
