//! What was posted: the body, decoded within the limits and told apart into events.

mod cloud_event;
mod form;
mod media_type;
mod read;
mod split;

use std::ops::Range;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;
use shared::contract::{Contract, NotJson, json};
use shared::kafka::RecordHeader;

use crate::check::EventError;
use crate::error::Error;
use media_type::MediaType;
use shared::http::fields::Fields;

/// The largest body, decoded, in bytes: what Lambda takes as a request.
pub(crate) const BODY_BYTES: usize = 6 * 1_024 * 1_024;
/// The largest event in bytes.
pub(crate) const EVENT_BYTES: usize = 1_000_000;
/// The most events in a batch.
pub(crate) const EVENTS: usize = 10_000;

/// The events of one request, each at its place in the body. They are read one by one, so that not all of them are
/// in memory as values at once.
#[derive(Debug)]
pub(crate) struct Posted {
    body: Bytes,
    places: Vec<Range<usize>>,
    is_batch: bool,
    envelope: Envelope,
}

/// What is around each event's own JSON.
#[derive(Debug)]
enum Envelope {
    /// Nothing.
    None,
    /// A CloudEvent in structured mode.
    Structured,
    /// A CloudEvent's attributes, from HTTP headers, and what is wrong with them.
    Binary(Vec<RecordHeader>, Vec<EventError>),
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its own JSON, as it was posted.
    pub(crate) text: Bytes,
    /// The same, read.
    pub(crate) value: Value,
    /// The headers of its record.
    pub(crate) headers: Vec<RecordHeader>,
    /// Where it stands in what was posted, as a JSON pointer.
    pub(crate) within: &'static str,
    /// What is wrong around it.
    pub(crate) errors: Vec<EventError>,
}

/// Why an event cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It is not JSON, where in the body.
    NotJson(NotJson),
    /// It is larger than an event may be.
    TooLarge,
    /// Its envelope is wrong.
    Wrong(Vec<EventError>),
}

/// Reads the events that a request posts to a stream.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Posted, Error> {
    const ACCEPTED: &str = "application/json, application/x-ndjson, application/cloudevents+json and \
                            application/cloudevents-batch+json";
    let kind = media_type::of(headers, ACCEPTED)?;
    if kind == MediaType::Form {
        return Err(Error::MediaType { accepted: ACCEPTED });
    }
    let body = read::read(headers, body).await?;
    Posted::new(kind, headers, body)
}

/// Reads what a request posts to an entity's own route: as to its stream, or the fields of a form. Without a body,
/// the query's fields are taken.
pub(crate) async fn read_entity(
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
    contract: &Contract,
) -> Result<Posted, Error> {
    const ACCEPTED: &str = "application/json, application/x-www-form-urlencoded, application/x-ndjson, \
                            application/cloudevents+json and application/cloudevents-batch+json";
    let kind = media_type::of(headers, ACCEPTED)?;
    let body = read::read(headers, body).await?;
    match query {
        Some(query) if body.is_empty() => form::event(Fields::of_query(Some(query))?, contract),
        _ if kind == MediaType::Form => form::event(Fields::parse(&body)?, contract),
        _ => Posted::new(kind, headers, body),
    }
}

impl Posted {
    fn new(kind: MediaType, headers: &HeaderMap, body: Bytes) -> Result<Self, Error> {
        let (places, is_batch, envelope) = match kind {
            MediaType::NdJson => (split::lines(&body)?, true, Envelope::None),
            MediaType::CloudEvent => (vec![split::trimmed(&body)], false, Envelope::Structured),
            MediaType::CloudEventBatch if split::is_array(&body) => {
                (split::elements(&body)?, true, Envelope::Structured)
            }
            MediaType::CloudEventBatch => {
                json::parse(&body).map_err(Error::NotJson)?;
                return Err(Error::Violations(vec![EventError::new(0, "", "should be an array of CloudEvents")]));
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

    /// A batch of events, each as its JSON text.
    pub(crate) fn batch(events: &[String]) -> Self {
        let mut body = Vec::with_capacity(events.iter().map(String::len).sum());
        let places = events.iter().map(|event| {
            let start = body.len();
            body.extend_from_slice(event.as_bytes());
            start..body.len()
        });
        Self { places: places.collect(), body: body.into(), is_batch: true, envelope: Envelope::None }
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether they were posted as a batch, be it of one.
    pub(crate) fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// The event at `index`.
    pub(crate) fn event(&self, index: usize) -> Result<Event, Unreadable> {
        let place = self.places.get(index).cloned().unwrap_or_default();
        let text = self.body.slice(place.clone());
        if text.len() > EVENT_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let value =
            json::parse(&text).map_err(|error| Unreadable::NotJson(split::in_body(&self.body, place.start, error)))?;
        match &self.envelope {
            Envelope::None => Ok(Event { text, value, headers: Vec::new(), within: "", errors: Vec::new() }),
            Envelope::Structured => cloud_event::open(index, &text, value).map_err(Unreadable::Wrong),
            Envelope::Binary(attributes, errors) => {
                Ok(Event { text, value, headers: attributes.clone(), within: "", errors: errors.clone() })
            }
        }
    }
}

#[cfg(test)]
mod tests;
