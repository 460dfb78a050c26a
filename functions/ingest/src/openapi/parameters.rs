//! The parameters that several operations share.

use serde_json::{Value, json};

/// Returns the parameters that several operations share.
pub(super) fn shared() -> Value {
    json!({
        "Prefer": {
            "name": "Prefer", "in": "header", "schema": {"type": "string"},
            "description": "RFC 7240. wait=N (at most 25): waits up to N seconds for the events to be written. \
                            handling=lenient: accepts the valid events of a batch. return=minimal: omits the receipts.",
            "example": "wait=10, handling=lenient"
        },
        "ValidateOnly": {
            "name": "validate_only", "in": "query", "schema": {"type": "boolean", "default": false},
            "example": false,
            "description": "Checks the events and returns the rows that they would become. Nothing is sent."
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "example": "order-4711",
            "description": "An event with this key lands at most once. In a batch, each event's key is this key, a space and the event's index."
        },
        "Traceparent": {
            "name": "traceparent", "in": "header", "schema": {"type": "string"},
            "description": "W3C Trace Context. A valid value is passed on with the events.",
            "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        },
        "ContentEncoding": {
            "name": "Content-Encoding", "in": "header", "schema": {"enum": ["identity", "gzip", "zstd"]},
            "example": "identity", "description": "How the body is compressed."
        },
        "After": {
            "name": "after", "in": "query", "schema": {"type": "string"},
            "example": "7", "description": "The value of next in the previous page. Lists the items after that page."
        },
        "Limit": {
            "name": "limit", "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
            "example": 100, "description": "The maximum number of items to return."
        }
    })
}
