//! Ids under which an event lands at most once, however often it is sent.

use sha2::{Digest, Sha256};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// The header that carries an `Idempotency-Key` on a record.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that carries the sender's name on a record.
pub const USER: &str = "sluice-user";
/// The header of a CloudEvent's `id` (CloudEvents Kafka binding, section 3.2.3).
pub const CLOUD_EVENT_ID: &str = "ce_id";
/// The header of a CloudEvent's `source`.
pub const CLOUD_EVENT_SOURCE: &str = "ce_source";

/// The header of a dead letter that was put back on its topic: the dead letter's number.
pub const REPLAY: &str = "sluice-replay";

/// How long an id is remembered at least.
pub const REMEMBERED_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// The id of an event, from its record's headers: of its sender and its `Idempotency-Key` or, without one, its
/// CloudEvents `source` and `id` (CloudEvents 1.0, section 3.1.1: unique together), or else of the dead letter that was
/// put back. None: the event has no id.
///
/// `header` answers the first value of a header of that name.
pub fn of<'h>(header: impl Fn(&str) -> Option<&'h [u8]>) -> Option<Uuid> {
    let user = header(USER).unwrap_or_default();
    if let Some(key) = header(IDEMPOTENCY_KEY) {
        Some(hash(&[b"key", user, key]))
    } else if let (Some(source), Some(id)) = (header(CLOUD_EVENT_SOURCE), header(CLOUD_EVENT_ID)) {
        Some(hash(&[b"cloud-event", user, source, id]))
    } else {
        Some(hash(&[b"dead-letter", header(REPLAY)?]))
    }
}

/// What tells two payloads under one id apart: a hash of the event with its members sorted, so that another
/// serialiser's order or blanks are no other payload.
pub fn payload_hash(event: &serde_json::Value) -> i64 {
    xxh3_64(event.to_string().as_bytes()).cast_signed()
}

/// SHA-256, cut to 128 bits: keys are chosen by users, who must not be able to meet another's.
fn hash(parts: &[&[u8]]) -> Uuid {
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
        of(|name| headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_bytes()))
    }

    #[test]
    fn an_id_is_of_its_sender_and_its_key() {
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
    fn order_and_blanks_are_no_other_payload() {
        let hash = |text: &str| serde_json::from_str(text).map(|event| payload_hash(&event)).ok();
        assert_eq!(hash("{\"a\":1,\"b\":[2]}"), hash("{ \"b\" : [2], \"a\":1 }"));
        assert_ne!(hash("{\"a\":1}"), hash("{\"a\":2}"));
    }
}
