//! A batch as Lambda's Kafka event source mapping delivers it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>, "Example event"

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use base64_simd::STANDARD;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::Xxh3Default;

/// Why an event is not a batch of records.
#[derive(Debug, thiserror::Error)]
pub enum NotABatch {
    /// It is not the JSON of a Kafka event.
    #[error("the event is not a Kafka event: {0}")]
    Json(#[source] serde_json::Error),
    /// Something else than a Kafka event source mapping sent it.
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

/// A header's name and value; a null value is none.
pub(crate) type Header = (String, Option<Vec<u8>>);

/// The records of an event, decoded into one buffer.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// By topic, partition and offset.
    pub(crate) records: Vec<Record>,
}

/// A record; its key and value are in the batch's buffer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) headers: Vec<Header>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Batch {
    /// Decodes the JSON of an event. Records are sorted by topic, partition and offset.
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

    fn push(&mut self, record: RawRecord<'_>) -> Result<(), NotABatch> {
        let mut decode = |text: Option<Text<'_>>| match text {
            None => Ok(None),
            Some(text) => {
                let start = self.bytes.len();
                STANDARD.decode_append(text.0.as_bytes(), &mut self.bytes).map_err(|_| NotABatch::Base64 {
                    topic: record.topic.0.clone().into_owned(),
                    partition: record.partition,
                    offset: record.offset,
                })?;
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

    /// None: a tombstone.
    pub(crate) fn value(&self, record: &Record) -> Option<&[u8]> {
        record.value.clone().map(|range| &self.bytes[range])
    }

    /// Tells a record from another at the same offset.
    pub(crate) fn hash(&self, record: &Record) -> i64 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&record.timestamp_ms.to_be_bytes());
        for part in [self.key(record), self.value(record)] {
            hasher.update(&part.map_or(-1, |part| part.len() as i64).to_be_bytes());
            hasher.update(part.unwrap_or_default());
        }
        hasher.digest().cast_signed()
    }
}

impl Record {
    pub(crate) fn place(&self) -> (&str, i32, i64) {
        (&self.topic, self.partition, self.offset)
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(header, _)| header == name)?.1.as_deref()
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "eventSource", borrow)]
    source: Text<'a>,
    // The map's keys are not split into topic and partition: a topic's name may hold a '-' itself.
    #[serde(borrow)]
    records: HashMap<Text<'a>, Vec<RawRecord<'a>>>,
}

#[derive(Deserialize)]
struct RawRecord<'a> {
    #[serde(borrow)]
    topic: Text<'a>,
    partition: i32,
    offset: i64,
    #[serde(default)]
    timestamp: i64,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Option<Text<'a>>,
    #[serde(default)]
    headers: Vec<Headers>,
}

/// A string that is borrowed from the event where it holds no escapes.
#[derive(PartialEq, Eq, Hash)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// One element of a record's headers: `{"name": [bytes]}`.
struct Headers(Vec<Header>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = Headers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of a header's name and bytes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Headers, A::Error> {
                let mut headers = Vec::with_capacity(1);
                while let Some((name, value)) = members.next_entry::<String, HeaderValue>()? {
                    headers.push((name, value.0));
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_map(HeadersVisitor)
    }
}

/// A header's bytes, which Java writes signed. A null value has been seen as null and as `{}`.
struct HeaderValue(Option<Vec<u8>>);

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = HeaderValue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of bytes from -128 to 255, or null")
            }

            fn visit_unit<E: de::Error>(self) -> Result<HeaderValue, E> {
                Ok(HeaderValue(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<HeaderValue, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(HeaderValue(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<HeaderValue, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = elements.next_element::<i16>()? {
                    let byte = i8::try_from(byte).map(i8::cast_unsigned).or_else(|_| u8::try_from(byte));
                    bytes.push(byte.map_err(|_| de::Error::custom("a header's byte is not from -128 to 255"))?);
                }
                Ok(HeaderValue(Some(bytes)))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
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
    fn records_of_several_partitions_come_sorted_and_decoded() -> Result<(), String> {
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
        assert_eq!(batch.records[0].header("h"), Some("hä".as_bytes()));
        let names: Vec<_> =
            batch.records[0].headers.iter().map(|(name, value)| (name.as_str(), value.is_some())).collect();
        assert_eq!(names, [("h", true), ("h", false), ("n", false)]);
        Ok(())
    }

    #[test]
    fn what_is_no_kafka_event_is_refused() {
        for payload in ["", "{}", r#"{"eventSource":"aws:sqs","records":{}}"#, r#"{"Records":[]}"#] {
            assert!(Batch::decode(payload.as_bytes()).is_err(), "{payload}");
        }
        let record = json!({"t-0": [{"topic": "t", "partition": 0, "offset": 3, "value": "no base64"}]});
        assert_eq!(decoded(record).err().as_deref(), Some("the key or value of t-0@3 is not base64"));
    }

    #[test]
    fn records_that_differ_in_time_key_or_value_differ_in_hash() -> Result<(), String> {
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
