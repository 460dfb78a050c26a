//! A batch as Lambda's Kafka event source mapping delivers it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>, "Example event"

mod event;

use std::ops::Range;

use base64_simd::{STANDARD, forgiving_decode_to_vec};
use shared::kafka::RecordHeader;
use shared::kafka::reader::LogRecord;
use shared::ledger::records::{KeptRecord, LogPosition};
use xxhash_rust::xxh3::Xxh3Default;

use self::event::{Event, RawRecord, Text};
use crate::envelope::Envelope;

/// Why an invocation's payload is not a batch of records.
#[derive(Debug, thiserror::Error)]
pub enum NotABatch {
    /// The payload is not JSON in the form of Lambda's Kafka event.
    #[error("the event is not a Kafka event: {0}")]
    Json(#[source] serde_json::Error),
    /// The payload does not come from a Kafka event source mapping.
    #[error("the event's source is {0:?}, not aws:kafka or SelfManagedKafka")]
    Source(String),
    /// A key or value is not base64.
    #[error("the key or value of {topic}-{partition}@{offset} is not base64")]
    Base64 {
        /// The record's topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
}

/// The records of a payload, decoded into one buffer.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Sorted by topic, partition and offset.
    pub(crate) records: Vec<Record>,
}

/// A record. Its key and value are in the batch's buffer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) headers: Vec<RecordHeader>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Batch {
    /// Decodes a payload. Sorts the records by topic, partition and offset.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, NotABatch> {
        let event: Event<'_> = serde_json::from_slice(payload).map_err(NotABatch::Json)?;
        if !matches!(event.source.0.as_ref(), "aws:kafka" | "SelfManagedKafka" | "aws:SelfManagedKafka") {
            return Err(NotABatch::Source(event.source.0.into_owned()));
        }
        let count = event.records.values().map(Vec::len).sum();
        let mut batch = Self { bytes: Vec::with_capacity(payload.len() / 4 * 3), records: Vec::with_capacity(count) };
        for record in event.records.into_values().flatten() {
            batch.push(record)?;
        }
        batch.records.sort_by(|a, b| a.place().cmp(&b.place()));
        batch.records.dedup_by(|a, b| a.place() == b.place());
        Ok(batch)
    }

    /// Creates a batch from records read from one partition's log, in offset order.
    pub(crate) fn from_log(topic: &str, partition: i32, records: Vec<LogRecord>) -> Self {
        let mut batch = Self { bytes: Vec::new(), records: Vec::with_capacity(records.len()) };
        for record in records {
            let mut keep = |bytes: Option<Vec<u8>>| {
                bytes.map(|bytes| {
                    let start = batch.bytes.len();
                    batch.bytes.extend_from_slice(&bytes);
                    start..batch.bytes.len()
                })
            };
            let (key, value) = (keep(record.key), keep(record.value));
            batch.records.push(Record {
                topic: topic.to_owned(),
                partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                headers: record.headers,
                key,
                value,
            });
        }
        batch
    }

    fn push(&mut self, record: RawRecord<'_>) -> Result<(), NotABatch> {
        let mut decode = |text: Option<Text<'_>>| match text {
            None => Ok(None),
            Some(text) => {
                let start = self.bytes.len();
                if STANDARD.decode_append(text.0.as_bytes(), &mut self.bytes).is_err() {
                    // AWS's own example (with-msk, "Example event") has surplus bits after the last byte, which only
                    // the forgiving decoder accepts.
                    self.bytes.truncate(start);
                    let forgiven = forgiving_decode_to_vec(text.0.as_bytes()).map_err(|_| NotABatch::Base64 {
                        topic: record.topic.0.clone().into_owned(),
                        partition: record.partition,
                        offset: record.offset,
                    })?;
                    self.bytes.extend_from_slice(&forgiven);
                }
                Ok(Some(start..self.bytes.len()))
            }
        };
        let key = decode(record.key)?;
        let value = decode(record.value)?;
        self.records.push(Record {
            topic: record.topic.0.into_owned(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp,
            headers: record.headers.into_iter().flat_map(|headers| headers.0).collect(),
            key,
            value,
        });
        Ok(())
    }

    pub(crate) fn key(&self, record: &Record) -> Option<&[u8]> {
        record.key.clone().map(|range| &self.bytes[range])
    }

    /// Returns a record's value, or `None` for a tombstone.
    pub(crate) fn value(&self, record: &Record) -> Option<&[u8]> {
        record.value.clone().map(|range| &self.bytes[range])
    }

    /// Returns a record as the ledger keeps it, or `None` for a tombstone.
    pub(crate) fn kept<'b>(&'b self, record: &'b Record, incarnation: i32) -> Option<KeptRecord<'b>> {
        let Record { topic, partition, offset, timestamp_ms, headers, key: _, value: _ } = record;
        let position = LogPosition { topic, partition: *partition, offset: *offset, incarnation };
        let (key, payload) = (self.key(record), self.value(record)?);
        Some(KeptRecord { position, key, payload, headers, timestamp_ms: *timestamp_ms })
    }

    /// Returns a hash that distinguishes a record from any other at the same offset.
    pub(crate) fn hash(&self, record: &Record) -> i64 {
        hash(record.timestamp_ms, self.key(record), self.value(record))
    }
}

/// Returns a hash that distinguishes a record from any other at the same offset.
pub(crate) fn hash(timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> i64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(&timestamp_ms.to_be_bytes());
    for part in [key, value] {
        hasher.update(&part.map_or(-1, |part| part.len() as i64).to_be_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.digest().cast_signed()
}

impl Record {
    pub(crate) fn place(&self) -> (&str, i32, i64) {
        (&self.topic, self.partition, self.offset)
    }

    /// Returns everything that the record carries besides key and value.
    pub(crate) fn envelope(&self) -> Envelope<'_> {
        let Self { topic, partition, offset, timestamp_ms, headers, key: _, value: _ } = self;
        let (partition, offset, timestamp_ms) = (*partition, *offset, *timestamp_ms);
        Envelope { topic, partition, offset, timestamp_ms, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decoded(records: serde_json::Value) -> Result<Batch, String> {
        let event = json!({"eventSource": "aws:kafka", "bootstrapServers": "b:9092", "records": records});
        Batch::decode(event.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn records_of_several_partitions_are_decoded_and_sorted() -> Result<(), String> {
        let batch = decoded(json!({
            "a-b-1": [{"topic": "a-b", "partition": 1, "offset": 8, "timestamp": 5, "value": "e30="}],
            "a-b-0": [
                {"topic": "a-b", "partition": 0, "offset": 7, "timestamp": 5, "key": null, "value": null},
                {"topic": "a-b", "partition": 0, "offset": 6, "timestamp": 5, "key": "aw==", "value": "",
                 "headers": [{"h": [104, -61, -92]}, {"h": {}}, {"n": null}]}
            ]
        }))?;
        let places: Vec<_> = batch.records.iter().map(Record::place).collect();
        assert_eq!(places, [("a-b", 0, 6), ("a-b", 0, 7), ("a-b", 1, 8)]);
        assert_eq!(batch.key(&batch.records[0]), Some(b"k".as_slice()));
        assert_eq!(batch.value(&batch.records[0]), Some(b"".as_slice()));
        assert_eq!(batch.value(&batch.records[1]), None);
        assert_eq!(batch.value(&batch.records[2]), Some(b"{}".as_slice()));
        assert_eq!(batch.records[0].envelope().header("h"), Some("hä".as_bytes()));
        let names: Vec<_> =
            batch.records[0].headers.iter().map(|(name, value)| (name.as_str(), value.is_some())).collect();
        assert_eq!(names, [("h", true), ("h", false), ("n", false)]);
        Ok(())
    }

    #[test]
    fn examples_from_aws_are_read_even_if_base64_has_surplus_bits_or_the_partition_is_a_string() -> Result<(), String> {
        for (partition, key) in [(json!(0), json!("abcDEFghiJKLmnoPQRstuVWXyz1234==")), (json!("0"), json!(null))] {
            let record = json!({"topic": "mytopic", "partition": partition, "offset": 15, "timestamp": 1_545_084_650_987_u64,
                "timestampType": "CREATE_TIME", "key": key, "value": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg=="});
            let batch = decoded(json!({"mytopic-0": [record]}))?;
            assert_eq!(batch.records[0].place(), ("mytopic", 0, 15));
            assert_eq!(batch.value(&batch.records[0]), Some(b"Hello, this is a test.".as_slice()));
            assert_eq!(batch.key(&batch.records[0]).map(<[u8]>::len), key.as_str().map(|_| 22));
        }
        Ok(())
    }

    #[test]
    fn a_payload_that_is_not_a_batch_of_records_is_refused() {
        for payload in ["", "{}", r#"{"eventSource":"aws:sqs","records":{}}"#, r#"{"Records":[]}"#] {
            assert!(Batch::decode(payload.as_bytes()).is_err(), "{payload}");
        }
        let record = json!({"t-0": [{"topic": "t", "partition": 0, "offset": 3, "value": "no base64!"}]});
        assert_eq!(decoded(record).err().as_deref(), Some("the key or value of t-0@3 is not base64"));
    }

    #[test]
    fn records_with_different_times_or_keys_or_values_have_different_hashes() -> Result<(), String> {
        let hash = |timestamp: i64, key: Option<&str>, value: Option<&str>| -> Result<i64, String> {
            let record =
                json!({"topic": "t", "partition": 0, "offset": 3, "timestamp": timestamp, "key": key, "value": value});
            let batch = decoded(json!({"t-0": [record]}))?;
            Ok(batch.hash(&batch.records[0]))
        };
        let base = hash(1, Some("aw=="), Some("e30="))?;
        assert_eq!(base, hash(1, Some("aw=="), Some("e30="))?);
        for other in [hash(2, Some("aw=="), Some("e30="))?, hash(1, None, Some("e30="))?, hash(1, Some("aw=="), None)?]
        {
            assert_ne!(base, other);
        }
        assert_ne!(hash(1, None, Some(""))?, hash(1, None, None)?);
        Ok(())
    }
}
