//! Replays in the landing transaction: dead letters that were sent to their topic again.
//!
//! A dead letter counts as replayed once its replay is read, even if the database was restored to a time before the
//! replay. If no dead letter matches, the replay's event has landed since the restore or is still undecided. If Kafka
//! lost the event, the replay is all that is left of it.

use std::collections::{BTreeMap, HashSet};

use shared::ledger::dead_letters::{self, ReadReplay};
use shared::ledger::gaps;
use shared::ledger::records::KeptRecord;
use shared::record::place::Place;
use shared::record::replay::{Letter, Replay};
use sqlx::PgConnection;

use crate::candidate::Candidate;
use crate::envelope::Envelope;

/// A record's relation to the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not a replay.
    Own,
    /// It is the replay of a known dead letter, and is processed like a record that is not a replay.
    Replays,
    /// It is a replay that repeats the event at this place.
    Repeats(Place),
}

/// Marks the letters that these records replay. Returns each record's relation to the letters.
pub(crate) async fn settle_letters(
    connection: &mut PgConnection,
    records: &[KeptRecord<'_>],
) -> Result<Vec<Standing>, sqlx::Error> {
    let mut standings = vec![Standing::Own; records.len()];
    let mut placed: BTreeMap<(i32, i64, i64), ReadReplay> = BTreeMap::new();
    let mut unmarked = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let place = || Place {
            topic: record.position.topic.to_owned(),
            partition: record.position.partition,
            offset: record.position.offset,
            timestamp_ms: record.timestamp_ms,
        };
        let Some(Replay { letter, .. }) = Envelope::for_record(record).replay() else { continue };
        standings[index] = Standing::Replays;
        match letter {
            Letter::At(letter) => {
                let key = (letter.partition, letter.offset, letter.timestamp_ms);
                placed.entry(key).or_insert_with(|| ReadReplay { letter: letter.clone(), place: place() });
                unmarked.push((index, letter));
            }
            Letter::Numbered(id) => {
                dead_letters::mark_read_by_number(connection, id, record.key, record.payload, &place()).await?;
            }
        }
    }
    if unmarked.is_empty() {
        return Ok(standings);
    }
    let replayed: Vec<_> = placed.into_values().collect();
    let known: HashSet<Place> = dead_letters::mark_read(connection, &replayed).await?.into_iter().collect();
    for (index, letter) in unmarked.into_iter().filter(|(_, letter)| !known.contains(letter)) {
        // Kafka lost the event before it was decided, so the replay is all that is left of it.
        let is_lost = gaps::hold(connection, &letter.topic, &[(letter.partition, letter.offset)]).await?;
        if !is_lost.contains(&true) {
            standings[index] = Standing::Repeats(letter);
        }
    }
    Ok(standings)
}

/// Splits a stream's records into slices that are settled in turn: a replay is processed only after the record
/// that it replays has been decided, because that record may be in the same batch.
pub(crate) fn stages<'s, 'a>(records: &'s [Candidate<'a>]) -> Vec<&'s [Candidate<'a>]> {
    let mut stages = Vec::with_capacity(1);
    let mut start = 0;
    // Every replay has an id.
    let replays = records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.id.is_some())
        .filter_map(|(index, record)| Some((index, Envelope::for_record(&record.record).replay()?)));
    for (index, Replay { letter, .. }) in replays {
        let Letter::At(letter) = letter else { continue };
        let is_letter = |candidate: &Candidate<'_>| {
            let position = candidate.record.position;
            (position.partition, position.offset) == (letter.partition, letter.offset)
        };
        if records[start..index].iter().any(is_letter) {
            stages.push(&records[start..index]);
            start = index;
        }
    }
    stages.push(&records[start..]);
    stages
}
