//! Strict JSON: RFC 8259, plus the rule that the names in an object are unique (RFC 7493, section 2.3). Without this
//! rule, two parsers could read different events from the same text. Numbers keep their digits.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not JSON, and where the error is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (line {line}, column {column})")]
pub struct NotJson {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in bytes, counted from 1.
    pub column: usize,
    /// What is wrong. The text itself is not quoted.
    pub detail: String,
}

/// Parses `text` as a single JSON value. Nesting is limited to 127 levels.
///
/// # Errors
/// The text is not UTF-8, is not JSON, is nested too deeply, or names a member twice.
pub fn parse(text: &[u8]) -> Result<Value, NotJson> {
    if let Some(encoding) = byte_order_mark(text) {
        let detail = format!("the text starts with a byte order mark ({encoding}); JSON is UTF-8 without such a mark");
        return Err(NotJson { line: 1, column: 1, detail });
    }
    serde_json::from_slice::<Strict>(text).map(|strict| strict.0).map_err(|error| not_json(&error))
}

/// Returns the encoding of the byte order mark that the text starts with, if any. RFC 8259, section 8.1, forbids such a
/// mark. The mark has an error message of its own, because editors that write a byte order mark do not show it.
fn byte_order_mark(text: &[u8]) -> Option<&'static str> {
    // UTF-32 comes first, because its little-endian mark starts with UTF-16's little-endian mark.
    const MARKS: [(&[u8], &str); 5] = [
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
        (b"\xef\xbb\xbf", "UTF-8"),
    ];
    MARKS.into_iter().find(|(mark, _)| text.starts_with(mark)).map(|(_, encoding)| encoding)
}

/// Converts an error of `serde_json`.
pub fn not_json(error: &serde_json::Error) -> NotJson {
    let text = error.to_string();
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail);
    // At the start of a line, and in an empty text, serde_json reports column 0 instead of 1.
    NotJson { line: error.line().max(1), column: error.column().max(1), detail: in_plain_words(detail).to_owned() }
}

/// Rewords a message of `serde_json` for callers, who do not know that library's terms. Messages that anyone
/// understands, such as "trailing comma", are returned unchanged.
fn in_plain_words(detail: &str) -> &str {
    match detail {
        "EOF while parsing a list" => "the text ends within an array",
        "EOF while parsing an object" => "the text ends within an object",
        "EOF while parsing a string" => "the text ends within a string",
        "EOF while parsing a value" => "the text ends where a value must follow",
        "expected `:`" => "a colon must follow here",
        "expected `,` or `]`" => "a comma or `]` must follow here",
        "expected `,` or `}`" => "a comma or `}` must follow here",
        "expected ident" => "only true, false and null are written without quotes",
        "expected value" => "a value must follow here",
        "expected `\"`" | "key must be a string" => "a member's name must be a string in double quotes",
        "invalid escape" | "unexpected end of hex escape" | "lone leading surrogate in hex escape" => {
            "a string has an invalid escape"
        }
        "invalid number" => "a number is not written as JSON requires",
        "invalid unicode code point" => "a string is not UTF-8",
        "control character (\\u0000-\\u001F) found while parsing a string" => {
            "a string contains a control character without an escape"
        }
        "trailing characters" => "more text follows the value",
        "recursion limit exceeded" => "the value is nested too deeply",
        other => other,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

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
        while let Some(key) = members.next_key_seed(KeySeed)? {
            let Key::Name(name) = key else {
                let digits: String = members.next_value()?;
                let number: Number = digits.parse().map_err(A::Error::custom)?;
                return Ok(Value::Number(number));
            };
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("an object names the same member twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// A key that a map visitor receives.
enum Key {
    /// A member's name: the map is an object.
    Name(String),
    /// The name that `serde_json` uses internally for numbers. To keep a number's digits, `serde_json` passes the
    /// number as a map with this key.
    Number,
}

/// Reads a [`Key`]. A member with the internal name is not mistaken for a number, because `deserialize_option` calls
/// `visit_some` for the name of every member in the text. `deserialize_option` calls `visit_str` only if `serde_json`
/// itself passes the internal name.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member's name")
    }

    fn visit_some<D: Deserializer<'de>>(self, name: D) -> Result<Key, D::Error> {
        String::deserialize(name).map(Key::Name)
    }

    fn visit_str<E: de::Error>(self, _token: &str) -> Result<Key, E> {
        Ok(Key::Number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_keeps_its_digits() {
        for digits in ["1e+400", "0.1000", "123456789012345678901234567890.5", "-0", "9007199254740993"] {
            let value = parse(format!("{{\"a\":[{digits}]}}").as_bytes());
            assert_eq!(value.map(|v| v["a"][0].to_string()), Ok(digits.to_owned()));
        }
    }

    #[test]
    fn an_object_stays_an_object_even_if_a_member_has_a_name_that_serde_json_uses_internally() {
        for name in ["$serde_json::private::Number", "$serde_json::private::RawValue"] {
            for spelling in [name.to_owned(), name.replace('$', "\\u0024"), name.replace(':', "\\u003A")] {
                for value in [json!("7"), json!("x"), json!(7), json!(null), json!({"a": 1.5}), json!(["7"])] {
                    let expected = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
                    let text = format!("{{\"{spelling}\":{value}}}");
                    assert_eq!(parse(text.as_bytes()), Ok(expected.clone()), "{text}");
                    let nested = parse(format!("{{\"a\":[1,{text}],\"b\":{text}}}").as_bytes());
                    assert_eq!(nested, Ok(json!({"a": [1, expected], "b": expected})), "{text}");
                    assert!(parse(format!("{{\"{spelling}\":7,\"{name}\":7}}").as_bytes()).is_err(), "{text}");
                    let beside = parse(format!("{{\"{spelling}\":{value},\"b\":2}}").as_bytes());
                    assert_eq!(beside.map(|object| object["b"].clone()), Ok(json!(2)), "{text}");
                }
            }
        }
    }

    #[test]
    fn lines_and_columns_count_from_1() {
        for (text, line, column) in [("", 1, 1), (" ", 1, 1), ("{\n", 2, 1), ("{\n\n", 3, 1), ("x", 1, 1)] {
            let place = parse(text.as_bytes()).map_err(|error| (error.line, error.column));
            assert_eq!(place.err(), Some((line, column)), "{text:?}");
        }
    }

    #[test]
    fn the_error_names_the_encoding_of_a_byte_order_mark() {
        let utf16 = |bytes: fn(u16) -> [u8; 2]| "\u{feff}{}".encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let utf32 =
            |bytes: fn(u32) -> [u8; 4]| "\u{feff}{}".chars().map(u32::from).flat_map(bytes).collect::<Vec<u8>>();
        for (text, encoding) in [
            ("\u{feff}{}".as_bytes().to_vec(), "UTF-8"),
            (utf16(u16::to_le_bytes), "UTF-16"),
            (utf16(u16::to_be_bytes), "UTF-16"),
            (utf32(u32::to_le_bytes), "UTF-32"),
            (utf32(u32::to_be_bytes), "UTF-32"),
        ] {
            let error = parse(&text).map_err(|error| error.to_string());
            let expected = format!(
                "the text starts with a byte order mark ({encoding}); JSON is UTF-8 without such a mark \
                 (line 1, column 1)"
            );
            assert_eq!(error, Err(expected));
        }
        assert_eq!(parse("\"\u{feff}\"".as_bytes()), Ok(json!("\u{feff}")));
    }

    #[test]
    fn a_member_named_twice_is_refused_with_its_position() {
        let error = parse(b"{\"a\": 1,\n \"a\": 2}");
        assert_eq!(error.as_ref().map_err(|error| error.line), Err(2));
        assert!(parse(b"[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]").is_err());
        assert!(parse(b"{\"a\":{\"a\":1}}").is_ok());
    }

    #[test]
    fn text_that_is_not_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "nul", "[1,]", "\"\\ud800\"", "{} {}", "01", &deep] {
            assert!(parse(text.as_bytes()).is_err(), "{text:.20}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn json_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:,\"a0-9.eE\\- ]{0,24}") {
            if let (Ok(ours), Ok(theirs)) = (parse(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                proptest::prop_assert_eq!(ours, theirs);
            }
        }
    }
}
