//! The schemas of the requests and responses of the function `console`.

use serde_json::{Map, Value, json};

use super::parts::schema;

/// Returns the members of a filter of dead letters, with their schemas.
pub(super) fn filter_members() -> Map<String, Value> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let time = |description: &str| json!({"type": "string", "format": "date-time", "description": description});
    let members = [
        ("stream", text("The stream that uses the letter's topic.")),
        ("topic", text("The topic.")),
        ("error_code", text("The error code.")),
        ("reason", text("The whole reason, or the reason of a group.")),
        ("contains", text("A text in the payload or in the reason.")),
        ("since", time("Matches events that became dead letters at or after this time.")),
        ("until", time("Matches events that became dead letters before this time.")),
        ("status", json!({"enum": ["open", "replayed", "discarded", "expired"], "default": "open"})),
        ("ids", json!({"type": "array", "maxItems": 1000, "items": {"type": "integer"}})),
    ];
    members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Returns the schemas.
pub(super) fn all() -> Map<String, Value> {
    let number = json!({"type": "integer", "minimum": 0});
    let time = json!({"type": "string", "format": "date-time"});
    let schemas = [
        ("DeadLetterFilter", json!({"type": "object", "additionalProperties": false, "properties": filter_members()})),
        (
            "DeadLetterGroup",
            json!({
                "type": "object",
                "description": "Letters of one stream that have the same error code, and whose reasons are equal except for quoted values and numbers.",
                "required": ["stream", "topic", "error_code", "reason", "count", "first_at", "last_at", "sample_id"],
                "properties": {
                    "stream": {"type": ["string", "null"]},
                    "topic": {"type": "string"},
                    "error_code": {"type": "string"},
                    "reason": {"type": "string", "description": "The reason, if all letters of the group have the same reason. Otherwise, the form that their reasons share: the character … replaces each quoted value and each number. As a filter, this text selects the group."},
                    "count": number,
                    "first_at": time,
                    "last_at": time,
                    "sample_id": {"type": "integer"}
                }
            }),
        ),
        (
            "ReplayRun",
            json!({
                "type": "object",
                "required": ["id", "count", "replayed", "skipped", "skip_reasons", "status", "href", "created_by", "created_at", "finished_at", "filter", "force"],
                "properties": {
                    "id": {"type": "integer"},
                    "count": {"type": "integer", "minimum": 0, "description": "How many letters matched when the run was created."},
                    "replayed": number,
                    "skipped": {"type": "integer", "minimum": 0, "description": "How many letters were skipped. A letter is skipped if a request to replay this letter alone would be refused, or if the letter's event was already replayed three times."},
                    "skip_reasons": {
                        "type": "object", "additionalProperties": number,
                        "description": "How many letters were skipped for each reason: `not_open` (replayed, discarded, expired or deleted), `no_stream` (no stream uses the topic any more), `of_bigquery` (the event could not be written to BigQuery, and such letters cannot be replayed yet), `replayed_often` (the event was replayed three times), `later_event` (a later event with the same key was written or may still be written), `later_event_possible` (such an event cannot be ruled out, because Kafka no longer has the letter's event or the search took too long) or `too_large` (for the broker). Letters that an older version of Sluice skipped are counted only in `skipped`."
                    },
                    "status": {"enum": ["running", "done", "cancelled"]},
                    "href": {"type": "string", "format": "uri-reference"},
                    "created_by": {"type": "string"},
                    "created_at": time,
                    "finished_at": {"type": ["string", "null"], "format": "date-time"},
                    "filter": schema("DeadLetterFilter"),
                    "force": {"type": "boolean"}
                }
            }),
        ),
        (
            "AuditEntry",
            json!({
                "type": "object",
                "required": ["id", "at", "user", "action", "object", "detail"],
                "properties": {
                    "id": {"type": "integer"},
                    "at": time,
                    "user": {"type": "string"},
                    "action": {"enum": ["created", "deleted", "replayed", "cancelled", "discarded", "unblocked"]},
                    "object": {"type": "string", "example": "dead-letters/17"},
                    "detail": {"type": "object"}
                }
            }),
        ),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Returns the schema of a stream's activity.
pub(super) fn stream_activity() -> Value {
    let number = || json!({"type": "integer", "minimum": 0});
    let time = || json!({"type": "string", "format": "date-time"});
    let counts =
        ["accepted", "written", "duplicate", "superseded", "waiting", "released", "rejected", "tombstones", "replays"];
    let mut properties: Map<String, Value> = counts.map(|name| (name.to_owned(), number())).into_iter().collect();
    properties.insert("minute".to_owned(), time());
    properties.insert("lag_ms".to_owned(), json!({"type": ["integer", "null"], "minimum": 0}));
    let minute = json!({"type": "object", "required": properties.keys().collect::<Vec<_>>(), "properties": properties});
    json!({
        "type": "object",
        "required": [
            "stream", "topic", "destination", "lag_events", "lag_seconds", "oldest_waiting_at", "open_dead_letters",
            "minutes"
        ],
        "properties": {
            "stream": {"type": "string"},
            "topic": {"type": "string"},
            "destination": {"enum": ["postgresql"]},
            "lag_events": {"type": ["integer", "null"], "description": "Null if Kafka did not answer."},
            "lag_seconds": {"type": ["number", "null"], "description": "Null if Kafka did not answer in time."},
            "oldest_waiting_at": {"type": ["string", "null"], "format": "date-time"},
            "open_dead_letters": number(),
            "minutes": {"type": "array", "items": minute}
        }
    })
}
