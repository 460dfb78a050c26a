//! Settles partitions whose rows are in the table: advances their watermarks, and stores dead letters and duplicates.

use shared::ledger::Destination;
use shared::ledger::activity::{Activity, Counts};
use shared::ledger::bigquery_duplicates;
use shared::ledger::bigquery_streams::{self, StreamState};
use shared::ledger::dead_letters::{self, NewDeadLetter};
use shared::ledger::records::LogPosition;
use shared::ledger::watermarks::{self, Locked};
use sqlx::PgConnection;

use super::sort::Sorted;
use super::step::{Memory, Step};
use crate::land::Tally;
use crate::land::plan::{self, Planned};

/// Partitions to settle. All rows that they had to append are in the table.
#[derive(Debug)]
pub(super) struct Settling<'s, 'c, 'b> {
    pub(super) step: Step<'c, 'b>,
    pub(super) planned: Vec<&'s Planned<'c, 'b>>,
    pub(super) sorted: Vec<&'s Sorted<'c>>,
    pub(super) states: Vec<&'s StreamState>,
}

/// The counts of what a transaction settles. They are added to the result after the commit.
#[derive(Debug)]
pub(super) struct SettledTally(Tally);

/// Settles partitions in a transaction that has locked their watermarks.
pub(super) async fn settle_in(
    connection: &mut PgConnection,
    settling: Settling<'_, '_, '_>,
    locked: &Locked,
) -> Result<SettledTally, sqlx::Error> {
    let Settling { step, planned, sorted, states } = settling;
    let mut landed = Tally::default();
    if planned.iter().all(|one| one.changes_nothing()) {
        planned.iter().for_each(|one| one.note(&mut landed));
        return Ok(SettledTally(landed));
    }
    plan::note_gaps(connection, Destination::Bigquery, &planned).await?;
    let mut after = Vec::with_capacity(planned.len());
    for ((one, sorted), state) in planned.iter().zip(&sorted).zip(states) {
        one.note(&mut landed);
        count(one, sorted, &mut landed);
        let letters: Vec<NewDeadLetter<'_>> =
            sorted.rejected.iter().map(|(record, rejection)| NewDeadLetter { record: *record, rejection }).collect();
        dead_letters::insert(connection, Destination::Bigquery, &letters).await?;
        bigquery_duplicates::insert(connection, &sorted.duplicates, step.now_ms).await?;
        after.push(applied(state, one, locked.server_started_us));
    }
    bigquery_streams::store(connection, &after).await?;
    planned.iter().for_each(|one| one.note_log(&mut landed.activity));
    let activity = std::mem::take(&mut landed.activity);
    let watermarks = planned.iter().map(|one| &one.plan.after);
    watermarks::advance(connection, Destination::Bigquery, watermarks, &locked.over, activity).await?;
    Ok(SettledTally(landed))
}

/// Returns a partition's state after its announced rows were appended.
fn applied(state: &StreamState, planned: &Planned<'_, '_>, server_started_us: i64) -> StreamState {
    let mut after = state.clone();
    if let Some(intent) = after.intent.take() {
        after.next_row += intent.rows;
        after.server_started_us = server_started_us;
    }
    for (partition, range, _) in planned.fresh() {
        let traces = &partition.traces[range];
        if let (Some(first), Some(last)) = (traces.first(), traces.last()) {
            after.written.remove(first.offset..=last.offset);
        }
    }
    after
}

fn count(planned: &Planned<'_, '_>, sorted: &Sorted<'_>, landed: &mut Tally) {
    let mut activity = Activity::default();
    let Sorted { rows, rejected, written, duplicates, tombstones } = sorted;
    let appended = rows.iter().map(|row| row.record.position);
    appended
        .chain(written.iter().map(|row| row.record.position))
        .for_each(|position| activity.counts(position).written += 1);
    let mut each = |positions: &[LogPosition<'_>], add: fn(&mut Counts)| {
        positions.iter().for_each(|&position| add(activity.counts(position)));
    };
    each(duplicates, |counts| counts.duplicates += 1);
    each(tombstones, |counts| counts.tombstones += 1);
    for (record, rejection) in rejected {
        activity.counts(record.position).rejected += 1;
        landed.letters.note(record, rejection);
    }
    landed.count_records(&planned.partition.contract.stream, &activity);
}

impl SettledTally {
    /// Logs and counts what was committed.
    pub(super) fn note<'s, 'c: 's, 'b: 'c>(
        self,
        step: Step<'_, '_>,
        planned: impl Iterator<Item = &'s Planned<'c, 'b>>,
        server_started_us: i64,
        memory: &mut Memory,
    ) {
        self.0.letters.log();
        memory.landed.add(self.0);
        for one in planned {
            one.trust(step.trust, server_started_us);
        }
    }
}
