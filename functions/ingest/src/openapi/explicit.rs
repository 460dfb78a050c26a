//! Writes out the defaults of a contract's schema. Linters, client generators and similar tools expect a schema to name
//! every property, or to say that others are allowed. They treat any other schema as a mistake.

use serde_json::{Map, Value, json};

/// Completes the parts of a schema that describe objects and lack `additionalProperties`. Each such part gets
/// `additionalProperties` with its default, and an empty schema for each required property that has no schema. The
/// schema still accepts the same values. A schema with `unevaluatedProperties` stays as it is, because both additions
/// would change that keyword's effect.
pub(super) fn make_explicit(schema: &mut Value) {
    if !has_unevaluated(schema) {
        in_schema(schema);
    }
}

fn has_unevaluated(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            members.iter().any(|(name, member)| name == "unevaluatedProperties" || has_unevaluated(member))
        }
        Value::Array(elements) => elements.iter().any(has_unevaluated),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn in_schema(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    for (name, member) in members.iter_mut() {
        match (name.as_str(), member) {
            (
                "additionalProperties" | "contains" | "else" | "if" | "items" | "not" | "propertyNames" | "then",
                member,
            ) => {
                in_schema(member);
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(in_schema)
            }
            (
                "$defs" | "definitions" | "dependentSchemas" | "patternProperties" | "properties",
                Value::Object(schemas),
            ) => schemas.values_mut().for_each(in_schema),
            _ => {}
        }
    }
    let describes_objects = ["properties", "required"].into_iter().any(|name| members.contains_key(name));
    if (describes_objects || members.get("type") == Some(&json!("object")))
        && !members.contains_key("additionalProperties")
    {
        members.insert("additionalProperties".to_owned(), true.into());
        name_required(members);
    }
}

fn name_required(members: &mut Map<String, Value>) {
    let required = members.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if required.is_empty() {
        return;
    }
    let properties = members.entry("properties").or_insert_with(|| json!({}));
    for name in required.iter().filter_map(Value::as_str) {
        if let Some(properties) = properties.as_object_mut() {
            properties.entry(name).or_insert_with(|| json!({}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explicit(mut schema: Value) -> Value {
        make_explicit(&mut schema);
        schema
    }

    #[test]
    fn defaults_are_added_to_schemas_and_nowhere_else() {
        let schema = json!({"properties": {"type": {"enum": [{"required": ["a"]}]}}, "if": {"required": ["b"]}});
        let expected = json!({
            "properties": {"type": {"enum": [{"required": ["a"]}]}},
            "if": {"required": ["b"], "properties": {"b": {}}, "additionalProperties": true},
            "additionalProperties": true
        });
        assert_eq!(explicit(schema), expected);
        let closed = json!({"required": ["a"], "additionalProperties": false});
        assert_eq!(explicit(closed.clone()), closed);
        let unevaluated = json!({"then": {"required": ["a"]}, "unevaluatedProperties": false});
        assert_eq!(explicit(unevaluated.clone()), unevaluated);
    }
}
