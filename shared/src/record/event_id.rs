//! Ids under which an event lands at most once, however often it is sent.

use sha2::{Digest, Sha256};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::headers::{CLOUD_EVENT_ID, CLOUD_EVENT_SOURCE, IDEMPOTENCY_KEY, USER};
use super::replay;
use crate::contract::canonical;

/// Derives an event's id from its record's headers, or returns `None` if they contain no id.
///
/// - If the record replays an edited event, the id is derived from the place of the dead letter that was edited.
/// - Otherwise, the id consists of the sender and the `Idempotency-Key`.
/// - Without such a key, it consists of the sender and the CloudEvents `source` and `id`, which are unique together
///   (CloudEvents 1.0, section 3.1.1).
/// - Without those, the id of a replay is derived from the replay's original record.
///
/// An empty header or a blank key does not count, because some producers send one with every record. `header` returns
/// the first value of a header.
pub fn from_headers<'h>(header: impl Fn(&str) -> Option<&'h [u8]>) -> Option<Uuid> {
    let user = header(USER).unwrap_or_default();
    let header = |name: &str| header(name).filter(|value| !value.is_empty());
    // An edited event gets an id of its own, so its outcome is not stored under the original event's id. Repeats of the
    // original event therefore still share the original event's outcome.
    if let (Some(edited), Some(_)) = (header(replay::EDITED), header(replay::FIRST)) {
        return Some(hash(&[b"edited", edited]));
    }
    if let Some(key) = header(IDEMPOTENCY_KEY).filter(|key| !key.trim_ascii().is_empty()) {
        Some(hash(&[b"key", user, key]))
    } else if let (Some(source), Some(id)) = (header(CLOUD_EVENT_SOURCE), header(CLOUD_EVENT_ID)) {
        Some(hash(&[b"cloud-event", user, source, id]))
    } else {
        Some(hash(&[b"dead-letter", header(replay::FIRST)?]))
    }
}

/// Two hashes of an event, which distinguish different payloads under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadHash {
    canonical: i64,
    as_written: i64,
}

impl PayloadHash {
    /// Hashes an event. A different order of members, different white space, or another notation of numbers does not
    /// make a different payload.
    pub fn new(event: &serde_json::Value) -> Self {
        let hash = |text: String| xxh3_64(text.as_bytes()).cast_signed();
        Self { canonical: hash(canonical::text(event)), as_written: hash(event.to_string()) }
    }

    /// Returns the hash to store.
    pub fn stored(self) -> i64 {
        self.canonical
    }

    /// Returns whether a stored hash belongs to the same payload. Older versions, which did not compare numbers by
    /// value, stored a different hash. That hash is accepted, too.
    pub fn is(self, stored: i64) -> bool {
        [self.canonical, self.as_written].contains(&stored)
    }
}

/// Returns the first 128 bits of a SHA-256 hash. Users choose their keys, and must not be able to find a key that
/// collides with another user's key.
pub(crate) fn hash(parts: &[&[u8]]) -> Uuid {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize()[..16]);
    Uuid::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(headers: &[(&str, &'static str)]) -> Option<Uuid> {
        from_headers(|name| headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_bytes()))
    }

    #[test]
    fn an_id_depends_on_its_sender_and_its_key() {
        let base = id(&[("idempotency-key", "a"), ("sluice-user", "ann")]);
        assert!(base.is_some());
        assert_ne!(base, id(&[("idempotency-key", "a"), ("sluice-user", "bob")]));
        assert_ne!(base, id(&[("idempotency-key", "b"), ("sluice-user", "ann")]));
        assert_eq!(base, id(&[("idempotency-key", "a"), ("sluice-user", "ann"), ("ce_id", "1"), ("ce_source", "x")]));
        assert_ne!(id(&[("ce_id", "1"), ("ce_source", "x")]), id(&[("ce_id", "x"), ("ce_source", "1")]));
        assert_eq!(id(&[("ce_id", "1")]), None);
        assert_eq!(base, id(&[("idempotency-key", "a"), ("sluice-user", "ann"), ("sluice-replay", "1")]));
        assert_ne!(id(&[("sluice-replay", "1")]), id(&[("sluice-replay", "2")]));
    }

    #[test]
    fn an_empty_header_or_a_blank_key_is_no_id() {
        for none in ["", " ", "\t\n"] {
            assert_eq!(id(&[("idempotency-key", none), ("sluice-user", "ann")]), None, "{none:?}");
            let with_cloud_event = id(&[("idempotency-key", none), ("ce_id", "1"), ("ce_source", "x")]);
            assert_eq!(with_cloud_event, id(&[("ce_id", "1"), ("ce_source", "x")]), "{none:?}");
        }
        assert_eq!(id(&[("ce_id", ""), ("ce_source", "x")]), None);
        assert_eq!(id(&[("ce_id", "1"), ("ce_source", "")]), None);
        assert_eq!(id(&[("sluice-replay", "")]), None);
    }

    #[test]
    fn neither_order_nor_blanks_nor_the_notation_of_numbers_makes_another_payload() {
        let hash = |text: &str| serde_json::from_str(text).map(|event| PayloadHash::new(&event).stored()).ok();
        assert_eq!(hash("{\"a\":1,\"b\":[2]}"), hash("{ \"b\" : [20e-1], \"a\":1.0 }"));
        assert_ne!(hash("{\"a\":1}"), hash("{\"a\":2}"));
        assert_ne!(hash("{\"a\":9007199254740992.0}"), hash("{\"a\":9007199254740993.0}"));
    }

    #[test]
    fn a_hash_that_an_older_version_stored_still_matches_its_payload() {
        let event: serde_json::Value = serde_json::from_str("{\"a\":1.50}").unwrap_or_default();
        let stored = xxh3_64(event.to_string().as_bytes()).cast_signed();
        assert!(PayloadHash::new(&event).is(stored));
        assert!(!PayloadHash::new(&serde_json::json!({"a": 1.25})).is(stored));
    }
}
