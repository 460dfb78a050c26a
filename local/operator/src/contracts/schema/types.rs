//! The JSON types of the values that schemas accept.

use std::sync::LazyLock;

use serde_json::{Value, json};
use shared::contract::{canonical, schema};

use super::obligation::{Keyword, Obligation};

/// A schema for each type. Numbers include integers.
static EACH: LazyLock<[Value; 6]> =
    LazyLock::new(|| ["array", "boolean", "null", "number", "object", "string"].map(|name| json!({ "type": name })));

/// Returns the types of the values that a keyword applies to. `None` for keywords that apply to every value.
pub(super) fn types_for(keyword: &str) -> Option<&'static [&'static str]> {
    match keyword {
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => Some(&["integer", "number"]),
        "minLength" | "maxLength" | "pattern" | "format" | "contentEncoding" | "contentMediaType" | "contentSchema" => {
            Some(&["string"])
        }
        "minItems" | "maxItems" | "uniqueItems" | "prefixItems" | "items" | "contains" | "minContains"
        | "maxContains" | "unevaluatedItems" => Some(&["array"]),
        "required"
        | "minProperties"
        | "maxProperties"
        | "properties"
        | "patternProperties"
        | "additionalProperties"
        | "propertyNames"
        | "dependentRequired"
        | "dependentSchemas"
        | "unevaluatedProperties" => Some(&["object"]),
        _ => None,
    }
}

/// Returns whether a value that all of `old` accept may have one of these types.
pub(super) fn may_be(old: &[&Value], types: &[&str]) -> bool {
    schema::types(&old.to_vec()).is_none_or(|old| old.iter().any(|name| types.contains(name)))
}

/// Adds `integer` to a list that has `number`, and adds `number` to a list that has `integer`.
pub(super) fn with_integers(mut types: Vec<&str>) -> Vec<&str> {
    if types.contains(&"number") {
        types.push("integer");
    } else if types.contains(&"integer") {
        // JSON Schema counts 5.0 as an integer.
        types.push("number");
    }
    types
}

/// Returns the conditions under which `type` of the new schema accepts everything that the old schemas accept.
pub(super) fn obligations<'o>(old: &[&Value], keyword: Keyword<'_, '_>) -> Vec<Obligation<'o>> {
    let Some(new) = schema::types(&vec![&Value::Object(keyword.schema.clone())]).map(owned) else {
        return keyword.fails("the value is not a list of types");
    };
    let accepted = |name: &str| new.iter().any(|new| new == name || new == "number" && name == "integer");
    match schema::types(&old.to_vec()) {
        None => keyword.fails(format!("only the type {} is still accepted", new.join(" or "))),
        Some(old) => old
            .into_iter()
            .filter(|name| !accepted(name))
            .flat_map(|name| keyword.fails(format!("the type {name} is no longer accepted")))
            .collect(),
    }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// Splits schemas by the types of the values that all of them accept. Returns one list for each possible type: the
/// schemas, and a schema that allows only that type.
pub(super) fn by_type<'s>(old: &[&'s Value]) -> Vec<Vec<&'s Value>> {
    let types = schema::types(&old.to_vec()).map(with_integers);
    let is_possible = |one: &&'static Value| {
        types.as_ref().is_none_or(|types| one["type"].as_str().is_some_and(|name| types.contains(&name)))
    };
    EACH.iter().filter(is_possible).map(|one| old.iter().copied().chain([one]).collect()).collect()
}

/// If the schemas allow only a few values, returns these values. They are the values of `enum` and `const`, or null,
/// false and true. Keywords other than `enum`, `const` and `type` are not considered, so a schema may reject some of
/// the values.
pub(super) fn finite(old: &[&Value]) -> Option<Vec<Value>> {
    let lists: Vec<Vec<&Value>> = old.iter().filter_map(|schema| schema::values(&vec![*schema])).collect();
    let is_listed = |value: &&Value| {
        let text = canonical::text(value);
        lists.iter().all(|list| list.iter().any(|other| canonical::text(other) == text))
    };
    if let Some(first) = lists.first() {
        return Some(first.iter().copied().filter(is_listed).filter(|value| accepts(old, value)).cloned().collect());
    }
    let types = schema::types(&old.to_vec())?;
    let values = [json!(null), json!(false), json!(true)];
    let are_few = types.iter().all(|name| matches!(*name, "null" | "boolean"));
    are_few.then(|| values.into_iter().filter(|value| accepts(old, value)).collect())
}

/// Returns whether the schemas allow a value's type.
pub(super) fn accepts(old: &[&Value], value: &Value) -> bool {
    may_be(
        old,
        match value {
            Value::Null => &["null"],
            Value::Bool(_) => &["boolean"],
            // This function does not check whether the number is an integer.
            Value::Number(_) => &["integer", "number"],
            Value::String(_) => &["string"],
            Value::Array(_) => &["array"],
            Value::Object(_) => &["object"],
        },
    )
}
