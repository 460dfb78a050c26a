//! Finds schemas that no object meets.

use serde_json::{Map, Value};

use super::keyword::schemas;
use super::spelling::nearest;
use super::wrong::Wrong;

/// Checks that no schema requires a field that the same schema forbids. Such a schema rejects every object, so the
/// field's name is probably misspelt, or its property is missing.
pub(super) fn check(document: &Value) -> Result<(), Wrong> {
    // A schema within a `not` or an `if` may be unmeetable on purpose.
    for place in schemas(document).into_iter().filter(|place| !place.is_within(&["not", "if"])) {
        if let Some((index, field)) = required_but_forbidden(place.schema) {
            let pointer = place.pointer_to(&["required", &index.to_string()]);
            return Err(Wrong { pointer, reason: reason(place.schema, field) });
        }
    }
    Ok(())
}

/// Returns the first field that a closed schema requires although its `properties` do not list the field. The index is
/// the field's place in `required`.
fn required_but_forbidden(schema: &Value) -> Option<(usize, &str)> {
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    if !is_closed || schema.get("patternProperties").is_some() {
        return None;
    }
    let mut fields = required(schema).enumerate();
    fields.find(|(_, field)| !properties(schema).any(|property| property == *field))
}

fn reason(schema: &Value, field: &str) -> String {
    let not_yet_required = properties(schema).filter(|property| !required(schema).any(|field| field == *property));
    let remedy = match nearest(field, not_yet_required) {
        Some(property) => format!("write {property:?}, or add the field to \"properties\""),
        None => "add the field to \"properties\", or remove it from \"required\"".to_owned(),
    };
    format!(
        "no object meets this schema: the field {field:?} is required, but \"properties\" does not list it, and \
         \"additionalProperties\" is false: {remedy}"
    )
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn properties(schema: &Value) -> impl Iterator<Item = &str> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(document: &Value) -> Option<String> {
        check(document).err().map(|Wrong { pointer, reason }| format!("{pointer}: {reason}"))
    }

    fn closed(required: Value, properties: Value) -> Value {
        json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
    }

    #[test]
    fn a_closed_schema_that_requires_a_field_without_a_property_is_refused_wherever_it_is() {
        let wrong = closed(json!(["name", "ctiy"]), json!({"name": {}, "city": {}}));
        for (document, at) in [
            (wrong.clone(), ""),
            (json!({"properties": {"a/b": wrong}}), "/properties/a~1b"),
            (json!({"properties": {"list": {"items": wrong}}}), "/properties/list/items"),
            (json!({"anyOf": [{"type": "null"}, wrong]}), "/anyOf/1"),
            (json!({"$defs": {"address": wrong}}), "/$defs/address"),
        ] {
            let expected = format!(
                "{at}/required/1: no object meets this schema: the field \"ctiy\" is required, but \"properties\" does \
                 not list it, and \"additionalProperties\" is false: write \"city\", or add the field to \"properties\""
            );
            assert_eq!(refusal(&document), Some(expected), "{document}");
        }
    }

    #[test]
    fn a_property_is_suggested_only_if_it_is_similar_and_not_required_already() {
        let remedy = "add the field to \"properties\", or remove it from \"required\"";
        for document in [
            closed(json!(["customer"]), json!({"name": {}})),
            closed(json!(["nmae", "name"]), json!({"name": {}})),
            json!({"additionalProperties": false, "required": ["name"]}),
        ] {
            let refusal = refusal(&document).unwrap_or_default();
            assert!(
                refusal.starts_with("/required/0: ") && refusal.ends_with(&format!("false: {remedy}")),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_schema_that_an_object_can_meet_is_accepted() {
        for document in [
            closed(json!(["name"]), json!({"name": {}})),
            closed(json!([]), json!({})),
            json!({"required": ["name"], "properties": {"city": {}}}),
            json!({"required": ["name"], "additionalProperties": {"type": "string"}}),
            json!({"required": ["n_1"], "additionalProperties": false, "patternProperties": {"^n_": {}}}),
            json!({"examples": [{"additionalProperties": false, "required": ["name"]}]}),
            json!({"properties": {"required": {}, "additionalProperties": false}}),
            json!({"not": closed(json!(["name"]), json!({}))}),
            json!({"if": closed(json!(["name"]), json!({})), "then": {}}),
        ] {
            assert_eq!(refusal(&document), None, "{document}");
        }
    }
}
