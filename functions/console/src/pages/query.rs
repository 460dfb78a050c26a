//! Writes query strings, and reads the times of forms.

use std::fmt::Write as _;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Timestamp, Zoned};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Unreserved characters (RFC 3986, section 2.3) and slashes have no special meaning in a query, so they are not
/// encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Encodes a value for a query or for a path. In a path, the value's slashes separate segments.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Returns a path with a query of these parameters.
pub(super) fn with_query<'a>(path: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = path.to_owned();
    for (index, (name, value)) in parameters.into_iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        // Writing to a string cannot fail.
        let _written = write!(text, "{separator}{name}={}", encoded(value));
    }
    text
}

/// Converts the time of a form's field to the format of the API (RFC 3339). The field has no time zone; its time is in
/// UTC. Any other text is returned unchanged, and the API checks it.
pub(super) fn time_for_api(text: &str) -> String {
    match text.parse::<DateTime>() {
        Ok(time) if text.parse::<Timestamp>().is_err() => {
            Offset::UTC.to_timestamp(time).map_or_else(|_| text.to_owned(), |time| time.to_string())
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// Converts an RFC 3339 time to the format of a form's time field. Returns an empty string if the text is not a time.
pub(super) fn time_for_field(text: &str) -> String {
    let zoned: Option<Zoned> = text.parse::<Timestamp>().ok().map(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
    zoned.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_encoded_so_that_it_cannot_end_its_parameter() {
        let path = with_query("/console", [("reason", "a&b=c #%\"é"), ("stream", "user-event")]);
        assert_eq!(path, "/console?reason=a%26b%3Dc%20%23%25%22%C3%A9&stream=user-event");
        assert_eq!(with_query("/console", []), "/console");
    }

    #[test]
    fn the_times_of_a_form_are_utc() {
        assert_eq!(time_for_api("2026-05-07T19:54"), "2026-05-07T19:54:00Z");
        assert_eq!(time_for_api("2026-05-07T19:54:13.5+02:00"), "2026-05-07T19:54:13.5+02:00");
        assert_eq!(time_for_api("yesterday"), "yesterday");
        assert_eq!(time_for_field("2026-05-07T19:54:13.5+02:00"), "2026-05-07T17:54:13");
        assert_eq!(time_for_field("yesterday"), "");
    }
}
