//! An event in a request's body.

use bytes::Bytes;
use serde_json::Value;
use shared::contract::NotJson;
use shared::kafka::RecordHeader;

use crate::event_error::EventError;

/// One event.
#[derive(Debug)]
pub(crate) struct PostedEvent {
    /// The event's JSON text, as posted.
    pub(crate) text: Bytes,
    /// The same text, parsed.
    pub(crate) value: Value,
    /// The headers of its record.
    pub(crate) headers: Vec<RecordHeader>,
    /// A JSON pointer to the event in the posted document.
    pub(crate) within: &'static str,
    /// The errors in its envelope.
    pub(crate) errors: Vec<EventError>,
}

/// Why an event cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It is not JSON. The error includes its place in the body.
    NotJson(NotJson),
    /// It exceeds the maximum size.
    TooLarge,
    /// Its envelope is invalid.
    Envelope(Vec<EventError>),
}
