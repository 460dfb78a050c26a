//! Finds the schemas that apply to a value. Resolves `$ref`, `allOf`, `anyOf` and `oneOf`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::pointer::{Pointer, index};

/// The maximum number of alternatives. A schema written by hand has fewer. A schema with more is not resolved.
const MOST_ALTERNATIVES: usize = 64;
/// The maximum nesting depth of `$ref`, `allOf`, `anyOf` and `oneOf`. The limit also ends a reference that leads to
/// itself.
const MOST_REFERENCES: usize = 32;
/// The maximum number of schemas to visit for one value. References that each lead to several others would otherwise
/// multiply the visits without end.
const MOST_VISITS: usize = 1_024;

/// Schemas that all apply to the same value.
pub type Schemas<'s> = Vec<&'s Value>;

/// Returns the names of the types that all of the schemas allow, or `None` if no schema has the keyword `type`.
pub fn types<'s>(schemas: &Schemas<'s>) -> Option<Vec<&'s str>> {
    let listed = |schema: &&'s Value| {
        let listed = schema.get("type")?;
        let names = listed.as_array().map_or(std::slice::from_ref(listed), Vec::as_slice);
        Some(names.iter().filter_map(Value::as_str).collect::<Vec<_>>())
    };
    schemas.iter().filter_map(listed).reduce(|a, b| {
        let (integers_a, integers_b) = (a.contains(&"integer"), b.contains(&"integer"));
        let mut both: Vec<&str> = a.iter().copied().filter(|name| b.contains(name)).collect();
        // Integers are numbers, so a list with `integer` and a list with `number` both allow integers.
        if !both.contains(&"integer") && (integers_a && b.contains(&"number") || integers_b && a.contains(&"number")) {
            both.push("integer");
        }
        both
    })
}

/// Returns the values that `const` or `enum` allows in the first schema that has one of these keywords.
pub fn values<'s>(schemas: &Schemas<'s>) -> Option<Vec<&'s Value>> {
    schemas.iter().find_map(|schema| match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(values)) => Some(values.as_array()?.iter().collect()),
        (None, None) => None,
    })
}

/// Returns the alternatives for the value at a pointer. Returns `None` if there are too many, or if [`expand`] returns
/// `None`.
pub fn at<'s>(document: &'s Value, pointer: &Pointer) -> Option<Vec<Schemas<'s>>> {
    pointer.tokens().try_fold(expand(document, vec![document])?, |alternatives, token| {
        let mut found = Vec::new();
        for schemas in alternatives.iter().filter(|schemas| has_members(schemas)) {
            let members = schemas.iter().flat_map(|schema| member(schema, token)).collect();
            found.extend(expand(document, members)?);
        }
        (found.len() <= MOST_ALTERNATIVES).then_some(found)
    })
}

/// Returns whether the value may be an object or an array. Other values have no members, so a column that is filled
/// from a member would be NULL.
fn has_members(schemas: &Schemas<'_>) -> bool {
    types(schemas).is_none_or(|types| types.contains(&"object") || types.contains(&"array"))
}

/// Returns the schema that `schema` has for a member or an element, if there is one.
fn member<'s>(schema: &'s Value, token: &str) -> Vec<&'s Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(token));
    let other = || match schema.get("patternProperties") {
        Some(_) => None,
        None => schema.get("additionalProperties"),
    };
    let element = || {
        let index = index(token)?;
        let listed = schema.get("prefixItems").and_then(|items| items.get(index));
        listed.or_else(|| schema.get("items"))
    };
    named.or_else(element).or_else(other).into_iter().collect()
}

/// Returns the pointer of a `$ref` within its document. In a reference, the pointer is percent-encoded (RFC 6901,
/// section 6). Returns `None` if the reference leads out of the document or is not a pointer.
pub fn referenced(reference: &Value) -> Option<Cow<'_, str>> {
    percent_decode_str(reference.as_str()?.strip_prefix('#')?).decode_utf8().ok()
}

/// Resolves `$ref`, `allOf`, `anyOf` and `oneOf` (which is treated like `anyOf`). Returns the alternatives. Each
/// alternative is a list of schemas that apply together.
///
/// Returns `None` if there are too many alternatives or schemas, if the nesting is too deep, or if a reference leads
/// nowhere or out of the document.
pub fn expand<'s>(document: &'s Value, schemas: Schemas<'s>) -> Option<Vec<Schemas<'s>>> {
    let mut visits_left = MOST_VISITS;
    expand_within(document, schemas, MOST_REFERENCES, &mut visits_left)
}

fn expand_within<'s>(
    document: &'s Value,
    schemas: Schemas<'s>,
    depth: usize,
    visits_left: &mut usize,
) -> Option<Vec<Schemas<'s>>> {
    let depth = depth.checked_sub(1)?;
    let mut alternatives: Vec<Schemas<'s>> = vec![Vec::new()];
    for schema in schemas {
        *visits_left = visits_left.checked_sub(1)?;
        if schema == &Value::Bool(false) {
            return Some(Vec::new());
        }
        let mut parts: Vec<Vec<Schemas<'s>>> = vec![vec![vec![schema]]];
        if let Some(reference) = schema.get("$ref") {
            let target = document.pointer(&referenced(reference)?)?;
            parts.push(expand_within(document, vec![target], depth, visits_left)?);
        }
        for all in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            parts.push(expand_within(document, vec![all], depth, visits_left)?);
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(choices) = schema.get(keyword).and_then(Value::as_array) else { continue };
            let mut expanded = Vec::new();
            for choice in choices {
                expanded.extend(expand_within(document, vec![choice], depth, visits_left)?);
            }
            parts.push(expanded);
        }
        for part in parts {
            let product = alternatives.iter().flat_map(|before| {
                part.iter().map(|added| before.iter().chain(added).copied().collect::<Schemas<'s>>())
            });
            alternatives = product.collect();
            if alternatives.len() > MOST_ALTERNATIVES {
                return None;
            }
        }
    }
    Some(alternatives)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_that_multiply_are_not_resolved() {
        let branching = |levels: usize| {
            let references = |level: usize| vec![json!({"$ref": format!("#/$defs/{level}")}); 8];
            let level = |level: usize| (level.to_string(), json!({"allOf": references(level + 1)}));
            let mut named: serde_json::Map<String, Value> = (0..levels).map(level).collect();
            named.insert(levels.to_string(), json!({"type": "string"}));
            json!({"$defs": named, "$ref": "#/$defs/0"})
        };
        let resolved = |levels: usize| {
            let document = branching(levels);
            expand(&document, vec![&document]).map(|alternatives| alternatives.len())
        };
        assert_eq!(resolved(2), Some(1));
        assert_eq!(resolved(6), None);
    }
}
