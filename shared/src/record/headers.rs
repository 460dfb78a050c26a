//! The names of the headers that Sluice reads and writes on records, except those of replays.

/// The header that carries an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that carries the sender's name.
pub const USER: &str = "sluice-user";
/// The header of a CloudEvent's `id` (CloudEvents Kafka binding, section 3.2.3).
pub const CLOUD_EVENT_ID: &str = "ce_id";
/// The header of a CloudEvent's `source`.
pub const CLOUD_EVENT_SOURCE: &str = "ce_source";
/// The header that carries the W3C Trace Context of the request.
pub const TRACEPARENT: &str = "traceparent";
