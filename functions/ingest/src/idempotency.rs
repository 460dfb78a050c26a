//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): an event with a key lands at most once.

use axum::http::HeaderMap;

use crate::error::Error;
use crate::header_value::unquoted;

/// A caller's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the request's key: 1 to 255 visible ASCII characters, either bare or quoted like a string in a structured
    /// field.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        const MOST_CHARACTERS: usize = 255;
        let mut values = headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let key = value.to_str().map(|text| unquoted(text.trim())).unwrap_or_default();
        let is_legal = (1..=MOST_CHARACTERS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_legal && values.next().is_none() {
            Ok(Some(Self(key)))
        } else {
            Err(Error::malformed("`Idempotency-Key` must appear once and be 1 to 255 visible ASCII characters."))
        }
    }

    /// Returns the key of one event. For an event of a batch, this is the caller's key, a space and the event's index.
    /// Callers' keys contain no space, so no caller can send such a key.
    pub(crate) fn for_event(&self, index: usize, is_batch: bool) -> String {
        if is_batch { format!("{} {index}", self.0) } else { self.0.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn key(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).ok()?);
        IdempotencyKey::from_headers(&headers).ok()?.map(|key| key.0)
    }

    #[test]
    fn a_key_is_the_same_whether_it_is_bare_or_quoted() {
        assert_eq!(key("8e03978e-40d5"), Some("8e03978e-40d5".to_owned()));
        assert_eq!(key("\"8e03978e-40d5\""), Some("8e03978e-40d5".to_owned()));
        assert_eq!(key(r#""a\"b""#), Some("a\"b".to_owned()));
        assert_eq!(IdempotencyKey::from_headers(&HeaderMap::new()).ok(), Some(None));
    }

    #[test]
    fn a_key_is_1_to_255_visible_characters() {
        assert!(key(&"k".repeat(255)).is_some());
        for malformed in ["", "\"\"", "a b", "naïve", &"k".repeat(256)] {
            assert_eq!(key(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn two_keys_are_rejected() {
        let mut headers = HeaderMap::new();
        headers.append("idempotency-key", HeaderValue::from_static("a"));
        headers.append("idempotency-key", HeaderValue::from_static("a"));
        assert!(IdempotencyKey::from_headers(&headers).is_err());
    }

    #[test]
    fn an_event_of_a_batch_never_has_the_key_of_another_request() {
        let of_batch = IdempotencyKey("k".to_owned()).for_event(3, true);
        assert_eq!(IdempotencyKey("k".to_owned()).for_event(0, false), "k");
        assert_ne!(of_batch, IdempotencyKey("k".to_owned()).for_event(4, true));
        // No caller can choose the key of a batch's event.
        assert_eq!(key(&of_batch), None);
        assert_eq!(key(&format!("\"{of_batch}\"")), None);
        assert_ne!(of_batch, IdempotencyKey("k/3".to_owned()).for_event(0, false));
    }
}
