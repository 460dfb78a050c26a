//! Every event against its contract, before anything is sent.

use bytes::Bytes;
use serde::Serialize;
use shared::contract::{Contract, NotJson, VIOLATIONS_LISTED, Violation};
use shared::event_id;
use shared::kafka::RecordHeader;

use crate::body::{Event, Posted, Unreadable};
use crate::entities::Operation;
use crate::error::Error;
use crate::idempotency::IdempotencyKey;

/// The longest record key and the longest headers, in bytes. With an event of the largest size they fit into the
/// 1,048,588 bytes that a broker takes as a record by default.
const KEY_BYTES: usize = 16_384;
const HEADERS_BYTES: usize = 16_384;
/// Where a violation's pointer or detail, which may repeat names from the event, is cut off.
const TEXT_CHARACTERS: usize = 1_000;

/// What is wrong with one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EventError {
    /// The event's index in the batch; 0 where there is one event only.
    pub(crate) index: usize,
    /// Where in what was posted as this event.
    pub(crate) pointer: String,
    /// What is wrong, without the value.
    pub(crate) detail: String,
    /// The HTTP header that is wrong, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    /// Where in the body the event is not JSON.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
}

/// A place in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    line: usize,
    column: usize,
}

impl EventError {
    /// An error of the event at `index`.
    pub(crate) fn new(index: usize, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { index, pointer: shortened(pointer.into()), detail: shortened(detail.into()), header: None, place: None }
    }

    /// How many events these are the errors of.
    pub(crate) fn events(errors: &[Self]) -> usize {
        errors.chunk_by(|a, b| a.index == b.index).count()
    }

    fn not_json(index: usize, error: NotJson) -> Self {
        let place = Some(Place { line: error.line, column: error.column });
        Self { place, ..Self::new(index, "", format!("is not JSON: {}", error.detail)) }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// An event that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// Its record's key.
    pub(crate) key: Option<String>,
    /// Its own JSON.
    pub(crate) text: Bytes,
    /// Its record's headers.
    pub(crate) headers: Vec<RecordHeader>,
}

/// A checked batch.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What may be sent, in order.
    pub(crate) valid: Vec<Checked>,
    /// What is wrong with the others.
    pub(crate) errors: Vec<EventError>,
}

/// How a batch is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// What the events must obey.
    pub(crate) contract: &'a Contract,
    /// What the events do, where the route says so.
    pub(crate) operation: Option<Operation>,
    /// Who sends them.
    pub(crate) user: &'a str,
    /// Under which key they land at most once.
    pub(crate) idempotency_key: Option<&'a IdempotencyKey>,
    /// Whether the valid events are taken although others are not.
    pub(crate) is_lenient: bool,
}

/// Checks all events: all of them are valid, or the batch is refused, unless it is lenient and one is valid.
pub(crate) fn check(posted: &Posted, rules: Rules<'_>) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    let mut row = Vec::new();
    for index in 0..posted.len() {
        match posted.event(index) {
            Ok(event) => match check_event(index, event, posted.is_batch(), rules, &mut row) {
                Ok(checked) => verdict.valid.push(checked),
                Err(errors) => verdict.note(errors),
            },
            Err(Unreadable::NotJson(error)) if rules.is_lenient && posted.is_batch() => {
                verdict.note(vec![EventError::not_json(index, error)]);
            }
            Err(Unreadable::NotJson(error)) => return Err(Error::NotJson(error)),
            Err(Unreadable::TooLarge) => return Err(Error::TooLarge("An event may have 1,000,000 bytes.")),
            Err(Unreadable::Wrong(errors)) => verdict.note(errors),
        }
        row.clear();
        if !rules.is_lenient && verdict.errors.len() >= VIOLATIONS_LISTED {
            break;
        }
    }
    match (verdict.valid.is_empty(), verdict.errors.is_empty()) {
        (true, true) => Err(Error::Empty),
        (false, false) if rules.is_lenient => Ok(verdict),
        (_, false) => Err(Error::Violations(verdict.errors)),
        (false, true) => Ok(verdict),
    }
}

impl Verdict {
    /// Every wrong event is listed, by one error at least; all errors only as long as they are few.
    fn note(&mut self, errors: Vec<EventError>) {
        let room = VIOLATIONS_LISTED.saturating_sub(self.errors.len()).max(1);
        self.errors.extend(errors.into_iter().take(room));
    }
}

fn check_event(
    index: usize,
    mut event: Event,
    is_batch: bool,
    rules: Rules<'_>,
    row: &mut Vec<u8>,
) -> Result<Checked, Vec<EventError>> {
    let mut errors = std::mem::take(&mut event.errors);
    let at = |pointer: &str, detail: String| EventError::new(index, format!("{}{pointer}", event.within), detail);
    if let Some(operation) = rules.operation {
        match operation.state_in(&event.text, &mut event.value) {
            Ok(Some(text)) => event.text = text,
            Ok(None) => {}
            Err(detail) => errors.push(at("/op", detail)),
        }
    }
    if let Err(violations) = rules.contract.check(&event.text, &event.value, row) {
        errors.extend(violations.into_iter().map(|Violation { pointer, detail }| at(&pointer, detail)));
    }
    let key = rules.contract.record_key(&event.value);
    if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES) {
        let pointer = rules.contract.key.first().map_or("", |pointer| pointer.as_str());
        errors.push(at(pointer, format!("makes a record key of more than {KEY_BYTES} bytes")));
    }
    let key = key.map(std::borrow::Cow::into_owned);
    event.headers.push((event_id::USER.to_owned(), Some(rules.user.as_bytes().to_vec())));
    if let Some(idempotency_key) = rules.idempotency_key {
        let key = idempotency_key.of_event(index, is_batch);
        event.headers.push((event_id::IDEMPOTENCY_KEY.to_owned(), Some(key.into_bytes())));
    }
    if event.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>()
        > HEADERS_BYTES
    {
        errors.push(at("", format!("has attributes of more than {HEADERS_BYTES} bytes")));
    }
    if errors.is_empty() { Ok(Checked { index, key, text: event.text, headers: event.headers }) } else { Err(errors) }
}
