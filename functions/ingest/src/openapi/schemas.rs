//! What goes in and comes out.

use serde_json::{Map, Value, json};
use shared::contract::{ColumnType, Contract, Entity};

use super::schema;

/// A contract's schema. References within it are made to lead to where it now stands.
pub(super) fn event(contract: &Contract) -> Value {
    let mut document = contract.document.clone();
    if let Some(members) = document.as_object_mut() {
        members.remove("$schema");
        members.remove("x-sluice");
    }
    lead_references(&mut document, &format!("#/components/schemas/{}", contract.stream));
    document
}

fn lead_references(schema: &mut Value, home: &str) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), &member) {
                    ("$ref", Value::String(reference)) => {
                        if let Some(fragment) = reference.strip_prefix('#') {
                            *member = format!("{home}{fragment}").into();
                        }
                    }
                    // Data, not schemas.
                    ("const" | "default" | "enum" | "examples", _) => {}
                    _ => lead_references(member, home),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| lead_references(element, home)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the schema of an entity's rows is called.
pub(super) fn row_name(contract: &Contract) -> String {
    format!("{}.row", contract.stream)
}

/// An entity's row.
pub(super) fn row(entity: &Entity) -> Value {
    let columns = entity.landing.columns.iter().map(|column| (column.name.clone(), column_type(column.ty)));
    json!({"type": "object", "properties": columns.collect::<Map<_, _>>()})
}

fn column_type(ty: ColumnType) -> Value {
    match ty {
        ColumnType::Boolean => json!({"type": ["boolean", "null"]}),
        ColumnType::Smallint | ColumnType::Integer | ColumnType::Bigint => json!({"type": ["integer", "null"]}),
        ColumnType::Real | ColumnType::Double | ColumnType::Numeric => json!({"type": ["number", "null"]}),
        ColumnType::Text | ColumnType::Uuid | ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz => {
            json!({"type": ["string", "null"]})
        }
        ColumnType::Jsonb => json!({}),
    }
}

/// The schemas that do not depend on the contracts. Streams are named in lower case: names never meet.
pub(super) fn fixed() -> Map<String, Value> {
    let status = json!({"enum": ["pending", "waiting", "written", "duplicate", "rejected"]});
    let number = json!({"type": "integer", "minimum": 0});
    let schemas = [
        (
            "Receipt",
            json!({
                "type": "object",
                "description": "Where an accepted event lies and, if it was waited for, what became of it.",
                "required": ["topic", "partition", "offset", "timestamp", "href"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0, "description": "The event's, where others were left out."},
                    "topic": {"type": "string"},
                    "partition": number,
                    "offset": number,
                    "timestamp": {"type": "integer", "description": "Milliseconds since the Unix epoch."},
                    "href": {"type": "string", "format": "uri-reference"},
                    "status": status,
                    "reason": {"type": "string"}
                }
            }),
        ),
        (
            "Accepted",
            json!({
                "type": "object",
                "required": ["accepted"],
                "properties": {
                    "accepted": {"type": "integer", "minimum": 1},
                    "receipts": {"type": "array", "items": schema("Receipt")},
                    "errors": {"type": "array", "items": schema("EventError")}
                }
            }),
        ),
        (
            "Fate",
            json!({
                "type": "object",
                "required": ["status"],
                "properties": {"status": status, "reason": {"type": "string"}}
            }),
        ),
        (
            "EventError",
            json!({
                "type": "object",
                "required": ["index", "pointer", "detail"],
                "properties": {
                    "index": number,
                    "pointer": {"type": "string", "description": "A JSON pointer into the event."},
                    "detail": {"type": "string"},
                    "header": {"type": "string", "description": "The HTTP header that is wrong."},
                    "line": number,
                    "column": number
                }
            }),
        ),
        (
            "Problem",
            json!({
                "type": "object",
                "description": "RFC 9457.",
                "required": ["type", "title", "status", "detail", "request_id"],
                "properties": {
                    "type": {"type": "string", "format": "uri-reference"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "request_id": {"type": "string"},
                    "line": number,
                    "column": number,
                    "accepted": number,
                    "errors": {"type": "array", "items": schema("EventError")},
                    "receipts": {"type": "array", "items": schema("Receipt")}
                }
            }),
        ),
        (
            "DeadLetter",
            json!({
                "type": "object",
                "required": [
                    "id", "topic", "partition", "offset", "timestamp", "reason", "error_code", "status", "headers",
                    "key", "payload"
                ],
                "properties": {
                    "id": {"type": "integer"},
                    "topic": {"type": "string"},
                    "partition": number,
                    "offset": number,
                    "timestamp": {"type": "integer", "description": "Milliseconds since the Unix epoch."},
                    "reason": {"type": "string"},
                    "error_code": {"type": "string"},
                    "status": {"enum": ["open", "replayed"]},
                    "headers": {"type": "array", "items": {"type": "object"}},
                    "key": {"type": ["string", "null"]},
                    "key_base64": {"type": "string", "contentEncoding": "base64"},
                    "payload": {"description": "The event; a string if it is not JSON, null if it is not UTF-8."},
                    "payload_base64": {"type": "string", "contentEncoding": "base64"}
                }
            }),
        ),
        (
            "Stream",
            json!({
                "type": "object",
                "required": ["stream", "topic", "partitions", "mode", "table", "contract"],
                "properties": {
                    "stream": {"type": "string"},
                    "topic": {"type": "string"},
                    "partitions": {"type": "integer", "minimum": 1},
                    "mode": {"enum": ["append", "upsert", "entity", "changes"]},
                    "table": {"type": ["string", "null"]},
                    "contract": {"type": "object"}
                }
            }),
        ),
        (
            "Health",
            json!({
                "type": "object",
                "properties": {"status": {"const": "ok"}, "broker": {"const": "ok"}, "database": {"const": "ok"}}
            }),
        ),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Parameters that several operations have.
pub(super) fn parameters() -> Value {
    json!({
        "Prefer": {
            "name": "Prefer", "in": "header", "schema": {"type": "string"},
            "description": "RFC 7240. wait=N (25 at most): answers once the events are written. handling=lenient: \
                            takes the valid events of a batch. return=minimal: leaves receipts out.",
            "example": "wait=10, handling=lenient"
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "Under this key, for a batch with the event's index, an event lands at most once."
        },
        "ContentEncoding": {
            "name": "Content-Encoding", "in": "header", "schema": {"enum": ["identity", "gzip", "zstd"]}
        },
        "After": {
            "name": "after", "in": "query", "schema": {"type": "string"},
            "description": "A cursor from next: lists what follows."
        },
        "Limit": {
            "name": "limit", "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
        }
    })
}

/// Responses that several operations have.
pub(super) fn responses() -> Value {
    let accepted = |description: &str| {
        json!({
            "description": description,
            "headers": {
                "Location": {"description": "One event's receipt.", "schema": {"type": "string"}},
                "Preference-Applied": {"schema": {"type": "string"}}
            },
            "content": {"application/json": {"schema": schema("Accepted")}}
        })
    };
    json!({
        "Written": accepted("With Prefer: wait. All events are written, or repeat some that are."),
        "Accepted": accepted("The broker has acknowledged the events."),
        "Problem": {
            "description": "A problem, told by its type.",
            "content": {"application/problem+json": {"schema": schema("Problem")}}
        },
        "Unavailable": {
            "description": "Broker or database do not answer. receipts lists what the broker did acknowledge.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}}},
            "content": {"application/problem+json": {"schema": schema("Problem")}}
        }
    })
}
