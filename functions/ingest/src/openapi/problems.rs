//! An operation's answers, which are receipts or problems. Each type of problem has its own schema, so that an
//! operation can list exactly the problems that it may have.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use shared::http::problem_type::ProblemType;

use super::examples;
use super::parts::{media, schema};

const REQUEST_ID: &str = "5f0c6f0e-8a1e-4c55-9d3f-3a8f0d3b2f11";

/// Returns the responses with these problems, by status.
pub(super) fn responses(problems: &[ProblemType]) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, BTreeMap<&str, ProblemType>> = BTreeMap::new();
    for known in problems {
        by_status.entry(known.status.as_u16()).or_default().insert(known.code, *known);
    }
    let mut responses: Map<String, Value> =
        by_status.into_iter().map(|(status, problems)| (status.to_string(), response(problems.values()))).collect();
    responses.insert("429".to_owned(), json!({"$ref": "#/components/responses/Throttled"}));
    responses
}

fn response<'p>(problems: impl ExactSizeIterator<Item = &'p ProblemType> + Clone) -> Value {
    let titles: Vec<&str> = problems.clone().map(|known| known.title).collect();
    let schemas: Vec<Value> = problems.clone().map(|known| schema(&schema_name(known))).collect();
    let schema = match <[Value; 1]>::try_from(schemas) {
        Ok([only]) => only,
        Err(several) => json!({"oneOf": several}),
    };
    let example =
        |known: &ProblemType| (known.code.to_owned(), json!({"$ref": format!("#/components/examples/{}", known.code)}));
    let headers: Map<String, Value> = problems.clone().filter_map(header).collect();
    let examples: Map<String, Value> = problems.map(example).collect();
    let mut response = json!({
        "description": format!("{}.", titles.join(", or: ")),
        "content": {"application/problem+json": {"schema": schema, "examples": examples}}
    });
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}

/// Returns the header that comes with a problem.
fn header(known: &ProblemType) -> Option<(String, Value)> {
    let (name, schema, example) = match *known {
        ProblemType::UNAUTHORIZED => {
            ("WWW-Authenticate", json!({"type": "string"}), json!("Basic realm=\"sluice\", charset=\"UTF-8\""))
        }
        ProblemType::BLOCKED | ProblemType::UNAVAILABLE => ("Retry-After", json!({"type": "integer"}), json!(2)),
        ProblemType::CONTENT_ENCODING => ("Accept-Encoding", json!({"type": "string"}), json!("gzip, zstd")),
        _ => return None,
    };
    Some((name.to_owned(), json!({"schema": schema, "example": example})))
}

fn schema_name(known: &ProblemType) -> String {
    format!("Problem.{}", known.code)
}

/// Returns the schemas of all types of problems.
pub(super) fn schemas() -> impl Iterator<Item = (String, Value)> {
    let base = json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request_id": {"type": "string"}
        }
    });
    let one = |known: &ProblemType| {
        let mut own = json!({"type": {"const": known.uri()}, "status": {"const": known.status.as_u16()}});
        let (required, members) = members(known);
        for (name, member) in members {
            own[name] = member;
        }
        let text = format!("{} {}", known.meaning, known.remedy);
        let own = json!({"type": "object", "required": required, "properties": own});
        (schema_name(known), json!({"description": text, "allOf": [schema("Problem"), own]}))
    };
    std::iter::once(("Problem".to_owned(), base)).chain(ProblemType::ALL.iter().map(one))
}

/// Returns the members that this type of problem adds to the common members: the names of the required members, and the
/// schemas of all added members.
fn members(known: &ProblemType) -> (&'static [&'static str], Vec<(&'static str, Value)>) {
    let place = || json!({"type": "integer", "minimum": 1});
    let list = |item: &str| json!({"type": "array", "items": schema(item)});
    let wrong_password = || json!({"const": "Wrong password"});
    match *known {
        ProblemType::NOT_JSON => (&["line", "column"], vec![("line", place()), ("column", place())]),
        // `errors` is present only if the mistake is in a JSON body.
        ProblemType::MALFORMED => (&[], vec![("errors", list("FieldError"))]),
        ProblemType::UNAUTHORIZED => (&[], vec![("error", wrong_password())]),
        ProblemType::WRONG_PASSWORD => (&["error"], vec![("error", wrong_password())]),
        ProblemType::TOO_LARGE | ProblemType::UNAVAILABLE => (&[], vec![("receipts", list("Receipt"))]),
        ProblemType::CONTRACT => (&["errors"], vec![("errors", list("EventError"))]),
        ProblemType::REFUSED => (&["errors"], vec![("errors", list("FieldError"))]),
        ProblemType::REJECTED => (
            &["accepted", "receipts"],
            vec![
                ("accepted", json!({"type": "integer", "minimum": 1})),
                ("receipts", list("Receipt")),
                ("errors", list("EventError")),
            ],
        ),
        _ => (&[], Vec::new()),
    }
}

/// Returns an example of each type of problem.
pub(super) fn problem_examples() -> Map<String, Value> {
    let one = |known: &ProblemType| {
        let mut value = json!({
            "type": known.uri(),
            "title": known.title,
            "status": known.status.as_u16(),
            "detail": known.meaning,
            "request_id": REQUEST_ID
        });
        let members = match *known {
            ProblemType::NOT_JSON => json!({"line": 1, "column": 17}),
            ProblemType::WRONG_PASSWORD => json!({"error": "Wrong password"}),
            ProblemType::CONTRACT => json!({"errors": [examples::event_error()]}),
            ProblemType::REFUSED => json!({"errors": [examples::field_error()]}),
            ProblemType::REJECTED => json!({"accepted": 1, "receipts": [examples::rejected_receipt()]}),
            ProblemType::UNAVAILABLE => json!({"receipts": []}),
            _ => json!({}),
        };
        for (name, member) in members.as_object().into_iter().flatten() {
            value[name] = member.clone();
        }
        (known.code.to_owned(), json!({"summary": known.title, "value": value}))
    };
    ProblemType::ALL.iter().map(one).collect()
}

/// Returns the answer `200` of an operation that sends events.
pub(super) fn written(topic: &str) -> Value {
    let example = json!({"accepted": 1, "receipts": [examples::written_receipt(topic)]});
    receipts("If the request prefers to wait: each event is `written`, `duplicate` or `superseded`.", example)
}

/// Extends the answer `200` to cover requests with `validate_only`.
pub(super) fn or_validated(written: &mut Value) {
    written["description"] = json!(
        "If the request prefers to wait: each event is `written`, `duplicate` or `superseded`. If the request has `validate_only`: the events are valid, and nothing was sent."
    );
    let content = &mut written["content"]["application/json"];
    let example = content["example"].take();
    *content = json!({
        "schema": {"anyOf": [schema("Accepted"), schema("Validated")]},
        "examples": {
            "written": {"value": example},
            "validated": {"value": {"valid": 1, "rows": [{"name": "Europe", "area": 10_180_000}]}}
        }
    });
}

/// Returns the answer `202` of an operation that sends events.
pub(super) fn accepted(topic: &str) -> Value {
    let example = json!({"accepted": 1, "receipts": [examples::receipt(topic)]});
    receipts("The broker has acknowledged the events.", example)
}

fn receipts(description: &str, example: Value) -> Value {
    json!({
        "description": description,
        "headers": {
            "Location": {"description": "The address of the receipt, if exactly one event was accepted.", "schema": {"type": "string"}, "example": "/receipts/routes/2/17"},
            "Preference-Applied": {"schema": {"type": "string"}, "example": "wait=10"}
        },
        "content": {"application/json": media(schema("Accepted"), example)}
    })
}

/// Returns the response to a throttled request. API Gateway sends this response; the request reaches no function.
pub(super) fn throttled() -> Value {
    let message = json!({"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}});
    json!({
        "description": "API Gateway received too many requests. The body comes from API Gateway.",
        "content": {"application/json": media(message, json!({"message": "Too Many Requests"}))}
    })
}
