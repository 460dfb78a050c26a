//! Lambda's Kafka event in JSON, which is the payload of an invocation. The types here borrow from the payload. The
//! batch decodes keys and values into a buffer of its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use shared::kafka::RecordHeader;

/// Lambda's Kafka event.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "eventSource", borrow)]
    pub(super) source: Text<'a>,
    // The map's keys, such as `orders-0`, are ignored, because each record names its topic and its partition.
    #[serde(borrow)]
    pub(super) records: HashMap<Text<'a>, Vec<RawRecord<'a>>>,
}

/// A record. Its key and value are in base64.
#[derive(Deserialize)]
pub(super) struct RawRecord<'a> {
    #[serde(borrow)]
    pub(super) topic: Text<'a>,
    #[serde(deserialize_with = "partition")]
    pub(super) partition: i32,
    pub(super) offset: i64,
    #[serde(default)]
    pub(super) timestamp: i64,
    #[serde(borrow, default)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) value: Option<Text<'a>>,
    #[serde(default)]
    pub(super) headers: Vec<Headers>,
}

/// Reads a partition's number. In AWS's example event of a self-managed cluster, this number is a string.
fn partition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let number = <&RawValue>::deserialize(deserializer)?.get();
    number.trim_matches('"').parse().map_err(de::Error::custom)
}

/// A string, borrowed from the payload unless it contains escapes.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

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
pub(super) struct Headers(pub(super) Vec<RecordHeader>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = Headers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with a header's name and bytes")
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

/// A header's bytes, which Java writes as signed numbers. A header without a value comes as null or as `{}`.
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
