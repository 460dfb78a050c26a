//! The schemas of requests and responses.

use serde_json::{Map, Value, json};
use shared::contract::{ColumnType, Contract, Entity};

use super::explicit::make_explicit;
use super::parts::schema;

/// Returns a contract's schema, with the references adjusted to the schema's place in the document.
pub(super) fn event(contract: &Contract) -> Value {
    let mut document = contract.document.clone();
    if let Some(members) = document.as_object_mut() {
        members.remove("$schema");
        members.remove("x-sluice");
    }
    make_explicit(&mut document);
    adjust_references(&mut document, &format!("#/components/schemas/{}", contract.stream));
    document
}

fn adjust_references(schema: &mut Value, home: &str) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), &member) {
                    ("$ref", Value::String(reference)) => {
                        if let Some(fragment) = reference.strip_prefix('#') {
                            *member = format!("{home}{fragment}").into();
                        }
                    }
                    // The values of these keywords are data, not schemas.
                    ("const" | "default" | "enum" | "examples", _) => {}
                    _ => adjust_references(member, home),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| adjust_references(element, home)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the name of the schema of an entity's rows.
pub(super) fn row_name(contract: &Contract) -> String {
    format!("{}.row", contract.stream)
}

/// Returns the schema of an entity's rows.
pub(super) fn row(entity: &Entity) -> Value {
    let columns = entity.landing.columns.iter().map(|column| (column.name.clone(), column_type(column.ty)));
    let required: Vec<&str> = entity.landing.columns.iter().map(|column| column.name.as_str()).collect();
    json!({"type": "object", "required": required, "properties": columns.collect::<Map<_, _>>()})
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

/// Returns the schemas that do not depend on the contracts. The names of streams are in lower case, so they cannot
/// collide with the names of these schemas.
pub(super) fn fixed() -> Map<String, Value> {
    let status = json!({"enum": ["pending", "waiting", "written", "duplicate", "superseded", "rejected", "lost"]});
    let number = json!({"type": "integer", "minimum": 0});
    let stalled = json!({"type": "string", "description": "Why the partition's events cannot land. Present only if the event is pending."});
    let replayed_as = json!({
        "allOf": [schema("Receipt")],
        "description": "The receipt of the event's last replay, with the replay's status."
    });
    let schemas = [
        (
            "Receipt",
            json!({
                "type": "object",
                "description": "The position of an accepted event and, if the request waited for it, its status.",
                "required": ["topic", "partition", "offset", "timestamp", "href"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0, "description": "The event's index in the batch. Present if handling is lenient, or if some events have no receipt."},
                    "topic": {"type": "string"},
                    "partition": number,
                    "offset": number,
                    "timestamp": {"type": "integer", "description": "Milliseconds since the Unix epoch."},
                    "href": {"type": "string", "format": "uri-reference"},
                    "status": status,
                    "reason": {"type": "string"},
                    "stalled": stalled
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
            "Validated",
            json!({
                "type": "object",
                "required": ["valid"],
                "properties": {
                    "valid": {"type": "integer", "minimum": 1, "description": "The number of valid events."},
                    "rows": {
                        "type": "array",
                        "description": "The rows of the valid events, in order. Values that Kafka assigns are null. A change set has one entry per change.",
                        "items": {"type": "object"}
                    },
                    "omitted": {"type": "integer", "minimum": 1, "description": "The number of rows that are left out at the end, because they did not fit into the response."},
                    "errors": {"type": "array", "items": schema("EventError")}
                }
            }),
        ),
        (
            "EventStatus",
            json!({
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": status,
                    "reason": {"type": "string"},
                    "stalled": stalled,
                    "replayed_as": replayed_as
                }
            }),
        ),
        (
            "ReceiptStatus",
            json!({"allOf": [
                {
                    "type": "object",
                    "required": ["topic", "partition", "offset"],
                    "properties": {"topic": {"type": "string"}, "partition": number, "offset": number}
                },
                {"$ref": "#/components/schemas/EventStatus"}
            ]}),
        ),
        (
            "Gap",
            json!({
                "type": "object",
                "required": ["destination", "topic", "partition", "first_offset", "last_offset", "cause", "is_exact", "noted_at"],
                "properties": {
                    "destination": {"type": "string"},
                    "topic": {"type": "string"},
                    "partition": number,
                    "first_offset": number,
                    "last_offset": number,
                    "cause": {"enum": ["retention", "compaction", "transaction", "unknown"]},
                    "is_exact": {"type": "boolean", "description": "False if the gap was merged from older gaps and also spans applied records."},
                    "noted_at": {"type": "string", "format": "date-time"}
                }
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
            "FieldError",
            json!({
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON pointer into the posted fields."},
                    "detail": {"type": "string"}
                }
            }),
        ),
        (
            "DeadLetter",
            json!({
                "type": "object",
                "required": [
                    "id", "stream", "destination", "topic", "partition", "offset", "timestamp", "rejected_at", "reason",
                    "error_code", "constraint", "table", "column", "pointer", "status", "replays", "replay_of", "note",
                    "headers", "key", "payload"
                ],
                "properties": {
                    "id": {"type": "integer"},
                    "stream": {"type": ["string", "null"], "description": "The stream that uses the topic. Null if no stream uses it any more."},
                    "destination": {"enum": ["postgresql", "bigquery"], "description": "Where the event could not be written."},
                    "topic": {"type": "string"},
                    "partition": number,
                    "offset": number,
                    "timestamp": {"type": "integer", "description": "The record's time in milliseconds since the Unix epoch."},
                    "rejected_at": {"type": "string", "format": "date-time", "description": "When the event became a dead letter."},
                    "reason": {"type": "string"},
                    "error_code": {"type": "string", "description": "An SQLSTATE, or one of Sluice's own codes."},
                    "constraint": {
                        "type": ["string", "null"],
                        "description": "The constraint or index that rejected the row, if PostgreSQL names it."
                    },
                    "table": {"type": ["string", "null"], "description": "The table, if PostgreSQL names it."},
                    "column": {"type": ["string", "null"], "description": "The column, if PostgreSQL names it."},
                    "pointer": {
                        "type": ["string", "null"],
                        "description": "A JSON pointer to the wrong value in the payload, if known."
                    },
                    "status": {"enum": ["open", "replayed", "discarded", "expired"]},
                    "replays": {"type": "integer", "minimum": 0, "description": "How often the event was replayed, including replays of its earlier dead letters."},
                    "replay_of": {"type": ["integer", "null"], "description": "The id of the dead letter that was replayed, if this event was a replay."},
                    "note": {"type": ["string", "null"], "description": "The note of the admin who discarded the letter."},
                    "replayed_as": replayed_as,
                    "headers": {"type": "array", "items": {"type": "object"}},
                    "key": {"type": ["string", "null"]},
                    "key_base64": {"type": "string", "contentEncoding": "base64"},
                    "payload": {"description": "The event. An event that is not JSON is a string. An event that is not UTF-8 is null."},
                    "payload_base64": {"type": "string", "contentEncoding": "base64"}
                }
            }),
        ),
        (
            "FollowedEvent",
            json!({
                "type": "object",
                "required": ["topic", "partition", "offset", "accepted_at", "user", "trace_id", "headers", "key", "payload", "status", "reason", "landed_at", "row", "dead_letter"],
                "properties": {
                    "topic": {"type": "string"},
                    "partition": number,
                    "offset": number,
                    "accepted_at": {"type": ["string", "null"], "format": "date-time", "description": "Null if Kafka no longer has the record."},
                    "user": {"type": ["string", "null"]},
                    "trace_id": {"type": ["string", "null"]},
                    "headers": {"type": ["array", "null"], "items": {"type": "object"}},
                    "key": {"type": ["string", "null"]},
                    "payload": {"description": "The event. An event that is not JSON, or that is cut, is a string. An event that is not UTF-8 is null."},
                    "payload_base64": {"type": "string", "contentEncoding": "base64"},
                    "payload_truncated": {"const": true, "description": "The payload is cut at 64 KiB."},
                    "status": status,
                    "reason": {"type": ["string", "null"]},
                    "landed_at": {"type": ["string", "null"], "format": "date-time", "description": "Exact to the minute."},
                    "row": {"type": ["object", "null"], "description": "The current row, if the contract has columns that identify it."},
                    "dead_letter": {"type": ["object", "null"]}
                }
            }),
        ),
        (
            "Stream",
            json!({
                "type": "object",
                "required": ["stream", "topic", "partitions", "mode", "table", "bigquery", "roles", "contract"],
                "properties": {
                    "stream": {"type": "string"},
                    "topic": {"type": "string"},
                    "partitions": {"type": "integer", "minimum": 1},
                    "mode": {"enum": ["append", "upsert", "entity", "changes"]},
                    "table": {"type": ["string", "null"]},
                    "bigquery": {
                        "type": ["object", "null"],
                        "description": "Where the events land in BigQuery. Null if the contract's `x-sluice` block has no `bigquery`.",
                        "required": ["table", "dataset", "evolve", "columns"],
                        "properties": {
                            "table": {"type": ["string", "null"]},
                            "dataset": {
                                "type": ["string", "null"],
                                "description": "In mode `changes`, the dataset in which the events land. Null in other modes."
                            },
                            "evolve": {"type": "boolean"},
                            "columns": {
                                "type": "object",
                                "additionalProperties": {"type": "string"},
                                "description": "The types of the columns, by name."
                            }
                        }
                    },
                    "roles": {
                        "type": "array",
                        "items": {"enum": ["user", "admin"]},
                        "description": "The roles that may post. If there are none, only service keys may post. If the stream `login` has no roles, no caller may post to that stream."
                    },
                    "contract": {"type": "object"}
                }
            }),
        ),
        (
            "Explanation",
            json!({
                "type": "object",
                "required": ["type", "status", "title", "meaning", "remedy"],
                "properties": {
                    "type": {"type": "string", "format": "uri-reference"},
                    "status": {"type": "integer"},
                    "title": {"type": "string"},
                    "meaning": {"type": "string"},
                    "remedy": {"type": "string", "description": "What to do about it."}
                }
            }),
        ),
        (
            "Health",
            json!({
                "type": "object",
                "required": ["status", "broker", "database", "stalled"],
                "properties": {
                    "status": {"const": "ok"},
                    "broker": {"const": "ok"},
                    "database": {"const": "ok"},
                    "stalled": {
                        "type": "array",
                        "description": "The partitions whose events cannot land. The events wait in Kafka. The oldest stall is listed first.",
                        "items": {
                            "type": "object",
                            "required": ["topic", "partition", "destination", "reason", "since"],
                            "properties": {
                                "topic": {"type": "string"},
                                "partition": number,
                                "destination": {"type": "string"},
                                "reason": {"type": "string"},
                                "since": {"type": "string", "format": "date-time"}
                            }
                        }
                    }
                }
            }),
        ),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}
