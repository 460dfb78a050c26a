//! Canonical JSON: equal values have the same text, even if different programs wrote them.
//!
//! Members are sorted, and equal numbers are written in the same way: `5.0` and `50e-1` become `5`. Numbers that differ
//! only beyond a double's precision stay different. RFC 8785 would make them equal, because it uses doubles.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::decimal::Decimal;

/// Writes a value as canonical JSON.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// Writes a number in canonical form. Returns the number unchanged if it is not zero and its exponent does not fit into
/// 64 bits.
pub fn number(number: &Number) -> Cow<'_, str> {
    let written = number.as_str();
    let is_plain_integer = written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && written != "-0";
    match Decimal::parse(written).filter(|_| !is_plain_integer) {
        Some(decimal) => Cow::Owned(decimal.canonical()),
        None => Cow::Borrowed(written),
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
        Value::Number(digits) => out.push_str(&number(digits)),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write(element, out);
            }
            out.push(']');
        }
        // The members of `serde_json`'s map are sorted.
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(written: &str) -> Option<String> {
        serde_json::from_str(written).ok().map(|value| text(&value))
    }

    #[test]
    fn equal_values_have_one_text() {
        for (a, b) in [
            ("5", "5.0"),
            ("5", "5e0"),
            ("50e-1", "0.5E1"),
            ("0", "-0"),
            ("-0.0", "0e7"),
            ("[1.50,{\"b\":1e2,\"a\":-0}]", "[ 1.5, {\"a\": 0, \"b\": 100} ]"),
            ("1e400", "10e399"),
            ("{\"\\u00e9\":\"\\n\"}", "{\"é\":\"\\u000a\"}"),
        ] {
            assert!(canonical(a).is_some(), "{a}");
            assert_eq!(canonical(a), canonical(b), "{a} {b}");
        }
    }

    #[test]
    fn different_values_have_different_texts() {
        for (a, b) in [
            ("5", "\"5\""),
            ("9007199254740992", "9007199254740993"),
            ("9007199254740992.0", "9007199254740993.0"),
            ("123456789012345678901234567890.1", "123456789012345678901234567890.2"),
            ("1e400", "1e401"),
            ("-5", "5"),
            ("[1,2]", "[12]"),
            ("{\"a\":null}", "{}"),
        ] {
            assert_ne!(canonical(a), canonical(b), "{a} {b}");
        }
    }

    proptest::proptest! {
        #[test]
        fn integers_and_texts_are_written_as_serde_json_writes_them(integer in proptest::num::i64::ANY, name in ".{0,8}") {
            let value = serde_json::json!({name.clone(): [integer, name, null, true]});
            proptest::prop_assert_eq!(text(&value), value.to_string());
        }
    }
}
