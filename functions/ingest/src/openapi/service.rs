//! The operations about Sluice itself, and the report.

use serde_json::{Map, Value, json};
use shared::http::problem_type::ProblemType;

use super::examples;
use super::operation::Operation;
use super::parts::{path_parameter, paths, query_parameter, schema};

/// Returns the paths.
pub(super) fn all() -> Map<String, Value> {
    let known = json!({"enum": ProblemType::ALL.iter().map(|known| known.code).collect::<Vec<_>>()});
    let explanation = serde_json::to_value(ProblemType::CONTRACT.explain()).unwrap_or_default();
    let problem = Operation::new("service", "getProblem", "What a type of problem means, and what to do about it")
        .open()
        .parameters(vec![path_parameter("code", known, json!(ProblemType::CONTRACT.code))])
        .ok(schema("Explanation"), explanation)
        .or_page()
        .never(ProblemType::UNAVAILABLE)
        .fails(&[ProblemType::NOT_FOUND]);
    let health = Operation::new("service", "getHealth", "Whether the broker and the database answer")
        .open()
        .ok(schema("Health"), examples::health())
        .never(ProblemType::MALFORMED);
    let document = Operation::new("service", "getOpenApi", "This document")
        .open()
        .ok(json!({"type": "object"}), json!({"openapi": "3.1.0"}))
        .never(ProblemType::MALFORMED)
        .never(ProblemType::UNAVAILABLE);
    paths([
        ("/report", json!({"get": report()})),
        ("/problems/{code}", json!({"get": problem.build()})),
        ("/health", json!({"get": health.build()})),
        ("/openapi.json", json!({"get": document.build()})),
    ])
}

/// Returns `GET /report`, which the function `report` answers.
fn report() -> Value {
    const FORM: &str = "A date, or a time such as 2019-05-07T19:54:13.563. A time with an offset is converted to UTC.";
    let time = |name: &str, example: &str, description: &str| {
        query_parameter(name, json!({"type": "string"}), example.into(), &format!("{description} {FORM}"))
    };
    let by = json!({"enum": ["city", "country", "hour"], "default": "city"});
    let stats = json!({
        "type": "object",
        "required": ["timestamp", "stats"],
        "properties": {
            "timestamp": {"type": "string", "format": "date-time"},
            "stats": {"type": "object", "additionalProperties": {"type": "integer"}}
        }
    });
    Operation::new("reports", "getReport", "User events, counted")
        .parameters(vec![
            query_parameter("by", by, "city".into(), "What to count by."),
            time("from", "2019-05-07", "Excludes events before this time."),
            time("to", "2019-05-08T12:00:00", "Excludes events at or after this time."),
        ])
        .ok(stats, json!({"timestamp": "2019-05-07T19:54:13.563Z", "stats": {"Baltimore": 3, "Holland": 1}}))
        .or_page()
        .build()
}
