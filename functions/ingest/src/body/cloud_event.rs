//! CloudEvents 1.0: from HTTP (HTTP protocol binding, JSON event format) to a record's headers (Kafka protocol
//! binding, section 3.2: attributes as `ce_*`, `datacontenttype` as `content-type`).

use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use shared::contract::{json, pointer};
use shared::kafka::RecordHeader;

use super::{Event, media_type};
use crate::check::EventError;
use crate::prefer::unquoted;
use shared::http::fields::percent_decode;

const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
const JSON: &str = "application/json";

/// Whether the headers carry an event's attributes (HTTP binding, section 3.1.3).
pub(super) fn is_in(headers: &HeaderMap) -> bool {
    REQUIRED.iter().any(|name| headers.contains_key(format!("ce-{name}")))
}

/// The record headers of an event whose attributes are HTTP headers, and what is wrong with these.
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
            _ if values.next().is_some() => Err("is given twice"),
            _ if name == "datacontenttype" => Err("is not used: Content-Type says it"),
            Some(value) => attributes.add(name, value),
            None => Err("is not UTF-8"),
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
    (attributes.0, errors)
}

/// A header's value: percent-encoded UTF-8, which may be quoted (HTTP binding, section 3.1.3.2).
fn decoded(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    String::from_utf8(percent_decode(unquoted(text).as_bytes())).ok()
}

/// The event in an envelope in structured mode.
pub(super) fn open(index: usize, text: &Bytes, envelope: Value) -> Result<Event, Vec<EventError>> {
    let error = |pointer: &str, detail: &str| EventError::new(index, pointer, detail);
    let Value::Object(mut members) = envelope else {
        return Err(vec![error("", "is not a CloudEvent: it should be an object")]);
    };
    let (data, data_base64) = (members.remove("data"), members.remove("data_base64"));
    let (headers, mut errors) = from_members(index, &members);
    let event = match (data, data_base64) {
        (Some(_), Some(_)) => Err(error("/data_base64", "stands beside data")),
        (None, None) => Err(error("/data", "is missing")),
        (Some(value), None) => match raw_data(text) {
            Some(text) => Ok((text, value, "/data")),
            None => Err(error("/data", "cannot be read")),
        },
        (None, Some(data)) => from_base64(&data)
            .map(|(text, value)| (text, value, "/data_base64"))
            .map_err(|detail| error("/data_base64", &detail)),
    };
    match event {
        Ok((text, value, within)) => Ok(Event { text, value, headers, within, errors }),
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
            // An attribute that is null is not set (JSON format, section 2.2).
            Value::Null => continue,
            Value::String(text) if name == "datacontenttype" => {
                content_type = text;
                if !media_type::is_json(text) {
                    note(name, "is not JSON in UTF-8, which the stream takes");
                }
                continue;
            }
            Value::String(text) => text.clone(),
            Value::Bool(boolean) => boolean.to_string(),
            Value::Number(number) if number.is_i64() => number.to_string(),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                note(name, "is not a string, a boolean or an integer, as attributes are");
                continue;
            }
        };
        let is_text = value.is_string() || !REQUIRED.contains(&name.as_str());
        if let Err(detail) = if is_text { attributes.add(name, text) } else { Err("is not a string") } {
            note(name, detail);
        }
    }
    for name in REQUIRED.into_iter().filter(|name| members.get(*name).is_none_or(Value::is_null)) {
        note(name, "is missing");
    }
    attributes.content_type(content_type);
    (attributes.0, errors)
}

/// The data's own text.
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
    let text = data.as_str().ok_or("is not a string")?;
    let decoded = base64_simd::STANDARD.decode_to_vec(text).map_err(|_| "is not base64")?;
    let value = json::parse(&decoded).map_err(|error| format!("does not hold JSON: {error}"))?;
    let trimmed = super::split::trimmed(&decoded);
    Ok((Bytes::from(decoded).slice(trimmed), value))
}

/// Attributes as a record's headers.
#[derive(Debug, Default)]
struct Attributes(Vec<RecordHeader>);

impl Attributes {
    /// Adds an attribute by the rules for names and strings (CloudEvents, section 3).
    fn add(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        match name {
            "" => return Err("has no name"),
            name if !is_name(name) => return Err("is not named with a-z and 0-9, as attributes are"),
            "specversion" if value != "1.0" => return Err("is not 1.0"),
            name if REQUIRED.contains(&name) && value.is_empty() => return Err("is empty"),
            _ if value.chars().any(char::is_control) => return Err("holds a control character"),
            _ => {}
        }
        self.0.push((format!("ce_{name}"), Some(value.into_bytes())));
        Ok(())
    }

    fn content_type(&mut self, media_type: &str) {
        self.0.push(("content-type".to_owned(), Some(media_type.as_bytes().to_vec())));
    }
}
