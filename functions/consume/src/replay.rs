//! Handles replays in the landing transaction. A replay is a dead letter that was sent to its topic again.
//!
//! A dead letter counts as replayed as soon as `consume` reads its replay, even if the database was restored to a time
//! before the replay. After such a restore, a replay may match no dead letter, because the original event landed when
//! it was read again, or has not been read again yet. Such a replay repeats the original event. If Kafka has lost the
//! original event, however, only the replay remains, so the replay is processed like a new event.

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
    /// The record is not a replay.
    Own,
    /// The record replays a known dead letter, or is all that is left of its event. It is processed like a record that
    /// is not a replay.
    Replays,
    /// The record is a replay that repeats the event at this place.
    Repeats(Place),
}

/// For each replay among these records, marks its dead letter as replayed. Returns each record's relation to the dead
/// letters.
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
    unmarked.retain(|(_, letter)| !known.contains(letter));
    // All of these letters have the same topic: the records belong to one stream, and a replay names a letter of its
    // own topic.
    let Some(topic) = unmarked.first().map(|(_, letter)| letter.topic.clone()) else { return Ok(standings) };
    let offsets: Vec<(i32, i64)> = unmarked.iter().map(|(_, letter)| (letter.partition, letter.offset)).collect();
    let are_lost = gaps::hold(connection, &topic, &offsets).await?;
    for ((index, letter), is_lost) in unmarked.into_iter().zip(are_lost) {
        // If Kafka lost the event before the event was applied, the replay is all that is left of the event.
        if !is_lost {
            standings[index] = Standing::Repeats(letter);
        }
    }
    Ok(standings)
}

/// Splits a stream's records into slices that are settled one after the other. If a batch contains a record together
/// with its replay, the two are in different slices, because the record must be settled before its replay.
///
/// `record` returns the record of an item. `replay` returns what a replay says about its dead letter, and `None` for
/// other records.
pub(crate) fn stages<'s, 'r, T>(
    records: &'s [T],
    record: impl Fn(&T) -> KeptRecord<'r>,
    replay: impl Fn(&T) -> Option<Replay>,
) -> Vec<&'s [T]> {
    let mut stages = Vec::with_capacity(1);
    let (mut start, mut noted) = (0, 0);
    let mut places: HashSet<(i32, i64)> = HashSet::new();
    for (index, Replay { letter, .. }) in
        records.iter().enumerate().filter_map(|(index, item)| Some((index, replay(item)?)))
    {
        let Letter::At(letter) = letter else { continue };
        let earlier = records[noted..index].iter().map(|item| record(item).position);
        places.extend(earlier.map(|position| (position.partition, position.offset)));
        noted = index;
        if places.contains(&(letter.partition, letter.offset)) {
            stages.push(&records[start..index]);
            start = index;
            places.clear();
        }
    }
    stages.push(&records[start..]);
    stages
}

/// Returns what a candidate says about the dead letter that it replays, if it is a replay. Every replay has an id, so
/// the headers of a candidate without an id are not searched.
pub(crate) fn of_candidate(candidate: &Candidate<'_>) -> Option<Replay> {
    candidate.id.and_then(|_| Envelope::for_record(&candidate.record).replay())
}
