//! Looks up the outcomes, rows and dead letters of the records that were found.

use std::collections::HashMap;

use ingest::replay_receipts;
use shared::contract::Contract;
use shared::http::database::in_time;
use shared::kafka::reader::LogRecord;
use shared::ledger::dead_letters::{self, DeadLetter};
use shared::ledger::receipts::{self, Outcome, Status};
use shared::ledger::{headers, landing_minutes};

use super::item::{FollowedEvent, LetterSummary, Stages};
use super::row::Rows;
use super::scan::FoundRecord;
use crate::Console;
use crate::error::Error;

/// Looks up the outcome, row and dead letter of each record.
///
/// # Errors
/// The database does not answer.
pub(super) async fn look_up(
    console: &Console,
    contract: &Contract,
    mut found: Vec<FoundRecord>,
) -> Result<Vec<FollowedEvent>, Error> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let pool = &console.ingest.pool;
    let mut letters = in_time(letters(console, contract, &mut found)).await?;
    let outcomes = in_time(outcomes(console, contract, &found)).await?;
    let minutes = in_time(landing_minutes(console, contract, &found)).await?;
    let mut rows = Rows::new(pool, contract);
    let mut items = Vec::with_capacity(found.len());
    for ((found, outcome), minute_ms) in found.into_iter().zip(outcomes).zip(minutes) {
        let FoundRecord { partition, offset, record } = found;
        let row = match &record {
            Some(record) if has_row(&outcome) => in_time(rows.find(partition, record)).await?,
            Some(_) | None => None,
        };
        // Skips an offset that no event has yet.
        if record.is_none() && outcome == Outcome::Pending {
            continue;
        }
        let dead_letter = match letters.remove(&(partition, offset)) {
            Some(letter) => Some(summary(console, letter).await?),
            None => None,
        };
        let landed_at_ms = minute_ms.filter(|_| is_decided(&outcome));
        let stages = Stages { outcome, landed_at_ms, row, dead_letter };
        items.push(FollowedEvent::new(&contract.topic, partition, offset, record.as_ref(), stages));
    }
    Ok(items)
}

/// Returns whether there may be a row for an event with this outcome. For a duplicate or superseded event, another
/// event wrote that row.
fn has_row(outcome: &Outcome) -> bool {
    match outcome.status() {
        Status::Written | Status::Duplicate | Status::Superseded => true,
        Status::Pending | Status::Waiting | Status::Rejected | Status::Lost => false,
    }
}

/// Returns whether `consume` decided the outcome in the minute in which the record was applied. A waiting event is
/// decided later, and a lost event was never applied.
fn is_decided(outcome: &Outcome) -> bool {
    match outcome.status() {
        Status::Written | Status::Duplicate | Status::Superseded | Status::Rejected => true,
        Status::Pending | Status::Waiting | Status::Lost => false,
    }
}

/// Returns the minutes in which records were applied. If a record is neither in Kafka nor in a dead letter, its
/// timestamp is unknown, and so is its minute.
async fn landing_minutes(
    console: &Console,
    contract: &Contract,
    found: &[FoundRecord],
) -> Result<Vec<Option<i64>>, sqlx::Error> {
    let time_ms = |found: &FoundRecord| found.record.as_ref().map_or(0, |record| record.timestamp_ms);
    let records: Vec<_> = found.iter().map(|found| (found.partition, found.offset, time_ms(found))).collect();
    landing_minutes::find(&console.ingest.pool, &contract.topic, &records).await
}

async fn outcomes(console: &Console, contract: &Contract, found: &[FoundRecord]) -> Result<Vec<Outcome>, sqlx::Error> {
    let (pool, reader) = (&console.ingest.pool, &console.ingest.reader);
    let sent = |found: &FoundRecord| Some((found.partition, found.offset, found.record.as_ref()?.timestamp_ms));
    match found.iter().map(sent).collect::<Option<Vec<_>>>() {
        Some(sent) => receipts::look_up_sent(pool, Some(reader), &contract.topic, &sent).await,
        None => {
            let places: Vec<_> = found.iter().map(|found| (found.partition, found.offset)).collect();
            receipts::look_up(pool, Some(reader), &contract.topic, &places).await
        }
    }
}

/// Returns the dead letters of the records, by partition and offset. If Kafka no longer has a record, takes the record
/// from its dead letter.
async fn letters(
    console: &Console,
    contract: &Contract,
    found: &mut [FoundRecord],
) -> Result<HashMap<(i32, i64), DeadLetter>, sqlx::Error> {
    let places: Vec<_> = found.iter().map(|found| (found.partition, found.offset)).collect();
    let mut letters = HashMap::new();
    for letter in dead_letters::at(&console.ingest.pool, &contract.topic, &places).await? {
        let is_it = |found: &&mut FoundRecord| {
            let time_ms = found.record.as_ref().map(|record| record.timestamp_ms);
            // If the topic was recreated, the letter may belong to an earlier record that had the same offset.
            (found.partition, found.offset) == (letter.partition, letter.offset)
                && time_ms.is_none_or(|time_ms| time_ms == letter.record_timestamp_ms)
        };
        if let Some(found) = found.iter_mut().find(is_it) {
            found.record.get_or_insert_with(|| record(&letter));
            letters.insert((letter.partition, letter.offset), letter);
        }
    }
    Ok(letters)
}

fn record(letter: &DeadLetter) -> LogRecord {
    LogRecord {
        offset: letter.offset,
        timestamp_ms: letter.record_timestamp_ms,
        key: letter.key.clone(),
        value: Some(letter.payload.clone()),
        headers: headers::from_json(&letter.headers),
    }
}

async fn summary(console: &Console, letter: DeadLetter) -> Result<LetterSummary, Error> {
    let places = letter.replayed_as.clone().into_iter().collect();
    let replayed_as = replay_receipts(&console.ingest, places).await?.pop();
    Ok(LetterSummary::new(letter, replayed_as))
}
