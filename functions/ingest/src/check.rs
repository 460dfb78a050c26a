//! Checks every event against its contract before anything is sent.

use bytes::Bytes;
use serde_json::Value;
use shared::contract::{Contract, VIOLATIONS_LISTED, Violation};
use shared::kafka::RecordHeader;
use shared::record::headers;

use crate::body::{PostedEvent, PostedEvents, Unreadable};
use crate::entities::Operation;
use crate::error::Error;
use crate::event_error::EventError;
use crate::idempotency::IdempotencyKey;

/// The maximum size of a record's key in bytes. With a key and headers of the maximum size, the largest event still
/// fits within a broker's default limit of 1,048,588 bytes per record.
const KEY_BYTES: usize = 16_384;
/// The maximum size of a record's headers in bytes.
const HEADERS_BYTES: usize = 16_384;

/// An event that is ready to be sent.
#[derive(Debug)]
pub(crate) struct ValidEvent {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// The key of its record.
    pub(crate) key: Option<String>,
    /// Its JSON text.
    pub(crate) text: Bytes,
    /// The headers of its record.
    pub(crate) headers: Vec<RecordHeader>,
}

/// A checked batch.
#[derive(Debug, Default)]
pub(crate) struct CheckedBatch {
    /// The valid events, in order.
    pub(crate) valid: Vec<ValidEvent>,
    /// The errors of the invalid events.
    pub(crate) errors: Vec<EventError>,
}

/// What a batch is checked against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The stream's contract.
    pub(crate) contract: &'a Contract,
    /// The events' operation, if the route implies one.
    pub(crate) operation: Option<Operation>,
    /// The sender.
    pub(crate) user: &'a str,
    /// The caller's idempotency key.
    pub(crate) idempotency_key: Option<&'a IdempotencyKey>,
    /// The request's valid `traceparent`.
    pub(crate) traceparent: Option<&'a str>,
    /// Whether valid events are accepted even if others are invalid.
    pub(crate) is_lenient: bool,
}

/// A checked event that an operator sends in place of a dead letter's event.
#[derive(Debug)]
pub struct CheckedEvent {
    /// The key of its record.
    pub key: Option<String>,
    /// Its JSON text.
    pub text: Bytes,
}

/// Checks an event, given as JSON, by the same rules as posted events.
///
/// # Errors
/// The event is not JSON, is too large, or breaks the contract.
pub fn check_event(contract: &Contract, event: Bytes) -> Result<CheckedEvent, Error> {
    let rules =
        Rules { contract, operation: None, user: "", idempotency_key: None, traceparent: None, is_lenient: false };
    let CheckedBatch { valid, .. } = check(&PostedEvents::single(event), rules)?;
    let ValidEvent { key, text, .. } = valid.into_iter().next().ok_or(Error::Empty)?;
    Ok(CheckedEvent { key, text })
}

/// Checks all events. With strict handling, the batch is rejected if any event is invalid. With lenient handling, it is
/// rejected if no event is valid.
pub(crate) fn check(posted: &PostedEvents, rules: Rules<'_>) -> Result<CheckedBatch, Error> {
    check_each(posted, rules, |_, _, _| Ok(()))
}

/// Checks all events as [`check`] does. Also passes each valid event, with its index and its encoded row, to
/// `on_valid`, which may find further violations.
pub(crate) fn check_each(
    posted: &PostedEvents,
    rules: Rules<'_>,
    mut on_valid: impl FnMut(usize, &Value, &[u8]) -> Result<(), Vec<Violation>>,
) -> Result<CheckedBatch, Error> {
    let mut batch = CheckedBatch::default();
    let mut row = Vec::new();
    for index in 0..posted.len() {
        match posted.event(index) {
            Ok(event) => {
                let within = event.within;
                match check_posted(index, event, posted.is_batch(), rules, &mut row) {
                    Ok((checked, value)) => match on_valid(index, &value, &row) {
                        Ok(()) => batch.valid.push(checked),
                        Err(violations) => batch.note(errors_at(index, within, violations)),
                    },
                    Err(errors) => batch.note(errors),
                }
            }
            Err(Unreadable::NotJson(error)) if rules.is_lenient && posted.is_batch() => {
                batch.note(vec![EventError::not_json(index, error)]);
            }
            Err(Unreadable::NotJson(error)) => return Err(Error::NotJson(error)),
            Err(Unreadable::TooLarge) => return Err(Error::TooLarge("An event must not exceed 1,000,000 bytes.")),
            Err(Unreadable::Envelope(errors)) => batch.note(errors),
        }
        row.clear();
        if !rules.is_lenient && batch.errors.len() >= VIOLATIONS_LISTED {
            break;
        }
    }
    match (batch.valid.is_empty(), batch.errors.is_empty()) {
        (true, true) => Err(Error::Empty),
        (false, false) if rules.is_lenient => Ok(batch),
        (_, false) => {
            batch.errors.truncate(VIOLATIONS_LISTED);
            Err(Error::Violations(batch.errors))
        }
        (false, true) => Ok(batch),
    }
}

impl CheckedBatch {
    /// Adds an event's errors. Once the list has reached its limit, each further invalid event gets only one error.
    fn note(&mut self, errors: Vec<EventError>) {
        let room = VIOLATIONS_LISTED.saturating_sub(self.errors.len()).max(1);
        self.errors.extend(errors.into_iter().take(room));
    }
}

/// Converts an event's violations into errors. `within` is a JSON pointer to the event in the posted document.
fn errors_at(index: usize, within: &str, violations: Vec<Violation>) -> Vec<EventError> {
    let error = |Violation { pointer, detail }: Violation| EventError::new(index, format!("{within}{pointer}"), detail);
    violations.into_iter().map(error).collect()
}

fn check_posted(
    index: usize,
    mut event: PostedEvent,
    is_batch: bool,
    rules: Rules<'_>,
    row: &mut Vec<u8>,
) -> Result<(ValidEvent, Value), Vec<EventError>> {
    let mut errors = std::mem::take(&mut event.errors);
    let at = |pointer: &str, detail: String| EventError::new(index, format!("{}{pointer}", event.within), detail);
    if let Some(operation) = rules.operation {
        match operation.add_to(&event.text, &mut event.value) {
            Ok(Some(text)) => event.text = text,
            Ok(None) => {}
            Err(detail) => errors.push(at("/op", detail)),
        }
    }
    if let Err(violations) = rules.contract.check(&event.text, &event.value, None, row) {
        errors.extend(errors_at(index, event.within, violations));
    }
    let key = rules.contract.record_key(&event.value);
    if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES) {
        let pointer = rules.contract.key.first().map_or("", |pointer| pointer.as_str());
        errors.push(at(pointer, format!("must not exceed {KEY_BYTES} bytes as a record key")));
    }
    let key = key.map(std::borrow::Cow::into_owned);
    event.headers.push((headers::USER.to_owned(), Some(rules.user.as_bytes().to_vec())));
    if let Some(idempotency_key) = rules.idempotency_key {
        let key = idempotency_key.for_event(index, is_batch);
        event.headers.push((headers::IDEMPOTENCY_KEY.to_owned(), Some(key.into_bytes())));
    }
    if let Some(traceparent) = rules.traceparent {
        event.headers.push((headers::TRACEPARENT.to_owned(), Some(traceparent.as_bytes().to_vec())));
    }
    if event.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>()
        > HEADERS_BYTES
    {
        errors.push(at("", format!("must not have more than {HEADERS_BYTES} bytes of attributes")));
    }
    if errors.is_empty() {
        Ok((ValidEvent { index, key, text: event.text, headers: event.headers }, event.value))
    } else {
        Err(errors)
    }
}
