//! Columns that are filled from a record's metadata instead of its event.

use serde::Deserialize;
use serde_json::Value;

use super::column::{ColumnType, Unfit, timestamptz_micros};
use super::pointer::Pointer;

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A value in the event. If the value is absent, the column is NULL.
    Event(Pointer),
    /// A part of the record's metadata.
    Meta(Meta),
}

/// A part of a record's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meta {
    /// The topic's name.
    Topic,
    /// The partition's number.
    Partition,
    /// The offset.
    Offset,
    /// The record's time.
    Timestamp,
    /// The user who sent the event over HTTP.
    User,
    /// The trace id in the record's `traceparent` header.
    TraceId,
}

/// The metadata of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'r> {
    /// The topic.
    pub topic: &'r str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's time, in milliseconds since the Unix epoch. Kafka writes -1 for a record without a time.
    pub timestamp_ms: i64,
    /// The value of the header `sluice-user`.
    pub user: Option<&'r [u8]>,
    /// The value of the header `traceparent`.
    pub traceparent: Option<&'r [u8]>,
}

/// The metadata that is known before a record is sent to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsent<'r> {
    /// The topic.
    pub topic: &'r str,
    /// The user who sends the event.
    pub user: &'r str,
    /// The request's `traceparent` header, if it is valid.
    pub traceparent: Option<&'r str>,
}

impl Source {
    /// Returns the pointer into the event, if the value comes from the event.
    pub fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Event(pointer) => Some(pointer),
            Self::Meta(_) => None,
        }
    }
}

impl Meta {
    /// Returns the column types that can hold this metadata.
    pub(super) fn types(self) -> &'static [ColumnType] {
        match self {
            Self::Topic | Self::User | Self::TraceId => &[ColumnType::Text],
            Self::Partition => &[ColumnType::Integer],
            Self::Offset => &[ColumnType::Bigint],
            Self::Timestamp => &[ColumnType::Timestamptz, ColumnType::Bigint],
        }
    }

    /// Returns whether the metadata can be a version. Within a partition, later records have higher offsets and,
    /// usually, later times.
    pub(super) fn is_version(self) -> bool {
        match self {
            Self::Offset | Self::Timestamp => true,
            Self::Topic | Self::Partition | Self::User | Self::TraceId => false,
        }
    }

    /// Appends the value, preceded by its length, as [`ColumnType::encode`] does. Without metadata, the value is NULL.
    pub(super) fn encode(
        self,
        metadata: Option<&Metadata<'_>>,
        ty: ColumnType,
        out: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        let Some(metadata) = metadata else {
            put(None, out);
            return Ok(());
        };
        match self {
            Self::Topic => put(Some(metadata.topic.as_bytes()), out),
            Self::Partition => put(Some(&metadata.partition.to_be_bytes()), out),
            Self::Offset => put(Some(&metadata.offset.to_be_bytes()), out),
            Self::Timestamp if metadata.timestamp_ms < 0 => put(None, out),
            Self::Timestamp if ty == ColumnType::Timestamptz => {
                let micros = timestamptz_micros(metadata.timestamp_ms);
                put(Some(&micros.ok_or(Unfit("a record time before the year 294277"))?.to_be_bytes()), out);
            }
            Self::Timestamp => put(Some(&metadata.timestamp_ms.to_be_bytes()), out),
            Self::User => put(metadata.user.filter(|user| is_text(user)), out),
            Self::TraceId => put(metadata.traceparent.and_then(trace_id).map(str::as_bytes), out),
        }
        Ok(())
    }

    /// Returns the value as it is known before the record is sent. A value that only Kafka can provide is null.
    pub(super) fn show(self, unsent: &Unsent<'_>) -> Value {
        match self {
            Self::Topic => unsent.topic.into(),
            Self::User => unsent.user.into(),
            Self::TraceId => unsent.traceparent.and_then(|header| trace_id(header.as_bytes())).into(),
            Self::Partition | Self::Offset | Self::Timestamp => Value::Null,
        }
    }
}

/// Appends a value, preceded by its length. Metadata is short, so the length always fits into 32 bits.
fn put(value: Option<&[u8]>, out: &mut Vec<u8>) {
    let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
    out.extend(length.to_be_bytes());
    out.extend_from_slice(value.unwrap_or_default());
}

/// Returns whether PostgreSQL can store the bytes as text.
fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// Returns the trace id in the value of a `traceparent` header.
///
/// The format is `version-traceid-parentid-flags` in lower-case hex
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>). Version `ff` is invalid, and so are ids that consist
/// only of zeros. In versions after `00`, more fields may follow.
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut fields = text.split('-');
    let mut field = |length: usize| {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        fields.next().filter(|field| field.len() == length && field.bytes().all(is_hex))
    };
    let (version, trace, parent, _flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let has_more = fields.next().is_some();
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    let is_valid = version != "ff" && (version != "00" || !has_more) && !is_zero(trace) && !is_zero(parent);
    is_valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_read_from_valid_headers_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (header, expected) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace)),
            (format!("cc-{trace}-00f067aa0ba902b7-01-what-follows"), Some(trace)),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), None),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{trace}-0000000000000000-01"), None),
            (format!("00-{trace}-00f067aa0ba902b7"), None),
            (String::new(), None),
        ] {
            assert_eq!(trace_id(header.as_bytes()), expected, "{header}");
        }
        assert_eq!(trace_id(b"00-\xff"), None);
    }
}
