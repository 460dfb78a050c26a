//! Builds the headers that mark a record as a replay of a dead letter.

use shared::kafka::RecordHeader;
use shared::ledger::dead_letters::DeadLetter;
use shared::ledger::headers;
use shared::record::place::Place;
use shared::record::replay::{self, Replay, Searched};

/// Returns the place of a letter's record.
pub(crate) fn place(letter: &DeadLetter) -> Place {
    Place {
        topic: letter.topic.clone(),
        partition: letter.partition,
        offset: letter.offset,
        timestamp_ms: letter.record_timestamp_ms,
    }
}

/// Returns the place of the first record of a letter's event: the original record if the letter's record was a replay,
/// otherwise the letter's own record.
pub(crate) fn first_place(letter: &DeadLetter) -> Place {
    let headers = headers::from_json(&letter.headers);
    earlier_replay(letter, &headers).and_then(|replay| replay.first).unwrap_or_else(|| place(letter))
}

/// Reads the replay headers of a letter's record; `None` if that record was not a replay.
fn earlier_replay(letter: &DeadLetter, headers: &[RecordHeader]) -> Option<Replay> {
    Replay::from_headers(&letter.topic, |name| headers.iter().find(|(header, _)| header == name)?.1.as_deref())
}

/// Returns the headers of a letter's replay: the headers of the letter's record, with new replay headers.
pub(crate) fn replay_headers(letter: &DeadLetter, searched: Option<&Searched>, is_edited: bool) -> Vec<RecordHeader> {
    let mut headers = headers::from_json(&letter.headers);
    let was_replay = earlier_replay(letter, &headers).is_some();
    headers.retain(|(name, _)| match name.as_str() {
        replay::FIRST => was_replay,
        replay::EDITED => was_replay && !is_edited,
        replay::OF | replay::SEARCHED => false,
        _ => true,
    });
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
    add(if was_replay { replay::OF } else { replay::FIRST }, place(letter).to_string());
    if is_edited {
        add(replay::EDITED, place(letter).to_string());
    }
    if let Some(searched) = searched {
        add(replay::SEARCHED, searched.to_string());
    }
    headers
}
