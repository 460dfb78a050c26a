//! Parts that several operations have in common.

use serde_json::{Map, Value, json};

/// Returns a media type with its schema and an example.
pub(super) fn media(schema: Value, example: Value) -> Value {
    json!({"schema": schema, "example": example})
}

/// Returns a reference to a schema.
pub(super) fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Returns the schema of a list.
pub(super) fn list_of(item: Value) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": {"type": "array", "items": item}, "next": {"type": ["string", "null"]}}
    })
}

/// Returns an example of a list's last page. The page has one item.
pub(super) fn page_of(item: Value) -> Value {
    json!({"items": [item], "next": null})
}

/// Adds the parameters that every list has.
pub(super) fn paged(mut parameters: Vec<Value>) -> Vec<Value> {
    parameters.extend(["After", "Limit"].map(shared_parameter));
    parameters
}

pub(super) fn path_parameter(name: &str, schema: Value, example: Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": schema, "example": example})
}

pub(super) fn query_parameter(name: &str, schema: Value, example: Value, description: &str) -> Value {
    json!({"name": name, "in": "query", "schema": schema, "example": example, "description": description})
}

pub(super) fn shared_parameter(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

/// Returns paths, each with its methods.
pub(super) fn paths<const N: usize>(paths: [(&str, Value); N]) -> Map<String, Value> {
    paths.into_iter().map(|(path, item)| (path.to_owned(), item)).collect()
}
