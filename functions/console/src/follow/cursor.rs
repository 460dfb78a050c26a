//! The position at which the next request continues a search.

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

/// The position of a search. It keeps the time range, because the default range moves with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// The start of the time range, in milliseconds since the Unix epoch.
    pub(super) since_ms: i64,
    /// The end of the time range, exclusive.
    pub(super) until_ms: i64,
    /// The partition with which the search began. The others follow in ascending order.
    pub(super) first: i32,
    /// The partition to continue in.
    pub(super) partition: i32,
    /// The next offset in this partition; `None` at the beginning of the time range.
    pub(super) offset: Option<i64>,
}

impl Cursor {
    /// Writes the cursor as opaque text.
    pub(super) fn to_text(self) -> String {
        BASE64.encode_to_string(serde_json::to_vec(&self).unwrap_or_default())
    }

    /// Parses the text of a cursor. Returns `None` if the text is not a valid cursor.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let cursor: Self = serde_json::from_slice(&BASE64.decode_to_vec(text).ok()?).ok()?;
        let is_valid = cursor.first >= 0 && cursor.partition >= 0 && cursor.offset.is_none_or(|offset| offset >= 0);
        is_valid.then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text_and_an_invalid_text_gives_no_cursor() {
        let cursor = Cursor { since_ms: 1, until_ms: 2, first: 3, partition: 4, offset: Some(5) };
        assert_eq!(Cursor::from_text(&cursor.to_text()), Some(cursor));
        let at_the_beginning = Cursor { offset: None, ..cursor };
        assert_eq!(Cursor::from_text(&at_the_beginning.to_text()), Some(at_the_beginning));
        for wrong in ["", "x", &Cursor { offset: Some(-1), ..cursor }.to_text(), &BASE64.encode_to_string("{}")] {
            assert_eq!(Cursor::from_text(wrong), None, "{wrong}");
        }
    }
}
