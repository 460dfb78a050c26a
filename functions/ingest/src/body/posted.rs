//! The events of one request.

use std::ops::Range;

use axum::http::HeaderMap;
use bytes::Bytes;
use shared::contract::json;
use shared::kafka::RecordHeader;

use super::event::{PostedEvent, Unreadable};
use super::media_type::MediaType;
use super::{cloud_event, split};
use crate::error::Error;
use crate::event_error::EventError;

/// The maximum size of an event in bytes.
const MAX_EVENT_BYTES: usize = 1_000_000;

/// The events of one request, by their position in the body. They are parsed one by one, so that the parsed values are
/// never all in memory at once.
#[derive(Debug)]
pub(crate) struct PostedEvents {
    body: Bytes,
    places: Vec<Range<usize>>,
    is_batch: bool,
    envelope: Envelope,
}

/// The envelope around each event's JSON.
#[derive(Debug)]
enum Envelope {
    /// No envelope.
    None,
    /// A CloudEvent in structured mode.
    Structured,
    /// The attributes of a CloudEvent from HTTP headers, and the errors in these attributes.
    Binary(Vec<RecordHeader>, Vec<EventError>),
}

impl PostedEvents {
    /// Finds the events in a body of this kind.
    pub(super) fn new(kind: MediaType, headers: &HeaderMap, body: Bytes) -> Result<Self, Error> {
        let (places, is_batch, envelope) = match kind {
            MediaType::NdJson => (split::lines(&body)?, true, Envelope::None),
            MediaType::CloudEvent => (vec![split::trimmed(&body)], false, Envelope::Structured),
            MediaType::CloudEventBatch if split::is_array(&body) => {
                (split::elements(&body)?, true, Envelope::Structured)
            }
            MediaType::CloudEventBatch => {
                let start = split::trimmed(&body).start;
                json::parse(&body[start..]).map_err(|error| Error::NotJson(split::in_body(&body, start, error)))?;
                return Err(Error::Violations(vec![EventError::new(0, "", "must be an array of CloudEvents")]));
            }
            MediaType::CloudEventData => {
                let (attributes, errors) = cloud_event::from_headers(headers);
                (vec![split::trimmed(&body)], false, Envelope::Binary(attributes, errors))
            }
            MediaType::Json | MediaType::Form if split::is_array(&body) => {
                (split::elements(&body)?, true, Envelope::None)
            }
            MediaType::Json | MediaType::Form => (vec![split::trimmed(&body)], false, Envelope::None),
        };
        Ok(Self { body, places, is_batch, envelope })
    }

    /// Creates a single event from JSON text. The event does not count as a batch.
    pub(crate) fn single(event: Bytes) -> Self {
        let place = 0..event.len();
        Self { body: event, places: vec![place], is_batch: false, envelope: Envelope::None }
    }

    /// Creates a batch from JSON texts.
    pub(crate) fn batch(events: &[String]) -> Self {
        let mut body = Vec::with_capacity(events.iter().map(String::len).sum());
        let places = events.iter().map(|event| {
            let start = body.len();
            body.extend_from_slice(event.as_bytes());
            start..body.len()
        });
        Self { places: places.collect(), body: body.into(), is_batch: true, envelope: Envelope::None }
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether the events were posted as a batch. A batch may have only one event.
    pub(crate) fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Reads the event at `index`.
    pub(crate) fn event(&self, index: usize) -> Result<PostedEvent, Unreadable> {
        let place = self.places.get(index).cloned().unwrap_or_default();
        let text = self.body.slice(place.clone());
        if text.len() > MAX_EVENT_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let value =
            json::parse(&text).map_err(|error| Unreadable::NotJson(split::in_body(&self.body, place.start, error)))?;
        match &self.envelope {
            Envelope::None => Ok(PostedEvent { text, value, headers: Vec::new(), within: "", errors: Vec::new() }),
            Envelope::Structured => cloud_event::from_envelope(index, &text, value).map_err(Unreadable::Envelope),
            Envelope::Binary(attributes, errors) => {
                Ok(PostedEvent { text, value, headers: attributes.clone(), within: "", errors: errors.clone() })
            }
        }
    }
}
