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
    /// The headers of the event's record.
    pub(crate) headers: Vec<RecordHeader>,
    /// A JSON pointer to the event in the posted document.
    pub(crate) within: &'static str,
    /// The errors in the event's envelope.
    pub(crate) errors: Vec<EventError>,
}

/// Why an event cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The event is not JSON. The error includes the place of the mistake in the body.
    NotJson(NotJson),
    /// The event exceeds the maximum size.
    TooLarge,
    /// The envelope of the event is invalid.
    Envelope(Vec<EventError>),
}
