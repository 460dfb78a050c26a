//! JSON as Sluice reads it: RFC 8259, and each name at most once in an object (RFC 7493, section 2.3), since two
//! readers could else see two different events. Numbers keep their digits.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (line {line}, column {column})")]
pub struct NotJson {
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What is wrong, without the text itself.
    pub detail: String,
}

/// Reads one JSON value that fills all of `text`. Nesting is limited to 128 levels.
///
/// # Errors
/// The text is not UTF-8, not JSON, nested too deeply, or names a member twice.
pub fn parse(text: &[u8]) -> Result<Value, NotJson> {
    serde_json::from_slice::<Strict>(text).map(|strict| strict.0).map_err(|error| not_json(&error))
}

/// What `serde_json` says of a text, in our terms.
pub fn not_json(error: &serde_json::Error) -> NotJson {
    let text = error.to_string();
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail);
    NotJson { line: error.line(), column: error.column(), detail: detail.to_owned() }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

/// Under which name `serde_json` hands a number of arbitrary precision to a visitor.
const NUMBER: &str = "$serde_json::private::Number";

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key_seed(Name)? {
            if object.is_empty() && name == NUMBER {
                let digits: String = members.next_value()?;
                let number: Number = digits.parse().map_err(A::Error::custom)?;
                return Ok(Value::Number(number));
            }
            let Strict(value) = members.next_value()?;
            if object.insert(name.into_owned(), value).is_some() {
                return Err(A::Error::custom("an object names the same member twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Reads a member's name without copying it where it stands unescaped in the text.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member's name")
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_digits() {
        for digits in ["1e+400", "0.1000", "123456789012345678901234567890.5", "-0", "9007199254740993"] {
            let value = parse(format!("{{\"a\":[{digits}]}}").as_bytes());
            assert_eq!(value.map(|v| v["a"][0].to_string()), Ok(digits.to_owned()));
        }
    }

    #[test]
    fn a_member_named_twice_is_refused_with_its_place() {
        let error = parse(b"{\"a\": 1,\n \"a\": 2}");
        assert_eq!(error.as_ref().map_err(|error| error.line), Err(2));
        assert!(parse(b"[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]").is_err());
        assert!(parse(b"{\"a\":{\"a\":1}}").is_ok());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "nul", "[1,]", "\"\\ud800\"", "{} {}", "01", &deep] {
            assert!(parse(text.as_bytes()).is_err(), "{text:.20}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_serde_json_reads_is_read_alike(text in "[\\[\\]{}:,\"a0-9.eE\\- ]{0,24}") {
            if let (Ok(ours), Ok(theirs)) = (parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                proptest::prop_assert_eq!(ours, theirs);
            }
        }
    }
}
