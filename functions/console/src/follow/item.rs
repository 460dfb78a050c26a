//! A followed event in a response.

use base64_simd::STANDARD as BASE64;
use ingest::Receipt;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::contract::{json, trace_id};
use shared::kafka::reader::LogRecord;
use shared::ledger::dead_letters::DeadLetter;
use shared::ledger::receipts::{Outcome, Status};
use shared::record::headers;

/// The length to which a payload is truncated, in bytes.
const PAYLOAD_BYTES: usize = 65_536;

/// An event and its outcome.
#[derive(Debug, Serialize)]
pub(crate) struct FollowedEvent {
    topic: String,
    partition: i32,
    offset: i64,
    /// The record's time. Null if neither Kafka nor a dead letter has the record.
    accepted_at: Option<String>,
    user: Option<String>,
    trace_id: Option<String>,
    headers: Value,
    key: Option<String>,
    /// The event. Text that is not JSON, or that was truncated, is a string.
    payload: Option<Box<RawValue>>,
    /// The payload in Base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// Whether the payload was truncated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    payload_truncated: bool,
    status: Status,
    reason: Option<String>,
    /// The minute in which the event was written or rejected, or was found to be a duplicate or superseded.
    landed_at: Option<String>,
    row: Option<Box<RawValue>>,
    dead_letter: Option<LetterSummary>,
}

/// An event's dead letter, without the members that the event itself has.
#[derive(Debug, Serialize)]
pub(super) struct LetterSummary {
    id: i64,
    href: String,
    status: &'static str,
    error_code: String,
    constraint: Option<Box<str>>,
    table: Option<Box<str>>,
    column: Option<Box<str>>,
    pointer: Option<Box<str>>,
    /// The receipt of the letter's last replay.
    replayed_as: Option<Receipt>,
}

impl LetterSummary {
    pub(super) fn new(letter: DeadLetter, replayed_as: Option<Receipt>) -> Self {
        Self {
            id: letter.id,
            href: format!("/dead-letters/{}", letter.id),
            status: letter.status.name(),
            error_code: letter.rejection.code,
            constraint: letter.rejection.constraint,
            table: letter.rejection.table,
            column: letter.rejection.column,
            pointer: letter.rejection.pointer,
            replayed_as,
        }
    }
}

/// An event's outcome, with the minute in which it landed, its row and its dead letter.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) outcome: Outcome,
    pub(super) landed_at_ms: Option<i64>,
    pub(super) row: Option<Box<RawValue>>,
    pub(super) dead_letter: Option<LetterSummary>,
}

impl FollowedEvent {
    /// Combines a record with its outcome. `record` is `None` if neither Kafka nor a dead letter has the record.
    pub(super) fn new(topic: &str, partition: i32, offset: i64, record: Option<&LogRecord>, stages: Stages) -> Self {
        let Stages { outcome, landed_at_ms, row, dead_letter } = stages;
        let header = |name: &str| record?.headers.iter().find(|(header, _)| header == name)?.1.as_deref();
        let payload = Payload::new(record.and_then(|record| record.value.as_deref()));
        Self {
            topic: topic.to_owned(),
            partition,
            offset,
            accepted_at: record.filter(|record| record.timestamp_ms >= 0).map(|record| time(record.timestamp_ms)),
            user: header(headers::USER).map(text),
            trace_id: header(headers::TRACEPARENT).and_then(trace_id).map(str::to_owned),
            headers: record.map_or(Value::Null, |record| shared::ledger::headers::to_json(&record.headers)),
            key: record.and_then(|record| record.key.as_deref()).map(text),
            payload: payload.json,
            payload_base64: payload.base64,
            payload_truncated: payload.is_truncated,
            status: outcome.status(),
            reason: reason(outcome),
            landed_at: landed_at_ms.map(time),
            row,
            dead_letter,
        }
    }
}

fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).unwrap_or_default().to_string()
}

/// Converts bytes to text. Bytes that are not UTF-8 are replaced, because the text is only meant to be read by people.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn reason(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Rejected(rejection) | Outcome::Replayed { rejection, replay: _ } => Some(rejection.reason),
        Outcome::Lost { reason } => Some(reason),
        Outcome::Pending | Outcome::Waiting { .. } | Outcome::Written | Outcome::Duplicate | Outcome::Superseded => {
            None
        }
    }
}

/// A payload in a response.
#[derive(Debug, Default)]
struct Payload {
    json: Option<Box<RawValue>>,
    base64: Option<String>,
    is_truncated: bool,
}

impl Payload {
    fn new(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::default() };
        let is_truncated = bytes.len() > PAYLOAD_BYTES;
        let Ok(whole) = std::str::from_utf8(bytes) else {
            let shown = &bytes[..bytes.len().min(PAYLOAD_BYTES)];
            return Self { json: None, base64: Some(BASE64.encode_to_string(shown)), is_truncated };
        };
        let text = match is_truncated {
            false if json::parse(bytes).is_ok() => whole.to_owned(),
            _ => Value::from(&whole[..whole.floor_char_boundary(PAYLOAD_BYTES)]).to_string(),
        };
        Self { json: RawValue::from_string(text).ok(), base64: None, is_truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_as_it_was_sent_but_a_long_payload_is_cut_between_two_characters() {
        let shown = |bytes: &[u8]| {
            let Payload { json, base64, is_truncated } = Payload::new(Some(bytes));
            (json.map(|json| json.get().to_owned()), base64, is_truncated)
        };
        assert_eq!(shown(b"{\"a\": 1.50}"), (Some("{\"a\": 1.50}".to_owned()), None, false));
        assert_eq!(shown(b"{"), (Some("\"{\"".to_owned()), None, false));
        assert_eq!(shown(b"\xff"), (None, Some("/w==".to_owned()), false));
        let long = format!("x{}", "\u{e9}".repeat(40_000));
        let (json, _, is_truncated) = shown(long.as_bytes());
        assert_eq!((json.map(|json| json.len()), is_truncated), (Some(PAYLOAD_BYTES - 1 + 2), true));
    }
}
