//! Decides how a stream's new records end: written, superseded, a duplicate, waiting, or a dead letter.

use shared::contract::Contract;
use shared::ledger::activity::{Activity, Counts};
use shared::ledger::dead_letters::{self, NewDeadLetter};
use shared::ledger::duplicates::{self, NewDuplicate, Repeated};
use shared::ledger::records::{KeptRecord, LogPosition};
use shared::ledger::{Destination, Rejection, event_ids, superseded};
use sqlx::PgConnection;
use uuid::Uuid;

use super::locate::locate;
use super::summary::{Letters, Tally};
use crate::candidate::{Candidate, Origin};
use crate::check::EventId;
use crate::envelope::Envelope;
use crate::once::{self, Claim};
use crate::replay::{self, Standing};
use crate::write::{Context, Exceptions, Refusal, WriteError, isolate};

/// A rejected record and the reason.
pub(super) type RejectedRecord<'c> = (KeptRecord<'c>, &'c Rejection);

/// A stream's new records that conform to their contract.
#[derive(Debug)]
pub(super) struct StreamRecords<'c> {
    pub(super) contract: &'c Contract,
    pub(super) candidates: Vec<Candidate<'c>>,
}

/// How the records of one stream ended.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) activity: Activity,
    /// The dead letters to log.
    letters: Letters,
    skipped_rows: u64,
    /// The keys of entities that were created.
    pub(super) created: Vec<String>,
    /// Records that PostgreSQL refused. They are also counted as rejected.
    pub(super) refused: Vec<(Origin, Refusal)>,
}

impl Settled {
    pub(super) fn add(&mut self, other: Self) {
        let Self { activity, letters, skipped_rows, created, refused } = other;
        self.activity.add(&activity);
        self.letters.add(letters);
        self.skipped_rows += skipped_rows;
        self.created.extend(created);
        self.refused.extend(refused);
    }

    /// Stores records as dead letters, and counts them.
    async fn reject(
        &mut self,
        connection: &mut PgConnection,
        rejected: &[RejectedRecord<'_>],
    ) -> Result<(), sqlx::Error> {
        let letters: Vec<_> = rejected.iter().map(|&(record, rejection)| NewDeadLetter { record, rejection }).collect();
        dead_letters::insert(connection, Destination::Postgresql, &letters).await?;
        for (record, rejection) in rejected {
            self.activity.counts(record.position).rejected += 1;
            self.letters.note(record, rejection);
        }
        Ok(())
    }

    /// Adds the counts to a batch's result.
    pub(super) fn add_to(&self, landed: &mut Tally, contract: &Contract) {
        landed.count_records(&contract.stream, &self.activity);
        landed.letters.add(self.letters.clone());
        landed.for_stream(&contract.stream).skipped_rows += self.skipped_rows;
    }
}

/// How a batch's records ended.
#[derive(Debug)]
pub(super) struct BatchResult {
    pub(super) landed: Tally,
    /// Records that PostgreSQL refused, in the order in which they were written.
    pub(super) refused: Vec<(Origin, Refusal)>,
}

/// Stores dead letters for the records that break their contract. One kind of replay is stored as a duplicate instead:
/// the replay names its dead letter by place, that dead letter is not in the database, and no gap shows that the
/// letter's event was lost.
pub(super) async fn reject(
    connection: &mut PgConnection,
    now_ms: i64,
    contract: &Contract,
    rejected: &[RejectedRecord<'_>],
) -> Result<Settled, sqlx::Error> {
    // A batch may contain an invalid event together with its replay, which is just as invalid. Records that are not
    // replays are stored first, so that such a replay finds its dead letter.
    let (replays, others): (Vec<_>, Vec<_>) =
        rejected.iter().copied().partition(|(record, _)| Envelope::for_record(record).replay().is_some());
    let mut settled = Settled::default();
    settled.reject(connection, &others).await?;
    // A batch may also contain a replay together with its own replay.
    for stage in replay::stages(&replays, |(record, _)| *record, |(record, _)| Envelope::for_record(record).replay()) {
        let records: Vec<KeptRecord<'_>> = stage.iter().map(|(record, _)| *record).collect();
        let standings = replay::settle_letters(connection, &records).await?;
        let (mut letters, mut repeats) = (Vec::with_capacity(stage.len()), Vec::new());
        for (violation, standing) in stage.iter().zip(&standings) {
            let position = violation.0.position;
            let counts = settled.activity.counts(position);
            counts.replays += 1;
            match standing {
                Standing::Own | Standing::Replays => letters.push(*violation),
                Standing::Repeats(place) => {
                    counts.duplicates += 1;
                    repeats.push(NewDuplicate { position, repeated: Repeated::At(place) });
                }
            }
        }
        settled.reject(connection, &letters).await?;
        duplicates::insert(connection, &contract.stream, &repeats, now_ms).await?;
    }
    Ok(settled)
}

/// Settles a stream's new records.
pub(super) async fn settle(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    candidates: &[Candidate<'_>],
) -> Result<Settled, WriteError> {
    let mut settled = Settled::default();
    for stage in replay::stages(candidates, |candidate| candidate.record, replay::of_candidate) {
        settled.add(settle_stage(connection, context, contract, stage).await?);
    }
    Ok(settled)
}

async fn settle_stage(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    candidates: &[Candidate<'_>],
) -> Result<Settled, WriteError> {
    // Replays have ids, too. Without ids, there is nothing to claim, and no replay to look up.
    if candidates.iter().all(|candidate| candidate.id.is_none()) {
        return settle_claimed(connection, context, contract, candidates).await;
    }
    let records: Vec<KeptRecord<'_>> = candidates.iter().map(|candidate| candidate.record).collect();
    let standings = replay::settle_letters(connection, &records).await?;
    let mut activity = Activity::default();
    let mut repeats = Vec::new();
    let mut own = Vec::with_capacity(candidates.len());
    for (candidate, standing) in candidates.iter().zip(&standings) {
        match standing {
            Standing::Own => own.push(candidate),
            Standing::Replays => {
                activity.counts(candidate.record.position).replays += 1;
                own.push(candidate);
            }
            Standing::Repeats(place) => {
                activity.counts(candidate.record.position).replays += 1;
                repeats.push(NewDuplicate { position: candidate.record.position, repeated: Repeated::At(place) });
            }
        }
    }
    let ids: Vec<EventId> = own.iter().filter_map(|candidate| candidate.id).collect();
    let mut claims = once::claim(connection, &contract.stream, &ids, context.now_ms).await?.into_iter();
    let mut first = Vec::with_capacity(candidates.len());
    let mut conflicts = Vec::new();
    for candidate in own {
        match candidate.id.and_then(|_| claims.next()) {
            None | Some(Claim::First) => first.push(*candidate),
            Some(Claim::Repeat) => repeats.push(repeat(candidate)),
            Some(Claim::Conflict) => conflicts.push(*candidate),
        }
    }
    let mut settled = settle_claimed(connection, context, contract, &first).await?;
    let conflict = Rejection::new("idempotency_conflict", "an earlier event has the same id but a different payload");
    let rejected: Vec<RejectedRecord<'_>> = conflicts.iter().map(|candidate| (candidate.record, &conflict)).collect();
    settled.reject(connection, &rejected).await?;
    duplicates::insert(connection, &contract.stream, &repeats, context.now_ms).await?;
    repeats.iter().for_each(|repeat| activity.counts(repeat.position).duplicates += 1);
    settled.activity.add(&activity);
    Ok(settled)
}

/// Describes an event that repeats an earlier event. Either the two events have the same id, or their rows do.
fn repeat<'c>(candidate: &Candidate<'c>) -> NewDuplicate<'c> {
    let repeated = candidate.id.map_or(Repeated::Unknown, |id| Repeated::ById(id.id));
    NewDuplicate { position: candidate.record.position, repeated }
}

/// Settles new or released records. Records with ids must already have claimed their ids.
pub(super) async fn settle_claimed(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    candidates: &[Candidate<'_>],
) -> Result<Settled, WriteError> {
    let mut out: Vec<(&Candidate<'_>, &Rejection)> = Vec::new();
    let mut included: Vec<Candidate<'_>> = Vec::new();
    let written = if context.excluded.is_empty() {
        candidates
    } else {
        for candidate in candidates {
            match context.excluded.get(&candidate.origin()) {
                Some(rejection) => out.push((candidate, rejection)),
                None => included.push(*candidate),
            }
        }
        &included
    };
    let Exceptions { mut rejected, refused, duplicates: repeats, superseded: stale, waiting, skipped_rows, created } =
        isolate(connection, context, contract, written).await?;
    let signatures: Vec<_> = refused.iter().map(|(_, refusal)| refusal.signature).collect();
    let mut refusals: Vec<(usize, Rejection)> =
        refused.into_iter().map(|(index, refusal)| (index, refusal.rejection)).collect();
    locate(connection, contract, written, &mut rejected).await?;
    locate(connection, contract, written, &mut refusals).await?;
    out.extend(rejected.iter().chain(&refusals).map(|(index, rejection)| (&written[*index], rejection)));
    let all_rejected: Vec<RejectedRecord<'_>> =
        out.iter().map(|(candidate, rejection)| (candidate.record, *rejection)).collect();
    let mut settled = Settled { skipped_rows, created, ..Settled::default() };
    settled.reject(connection, &all_rejected).await?;
    let ids: Vec<(Uuid, &Rejection)> =
        out.iter().filter_map(|(candidate, rejection)| Some((candidate.id?.id, *rejection))).collect();
    event_ids::note_rejections(connection, &contract.stream, &ids).await?;
    let repeats: Vec<_> = repeats.iter().map(|&index| repeat(&written[index])).collect();
    duplicates::insert(connection, &contract.stream, &repeats, context.now_ms).await?;
    let stale: Vec<_> = stale.iter().map(|&index| written[index].record.position).collect();
    superseded::insert(connection, &stale, context.now_ms).await?;
    let activity = &mut settled.activity;
    candidates.iter().for_each(|candidate| activity.counts(candidate.record.position).written += 1);
    all_rejected.iter().for_each(|(record, _)| activity.counts(record.position).written -= 1);
    let mut is_not_written = |position: LogPosition<'_>, count: fn(&mut Counts) -> &mut i64| {
        let counts = activity.counts(position);
        counts.written -= 1;
        *count(counts) += 1;
    };
    repeats.iter().for_each(|repeat| is_not_written(repeat.position, |counts| &mut counts.duplicates));
    stale.iter().for_each(|&position| is_not_written(position, |counts| &mut counts.superseded));
    waiting.iter().for_each(|&at| is_not_written(written[at].record.position, |counts| &mut counts.waiting));
    let refused = refusals.iter().zip(signatures).map(|((index, rejection), signature)| {
        (written[*index].origin(), Refusal { rejection: rejection.clone(), signature })
    });
    settled.refused = refused.collect();
    Ok(settled)
}
