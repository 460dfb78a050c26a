//! Searches Kafka for later events that have the same keys as dead letters. One search can look for the keys of several
//! letters of a topic.
//!
//! Only Kafka has all events in order. For each letter, the search begins at the first record of the letter's event. It
//! reads that record's partition from the record's offset onwards. It reads the topic's other partitions from the
//! record's time onwards, because a key's events may go to another partition after partitions are added. The search,
//! like `consume`, takes a key from the event, not from the record, because other producers may set other record keys.

use std::collections::HashMap;
use std::time::Instant;

use ingest::Ingest;
use shared::contract::{Contract, json};
use shared::http::database::in_time;
use shared::kafka::reader::{Chunk, Limits, LogRecord, ReadError, Reader as _};
use shared::ledger::dead_letters::DeadLetter;
use shared::ledger::receipts::{self, Outcome};
use shared::record::place::Place;
use shared::record::replay::{Replay, Searched};

use super::headers::first_place;
use crate::error::Error;

/// The limits on the records and bytes of one read.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 16 * 1_024 * 1_024;

/// The result of a search for one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Later {
    /// The partitions were searched up to these offsets, and no later event was found.
    None(Searched),
    /// The letter's event has no valid key, so its replay cannot change a row.
    NoKey,
    /// A later event that was written or may still be written.
    Found(Place),
    /// The letter's event was replayed, and this replay was written or may still be written.
    SentAgain(Place),
    /// Kafka no longer has the event.
    Gone,
    /// The search ran out of time before the end of the log.
    OutOfTime,
}

/// A letter, and the payload that will be sent for the letter. The search takes the letter's key from this payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) letter: &'a DeadLetter,
    pub(crate) payload: &'a [u8],
}

/// Searches until the end of the log, or until the deadline. Returns one result for each letter, in the same order as
/// `sought`.
pub(crate) async fn search(
    ingest: &Ingest,
    contract: &Contract,
    key: &[usize],
    sought: &[Sought<'_>],
    deadline: Instant,
) -> Result<Vec<Later>, Error> {
    let mut search = Search::new(contract, key, sought);
    match search.run(ingest, deadline).await {
        Ok(searched) => Ok(search.results(Later::None(searched))),
        Err(SearchError::Late) => Ok(search.results(Later::OutOfTime)),
        Err(SearchError::Read(ReadError::UnknownPartition { .. })) => Ok(search.results(Later::Gone)),
        Err(SearchError::Read(error)) => {
            let topic = &contract.topic;
            tracing::error!(topic, %error, "cannot search for later events with a dead letter's key");
            Err(Error::unacknowledged())
        }
        Err(SearchError::Database(error)) => Err(error.into()),
    }
}

/// Why a search ended early.
enum SearchError {
    Late,
    Read(ReadError),
    Database(sqlx::Error),
}

impl From<ReadError> for SearchError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// A search in progress.
struct Search<'a> {
    contract: &'a Contract,
    key: &'a [usize],
    /// The first records of the letters' events, before any replay.
    firsts: Vec<Place>,
    /// The indexes of the letters, by the keys of their events' rows.
    by_key: HashMap<Vec<u8>, Vec<usize>>,
    /// The results so far, by letter.
    found: Vec<Option<Later>>,
}

impl<'a> Search<'a> {
    fn new(contract: &'a Contract, key: &'a [usize], sought: &[Sought<'_>]) -> Self {
        let mut by_key: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        let mut found = vec![None; sought.len()];
        for (index, Sought { payload, .. }) in sought.iter().enumerate() {
            match key_cells(contract, key, payload) {
                Some(cells) => by_key.entry(cells).or_default().push(index),
                None => found[index] = Some(Later::NoKey),
            }
        }
        let firsts = sought.iter().map(|sought| first_place(sought.letter)).collect();
        Self { contract, key, firsts, by_key, found }
    }

    fn results(self, undecided: Later) -> Vec<Later> {
        self.found.into_iter().map(|found| found.unwrap_or_else(|| undecided.clone())).collect()
    }

    /// Returns the letters for which nothing has been found yet.
    fn undecided(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.firsts.iter().enumerate().filter(|(index, _)| self.found[*index].is_none())
    }

    fn decide(&mut self, letters: Vec<usize>, later: &Later) {
        for index in letters {
            self.found[index].get_or_insert_with(|| later.clone());
        }
    }

    /// Runs the search. Returns, for each partition, the offset at which the search ended. If a letter is still
    /// undecided, there is no later event before these offsets.
    async fn run(&mut self, ingest: &Ingest, deadline: Instant) -> Result<Searched, SearchError> {
        let topic = &self.contract.topic;
        let Some(partitions) = ingest.reader.partitions(topic).await? else {
            return Err(ReadError::UnknownPartition { topic: topic.clone(), partition: 0 }.into());
        };
        let outside = self.undecided().filter(|(_, first)| first.partition >= partitions);
        let outside = outside.map(|(index, _)| index).collect();
        self.decide(outside, &Later::Gone);
        let mut searched = Searched::default();
        for partition in 0..partitions {
            let Some(start) = self.start(ingest, partition).await? else { break };
            searched.note(partition, self.search_partition(ingest, partition, start, deadline).await?);
        }
        Ok(searched)
    }

    /// Returns the offset from which to read a partition. No record before this offset can be a later event for an
    /// undecided letter. Returns `None` if no letter is undecided.
    async fn start(&self, ingest: &Ingest, partition: i32) -> Result<Option<i64>, ReadError> {
        let topic = &self.contract.topic;
        let of_partition = self.undecided().filter(|(_, first)| first.partition == partition);
        let own = of_partition.map(|(_, first)| first.offset).min();
        let others = self.undecided().filter(|(_, first)| first.partition != partition);
        let Some(earliest_ms) = others.map(|(_, first)| first.timestamp_ms).min() else { return Ok(own) };
        let at_time = match ingest.reader.offset_at_time(topic, partition, earliest_ms).await? {
            Some(offset) => offset,
            None => ingest.reader.bounds(topic, partition).await?.end,
        };
        Ok(Some(own.map_or(at_time, |own| own.min(at_time))))
    }

    /// Searches a partition up to its end. Returns the offset of that end.
    async fn search_partition(
        &mut self,
        ingest: &Ingest,
        partition: i32,
        start: i64,
        deadline: Instant,
    ) -> Result<i64, SearchError> {
        let (mut from, mut latest_ms) = (start, i64::MIN);
        loop {
            let max_time = deadline.saturating_duration_since(Instant::now());
            if max_time.is_zero() {
                return Err(SearchError::Late);
            }
            let limits = Limits { max_records: MOST_RECORDS, max_bytes: MOST_BYTES, max_time };
            let chunk = ingest.reader.read(&self.contract.topic, partition, from, i64::MAX, limits).await?;
            self.note_gone(partition, &chunk, from == start);
            let repeated = self.repeated(partition, &chunk.records, &mut latest_ms);
            self.note_applied(ingest, partition, &chunk.records, repeated).await?;
            from = chunk.until;
            if from >= chunk.bounds.end {
                return Ok(from);
            }
        }
    }

    /// Marks a letter as gone if the offset of its event's first record is outside the log's bounds (checked only in
    /// the first chunk), or if a record with another timestamp now has this offset. If the offset is within the bounds
    /// but has no record, compaction has removed the record. The letter is then not marked, because the search can
    /// still read the records after this offset.
    fn note_gone(&mut self, partition: i32, chunk: &Chunk, is_first: bool) {
        let is_gone = |first: &Place| {
            let is_within = !is_first || (chunk.bounds.start <= first.offset && first.offset < chunk.bounds.end);
            let at = chunk.records.binary_search_by_key(&first.offset, |record| record.offset);
            let is_other = at.is_ok_and(|at| chunk.records[at].timestamp_ms != first.timestamp_ms);
            !is_within || is_other
        };
        let of_partition = self.undecided().filter(|(_, first)| first.partition == partition);
        let gone = of_partition.filter(|(_, first)| is_gone(first)).map(|(index, _)| index).collect();
        self.decide(gone, &Later::Gone);
    }

    /// Returns the records that have a letter's key and come after the first record of the letter's event. Each item
    /// consists of the record's index, the letter's index, and `true` if the record repeats the letter's own event, or
    /// `false` if the record is a later event.
    ///
    /// In the partition of the letter's first record, a record is later if its offset is higher. In the other
    /// partitions, timestamps decide: once a record is at least as new as the letter's first record, that record and
    /// all records after it count as later. `latest_ms` carries the latest timestamp of the partition from one call to
    /// the next.
    fn repeated(&self, partition: i32, records: &[LogRecord], latest_ms: &mut i64) -> Vec<(usize, usize, bool)> {
        let mut repeated = Vec::new();
        for (at, record) in records.iter().enumerate() {
            *latest_ms = (*latest_ms).max(record.timestamp_ms);
            let cells = record.value.as_deref().and_then(|value| key_cells(self.contract, self.key, value));
            let letters = cells.and_then(|cells| self.by_key.get(&cells));
            for &letter in letters.into_iter().flatten() {
                let first = &self.firsts[letter];
                let is_after = match first.partition == partition {
                    true => record.offset > first.offset,
                    false => *latest_ms >= first.timestamp_ms,
                };
                if let Some(is_same) = is_after.then(|| same_event(first, record)).flatten() {
                    repeated.push((at, letter, is_same));
                }
            }
        }
        repeated
    }

    /// Looks up the outcomes of the records that [`Self::repeated`] returned. A record that was written, or may still
    /// be written, decides the result for its letter.
    async fn note_applied(
        &mut self,
        ingest: &Ingest,
        partition: i32,
        records: &[LogRecord],
        repeated: Vec<(usize, usize, bool)>,
    ) -> Result<(), SearchError> {
        let repeated: Vec<_> = repeated.into_iter().filter(|(_, letter, _)| self.found[*letter].is_none()).collect();
        if repeated.is_empty() {
            return Ok(());
        }
        let topic = &self.contract.topic;
        let sent = |(at, ..): &(usize, usize, bool)| (partition, records[*at].offset, records[*at].timestamp_ms);
        let sent: Vec<_> = repeated.iter().map(sent).collect();
        let looking_up = receipts::look_up_sent(&ingest.pool, Some(&ingest.reader), topic, &sent);
        let outcomes = in_time(looking_up).await.map_err(SearchError::Database)?;
        for ((at, letter, is_same), outcome) in repeated.into_iter().zip(outcomes) {
            if may_change_row(&outcome) {
                let LogRecord { offset, timestamp_ms, .. } = records[at];
                let place = Place { topic: topic.clone(), partition, offset, timestamp_ms };
                self.decide(vec![letter], &if is_same { Later::SentAgain(place) } else { Later::Found(place) });
            }
        }
        Ok(())
    }
}

/// Returns whether an event with this outcome has changed its row, or may still change it.
fn may_change_row(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Pending | Outcome::Waiting { .. } | Outcome::Written => true,
        // A replayed event and a duplicate do not change a row themselves. The replay, and the event that the duplicate
        // repeats, are separate records, which the search also finds.
        Outcome::Duplicate
        | Outcome::Superseded
        | Outcome::Rejected(_)
        | Outcome::Replayed { .. }
        | Outcome::Lost { .. } => false,
    }
}

/// Returns whether a record with a letter's key repeats the letter's own event (`true`) or is a later event (`false`).
/// Returns `None` if the record is neither.
fn same_event(letter: &Place, record: &LogRecord) -> Option<bool> {
    let header = |name: &str| record.headers.iter().find(|(header, _)| header == name)?.1.as_deref();
    match Replay::from_headers(&letter.topic, header).and_then(|replay| replay.first) {
        Some(first) if first == *letter => Some(true),
        Some(first) => first.is_after(letter).then_some(false),
        None => Some(false),
    }
}

/// Returns the encoded key of an event's row. Returns `None` if the event has no valid key; `consume` rejects such an
/// event.
fn key_cells(contract: &Contract, key: &[usize], payload: &[u8]) -> Option<Vec<u8>> {
    contract.landing()?.comparable_cells(key, &json::parse(payload).ok()?).ok()
}
