//! The event's JSON, written record by record into one buffer.

use base64_simd::STANDARD;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _, Timestamp};

/// Lambda's quota of an invocation's payload: 6 MiB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MOST_BYTES: usize = 6 * 1024 * 1024;

const END: &[u8] = b"]}}";

/// Where the records come from, as the event says it.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    /// Everything before the first record.
    start: Vec<u8>,
    /// What every record begins with.
    record_start: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(source: &Source, bootstrap_servers: &str, topic: &str, partition: i32) -> Self {
        let servers = serde_json::Value::from(bootstrap_servers);
        // A topic's name has letters, digits, dot, underscore and hyphen only.
        let origin = match source {
            Source::ManagedStreaming { cluster_arn } => {
                let arn = serde_json::Value::from(cluster_arn.as_str());
                format!(r#""eventSource":"aws:kafka","eventSourceArn":{arn}"#)
            }
            Source::SelfManaged => r#""eventSource":"SelfManagedKafka""#.to_owned(),
        };
        Self {
            start: format!(r#"{{{origin},"bootstrapServers":{servers},"records":{{"{topic}-{partition}":["#)
                .into_bytes(),
            record_start: format!(r#"{{"topic":"{topic}","partition":{partition},"offset":"#).into_bytes(),
        }
    }
}

/// Which kind of cluster the event says that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Amazon MSK.
    ManagedStreaming { cluster_arn: String },
    /// Any other.
    SelfManaged,
}

/// A batch that is complete.
#[derive(Debug)]
pub(super) struct Batch {
    /// The event.
    pub(super) payload: Vec<u8>,
    /// How many records are in it.
    pub(super) records: usize,
    /// What is committed once the function has succeeded: the offset after the last record's.
    pub(super) next_offset: i64,
}

/// A batch in the making.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    envelope: Envelope,
    most_records: usize,
    most_bytes: usize,
    json: Vec<u8>,
    records: usize,
    next_offset: i64,
    /// A record that did not fit any more: the next batch's first.
    left_over: Option<LeftOver>,
}

#[derive(Debug)]
struct LeftOver {
    json: Vec<u8>,
    next_offset: i64,
}

impl BatchBuilder {
    pub(super) fn new(envelope: Envelope, most_records: usize, most_bytes: usize) -> Self {
        let json = envelope.start.clone();
        Self { envelope, most_records, most_bytes, json, records: 0, next_offset: 0, left_over: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether nothing may be added before [`BatchBuilder::take`].
    pub(super) fn is_full(&self) -> bool {
        self.records >= self.most_records || self.left_over.is_some()
    }

    /// Adds a record; or keeps it for the next batch if this one has no room for it, and is full then.
    ///
    /// A record that is too large for any batch is delivered alone, for the function to refuse.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let before = self.json.len();
        if !self.is_empty() {
            self.json.push(b',');
        }
        let start = self.json.len();
        write_record(&mut self.json, &self.envelope.record_start, message);
        let next_offset = message.offset() + 1;
        if self.json.len() + END.len() > self.most_bytes && !self.is_empty() {
            self.left_over = Some(LeftOver { json: self.json[start..].to_vec(), next_offset });
            self.json.truncate(before);
            return;
        }
        self.records += 1;
        self.next_offset = next_offset;
    }

    /// The batch as it is; a record that was left over begins the next one.
    pub(super) fn take(&mut self) -> Batch {
        // The next batch is likely of about this one's size.
        let mut next = Vec::with_capacity((self.json.len() + self.json.len() / 8).min(self.most_bytes));
        next.extend_from_slice(&self.envelope.start);
        let mut batch = Batch {
            payload: std::mem::replace(&mut self.json, next),
            records: std::mem::take(&mut self.records),
            next_offset: self.next_offset,
        };
        batch.payload.extend_from_slice(END);
        if let Some(left_over) = self.left_over.take() {
            self.json.extend_from_slice(&left_over.json);
            self.records = 1;
            self.next_offset = left_over.next_offset;
        }
        batch
    }
}

fn write_record(json: &mut Vec<u8>, start: &[u8], message: &BorrowedMessage<'_>) {
    let (timestamp_ms, timestamp_type) = match message.timestamp() {
        Timestamp::CreateTime(ms) => (ms, "CREATE_TIME"),
        Timestamp::LogAppendTime(ms) => (ms, "LOG_APPEND_TIME"),
        Timestamp::NotAvailable => (-1, "NO_TIMESTAMP_TYPE"),
    };
    json.extend_from_slice(start);
    write_number(json, message.offset());
    json.extend_from_slice(br#","timestamp":"#);
    write_number(json, timestamp_ms);
    json.extend_from_slice(br#","timestampType":""#);
    json.extend_from_slice(timestamp_type.as_bytes());
    json.extend_from_slice(br#"","key":"#);
    write_base64(json, message.key());
    json.extend_from_slice(br#","value":"#);
    write_base64(json, message.payload());
    json.extend_from_slice(br#","headers":["#);
    if let Some(headers) = message.headers() {
        write_headers(json, headers);
    }
    json.extend_from_slice(b"]}");
}

fn write_base64(json: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            json.push(b'"');
            STANDARD.encode_append(bytes, json);
            json.push(b'"');
        }
        None => json.extend_from_slice(b"null"),
    }
}

/// Each header is an object of its own, as names may repeat, and its bytes are signed, as Java's are.
fn write_headers(json: &mut Vec<u8>, headers: &BorrowedHeaders) {
    for (index, header) in headers.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.push(b'{');
        json.extend_from_slice(serde_json::Value::from(header.key).to_string().as_bytes());
        json.push(b':');
        match header.value {
            Some(bytes) => {
                json.push(b'[');
                for (index, byte) in bytes.iter().enumerate() {
                    if index > 0 {
                        json.push(b',');
                    }
                    write_number(json, i64::from(byte.cast_signed()));
                }
                json.push(b']');
            }
            // As Lambda has been seen to write it.
            None => json.extend_from_slice(b"{}"),
        }
        json.push(b'}');
    }
}

/// As `write!` does, in a third of the time: headers have a number for each byte.
fn write_number(json: &mut Vec<u8>, number: i64) {
    // Of the magnitude of `i64::MIN`.
    const MOST_DIGITS: usize = 19;
    let mut digits = [0; MOST_DIGITS];
    let mut start = MOST_DIGITS;
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        json.push(b'-');
    }
    json.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: i64) -> String {
        let mut json = Vec::new();
        write_number(&mut json, number);
        String::from_utf8_lossy(&json).into_owned()
    }

    #[test]
    fn every_number_is_written_as_the_standard_library_writes_it() {
        for number in [0, 1, -1, 9, 10, -128, 127, 1_545_084_650_987, i64::MAX, i64::MIN] {
            assert_eq!(written(number), number.to_string());
        }
    }
}
