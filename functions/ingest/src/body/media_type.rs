//! What kind of body a request has, by its `Content-Type`.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use shared::http::body::{essence, is_utf8};

use super::cloud_event;
use crate::error::Error;

/// The kinds of body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// One event, or an array of them.
    Json,
    /// An event per line.
    NdJson,
    /// A CloudEvent in structured mode.
    CloudEvent,
    /// An array of CloudEvents.
    CloudEventBatch,
    /// A CloudEvent in binary mode: its data.
    CloudEventData,
    /// Fields of a form.
    Form,
}

/// The kind of body that the headers tell of: JSON, when they do not. Otherwise it is one of `accepted`.
pub(super) fn of(headers: &HeaderMap, accepted: &'static str) -> Result<MediaType, Error> {
    let unsupported = || Error::MediaType { accepted };
    let content_type = match headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| unsupported())?,
        None => "application/json",
    };
    if !is_utf8(content_type) {
        return Err(unsupported());
    }
    match essence(content_type).as_str() {
        "application/cloudevents+json" => Ok(MediaType::CloudEvent),
        "application/cloudevents-batch+json" => Ok(MediaType::CloudEventBatch),
        // What is not a CloudEvents media type is binary mode (HTTP binding, section 3).
        _ if cloud_event::is_in(headers) && is_json(content_type) => Ok(MediaType::CloudEventData),
        _ if cloud_event::is_in(headers) => Err(unsupported()),
        "application/json" => Ok(MediaType::Json),
        "application/x-ndjson" => Ok(MediaType::NdJson),
        "application/x-www-form-urlencoded" => Ok(MediaType::Form),
        _ => Err(unsupported()),
    }
}

/// Whether a media type means JSON (CloudEvents JSON format, section 3.1).
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    is_utf8(media_type)
        && essence
            .split_once('/')
            .is_some_and(|(_, subtype)| subtype == "json" || (subtype.ends_with("+json") && subtype.len() > 5))
}
