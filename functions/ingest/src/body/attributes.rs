//! Checks the attributes of a CloudEvent (CloudEvents 1.0.2, sections 2 and 3) and writes them as record headers.

use fluent_uri::{Uri, UriRef};
use shared::kafka::RecordHeader;

/// The attributes that every CloudEvent must have.
pub(super) const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// The attributes that the specification defines, all of which are strings. Other attributes may have any type.
const STRINGS: [&str; 8] = ["specversion", "id", "source", "type", "datacontenttype", "dataschema", "subject", "time"];

/// Attributes in the form of record headers (Kafka protocol binding, section 3.2).
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<RecordHeader>);

impl Attributes {
    /// Adds an attribute, or says what is wrong with it.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        check_name(name)?;
        check_value(name, &value)?;
        self.0.push((format!("ce_{name}"), Some(value.into_bytes())));
        Ok(())
    }

    /// Adds the media type of the data.
    pub(super) fn content_type(&mut self, media_type: &str) {
        self.0.push(("content-type".to_owned(), Some(media_type.as_bytes().to_vec())));
    }

    pub(super) fn into_headers(self) -> Vec<RecordHeader> {
        self.0
    }
}

/// Returns whether an attribute's value must be a string.
pub(super) fn is_string(name: &str) -> bool {
    STRINGS.contains(&name)
}

fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("has no name"),
        "data" => Err("must not be set: the body is the data"),
        name if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) => Ok(()),
        _ => Err("is not a valid attribute name: use only a-z and 0-9"),
    }
}

fn check_value(name: &str, value: &str) -> Result<(), &'static str> {
    match name {
        "specversion" if value != "1.0" => Err("must be 1.0"),
        name if is_string(name) && value.is_empty() => Err("must not be empty"),
        _ if value.chars().any(|c| c.is_control() || is_noncharacter(c)) => {
            Err("must not contain control characters or noncharacters")
        }
        "source" if UriRef::parse(value).is_err() => Err("must be a URI or a relative reference (RFC 3986)"),
        "dataschema" if Uri::parse(value).is_err() => Err("must be an absolute URI (RFC 3986)"),
        "time" if !is_rfc3339(value) => Err("must be a time such as 2019-05-07T19:54:13Z (RFC 3339)"),
        _ => Ok(()),
    }
}

/// Returns whether a code point is a noncharacter (The Unicode Standard, section 23.7).
fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// Returns whether a text is a `date-time` (RFC 3339, section 5.6). This format is stricter than ISO 8601.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |start: usize, digits: usize| {
        let digits = bytes.get(start..start + digits)?;
        digits
            .iter()
            .try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
    };
    let has = |index: usize, allowed: &[u8]| bytes.get(index).is_some_and(|byte| allowed.contains(byte));
    let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 2), number(8, 2)) else { return false };
    let (Some(hour), Some(minute), Some(second)) = (number(11, 2), number(14, 2), number(17, 2)) else { return false };
    let is_separated = [(4, "-"), (7, "-"), (10, "Tt"), (13, ":"), (16, ":")];
    if !is_separated.into_iter().all(|(index, allowed)| has(index, allowed.as_bytes())) {
        return false;
    }
    let mut end = 19;
    if has(end, b".") {
        let digits = bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        end += 1 + digits;
    }
    let offset_minutes = if has(end, b"Zz") {
        end += 1;
        0
    } else if has(end, b"+-") && has(end + 3, b":") {
        let (Some(hours @ 0..=23), Some(minutes @ 0..=59)) = (number(end + 1, 2), number(end + 4, 2)) else {
            return false;
        };
        let offset = i64::from(hours * 60 + minutes);
        let offset = if has(end, b"+") { offset } else { -offset };
        end += 6;
        offset
    } else {
        return false;
    };
    let is_leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year => 29,
        2 => 28,
        _ => 0,
    };
    // Only the last minute of a UTC day can have a leap second.
    let utc_minute = (i64::from(hour * 60 + minute) - offset_minutes).rem_euclid(24 * 60);
    let seconds = if utc_minute == 23 * 60 + 59 { 60 } else { 59 };
    end == bytes.len() && (1..=days).contains(&day) && hour < 24 && minute < 60 && second <= seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(name: &str, value: &str) -> Option<&'static str> {
        Attributes::default().add(name, value.to_owned()).err()
    }

    #[test]
    fn a_time_must_have_the_format_of_rfc_3339() {
        for time in [
            "2019-05-07T19:54:13Z",
            "2019-05-07t19:54:13.563z",
            "2019-05-07T19:54:13.123456789012+02:00",
            "2020-02-29T00:00:00-23:59",
            "2016-12-31T23:59:60Z",
            "2017-01-01T00:59:60+01:00",
        ] {
            assert_eq!(wrong("time", time), None, "{time}");
        }
        for time in [
            "",
            "yesterday",
            "1557258853",
            "2019-05-07",
            "2019-05-07 19:54:13Z",
            "2019-05-07T19:54:13",
            "2019-05-07T19:54Z",
            "20190507T195413Z",
            "2019-02-29T00:00:00Z",
            "2019-13-01T00:00:00Z",
            "2019-00-01T00:00:00Z",
            "2019-04-31T00:00:00Z",
            "2019-05-07T24:00:00Z",
            "2019-05-07T19:60:13Z",
            "2019-05-07T19:54:60Z",
            "2019-05-07T19:54:13.Z",
            "2019-05-07T19:54:13+02",
            "2019-05-07T19:54:13+0200",
            "2019-05-07T19:54:13+24:00",
            "2019-05-07T19:54:13Z ",
            " 2019-05-07T19:54:13Z",
            "2019-05-07T19:54:13Z[UTC]",
            "+002019-05-07T19:54:13Z",
            "2019-05-07T19:54:13.1",
            "٢٠١٩-05-07T19:54:13Z",
        ] {
            assert!(wrong("time", time).is_some(), "{time}");
        }
    }

    #[test]
    fn an_attribute_of_the_specification_must_not_be_empty_and_a_source_or_schema_must_be_a_uri() {
        for name in STRINGS {
            assert!(wrong(name, "").is_some(), "{name}");
        }
        assert_eq!(wrong("extension", ""), None);
        for source in ["/s", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "https://example.com/a?b#c", "1-555-123"]
        {
            assert_eq!(wrong("source", source), None, "{source}");
        }
        for source in ["a b", "/%zz", "http://[::1", "/é"] {
            assert!(wrong("source", source).is_some(), "{source}");
        }
        assert_eq!(wrong("dataschema", "https://example.com/order.json"), None);
        for schema in ["order.json", "/order.json", "#order", "https://exa mple.com"] {
            assert!(wrong("dataschema", schema).is_some(), "{schema}");
        }
    }

    #[test]
    fn a_value_is_text_and_a_name_has_only_lower_case_letters_and_digits() {
        for name in ["", "Big", "with-dash", "with_underscore", "naïve", "data"] {
            assert!(wrong(name, "x").is_some(), "{name}");
        }
        for value in ["\u{7}", "\u{9f}", "\u{fffe}", "\u{1ffff}", "\u{fdd0}"] {
            assert!(wrong("extension", value).is_some(), "{value:?}");
        }
        assert_eq!(wrong("comexample1", "€ \u{fffd}"), None);
        assert_eq!(wrong("specversion", "1.0.2"), Some("must be 1.0"));
    }
}
