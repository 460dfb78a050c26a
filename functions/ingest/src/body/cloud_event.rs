//! Reads CloudEvents 1.0 from HTTP requests (HTTP protocol binding, JSON event format). Converts their attributes to
//! record headers (Kafka protocol binding, section 3.2): the attribute `datacontenttype` becomes the header
//! `content-type`, and each other attribute becomes a header with the prefix `ce_`.

use std::borrow::Cow;

use axum::http::HeaderMap;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use shared::contract::{json, pointer};
use shared::http::body::{essence, is_utf8};
use shared::kafka::RecordHeader;

use super::attributes::{Attributes, REQUIRED, is_string};
use super::event::PostedEvent;
use super::split;
use crate::event_error::EventError;
use crate::header_value::unquoted;

const JSON: &str = "application/json";

/// Returns whether the headers carry CloudEvents attributes (HTTP binding, section 3.1.3).
pub(super) fn is_in(headers: &HeaderMap) -> bool {
    // These are the headers of the `REQUIRED` attributes. They are written out, because this check runs for every
    // request.
    ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|name| headers.contains_key(*name))
}

/// Returns whether a media type is JSON in UTF-8 (CloudEvents JSON format, section 3.1).
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    is_utf8(media_type)
        && essence
            .split_once('/')
            .is_some_and(|(_, subtype)| subtype == "json" || (subtype.ends_with("+json") && subtype.len() > 5))
}

/// Converts the attributes in HTTP headers into record headers. Also returns the errors in the attributes.
pub(super) fn from_headers(headers: &HeaderMap) -> (Vec<RecordHeader>, Vec<EventError>) {
    let mut attributes = Attributes::default();
    let mut errors = Vec::new();
    let mut note = |header: &str, detail: &str| {
        let error = EventError::new(0, "", format!("header {header} {detail}"));
        errors.push(EventError { header: Some(header.to_owned()), ..error });
    };
    for header in headers.keys() {
        let Some(name) = header.as_str().strip_prefix("ce-") else {
            continue;
        };
        let mut values = headers.get_all(header).iter();
        let value = values.next().and_then(|value| decoded(value.as_bytes()));
        let added = match value {
            _ if values.next().is_some() => Err("appears twice"),
            _ if name == "datacontenttype" => Err("must not be set; use `Content-Type` instead"),
            Some(value) => attributes.add(name, value),
            None => Err("is not valid UTF-8"),
        };
        if let Err(detail) = added {
            note(header.as_str(), detail);
        }
    }
    let is_given = |name: &str| headers.contains_key(format!("ce-{name}"));
    for name in REQUIRED.into_iter().filter(|name| !is_given(name)) {
        note(&format!("ce-{name}"), "is missing");
    }
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
    attributes.content_type(content_type.unwrap_or(JSON));
    (attributes.into_headers(), errors)
}

/// Decodes a header's value: percent-encoded UTF-8, possibly quoted (HTTP binding, section 3.1.3.2).
fn decoded(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    percent_decode_str(&unquoted(text)).decode_utf8().ok().map(Cow::into_owned)
}

/// Reads an event in structured mode, given its envelope both as text and parsed.
pub(super) fn from_envelope(index: usize, text: &Bytes, envelope: Value) -> Result<PostedEvent, Vec<EventError>> {
    let error = |pointer: &str, detail: &str| EventError::new(index, pointer, detail);
    let Value::Object(mut members) = envelope else {
        return Err(vec![error("", "must be an object: a CloudEvent in structured mode")]);
    };
    let (data, data_base64) = (members.remove("data"), members.remove("data_base64"));
    let (headers, mut errors) = from_members(index, &members);
    let event = match (data, data_base64) {
        (Some(_), Some(_)) => Err(error("/data_base64", "must not be set together with `data`")),
        (None, None) => Err(error("/data", "is missing")),
        (Some(value), None) => match raw_data(text) {
            Some(text) => Ok((text, value, "/data")),
            None => Err(error("/data", "cannot be parsed")),
        },
        (None, Some(data)) => from_base64(&data)
            .map(|(text, value)| (text, value, "/data_base64"))
            .map_err(|detail| error("/data_base64", &detail)),
    };
    match event {
        Ok((text, value, within)) => Ok(PostedEvent { text, value, headers, within, errors }),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

fn from_members(index: usize, members: &Map<String, Value>) -> (Vec<RecordHeader>, Vec<EventError>) {
    let mut attributes = Attributes::default();
    let mut errors = Vec::new();
    let mut note = |name: &str, detail: &str| errors.push(EventError::new(index, pointer::join([name]), detail));
    let mut content_type = JSON;
    for (name, value) in members {
        let text = match value {
            // An attribute with the value null counts as not set (JSON format, section 2.2).
            Value::Null => continue,
            Value::String(text) if name == "datacontenttype" => {
                content_type = text;
                if !is_json(text) {
                    note(name, "must be JSON in UTF-8");
                }
                continue;
            }
            Value::String(text) => text.clone(),
            Value::Bool(boolean) => boolean.to_string(),
            Value::Number(number) if number.as_i64().is_some_and(|integer| i32::try_from(integer).is_ok()) => {
                number.to_string()
            }
            Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                note(name, "must be a string, a boolean or an integer of 32 bits");
                continue;
            }
        };
        let is_right_type = value.is_string() || !is_string(name);
        if let Err(detail) = if is_right_type { attributes.add(name, text) } else { Err("must be a string") } {
            note(name, detail);
        }
    }
    for name in REQUIRED.into_iter().filter(|name| members.get(*name).is_none_or(Value::is_null)) {
        note(name, "is missing");
    }
    attributes.content_type(content_type);
    (attributes.into_headers(), errors)
}

/// Returns the JSON text of the envelope's `data`.
fn raw_data(envelope: &Bytes) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Envelope<'e> {
        #[serde(borrow)]
        data: &'e RawValue,
    }
    let data = serde_json::from_slice::<Envelope<'_>>(envelope).ok()?.data.get();
    Some(envelope.slice_ref(data.as_bytes()))
}

fn from_base64(data: &Value) -> Result<(Bytes, Value), String> {
    let text = data.as_str().ok_or("must be a string")?;
    let decoded = base64_simd::STANDARD.decode_to_vec(text).map_err(|_| "must be base64")?;
    let value = json::parse(&decoded).map_err(|error| format!("does not contain JSON: {error}"))?;
    let trimmed = split::trimmed(&decoded);
    Ok((Bytes::from(decoded).slice(trimmed), value))
}
