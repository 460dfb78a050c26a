//! The kind of a request's body, by its `Content-Type`.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use shared::http::body::{essence, is_utf8};

use super::cloud_event::{self, is_json};
use crate::error::Error;

/// The kinds of body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// One event, or an array of events.
    Json,
    /// An event per line.
    NdJson,
    /// A CloudEvent in structured mode.
    CloudEvent,
    /// An array of CloudEvents.
    CloudEventBatch,
    /// The data of a CloudEvent in binary mode.
    CloudEventData,
    /// Fields of a form.
    Form,
}

impl MediaType {
    /// Returns the kind of body according to the headers. The default is JSON. If the media type is not supported, the
    /// error lists `accepted`.
    pub(super) fn from_headers(headers: &HeaderMap, accepted: &'static str) -> Result<Self, Error> {
        let unsupported = || Error::MediaType { accepted };
        let content_type = match headers.get(CONTENT_TYPE) {
            Some(value) => value.to_str().map_err(|_| unsupported())?,
            None => "application/json",
        };
        if !is_utf8(content_type) {
            return Err(unsupported());
        }
        match essence(content_type).as_str() {
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => Ok(Self::CloudEventBatch),
            // With CloudEvents headers, any other media type means binary mode (HTTP binding, section 3).
            _ if cloud_event::is_in(headers) && is_json(content_type) => Ok(Self::CloudEventData),
            _ if cloud_event::is_in(headers) => Err(unsupported()),
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" => Ok(Self::NdJson),
            "application/x-www-form-urlencoded" => Ok(Self::Form),
            _ => Err(unsupported()),
        }
    }
}
