//! Finds the schemas that apply to a value. Resolves `$ref`, `allOf`, `anyOf` and `oneOf`.

use serde_json::Value;

use super::pointer::Pointer;

/// The maximum number of alternatives. A schema written by hand has fewer. A schema with more is not resolved.
const MOST_ALTERNATIVES: usize = 64;
/// The maximum nesting depth of `$ref`, `allOf`, `anyOf` and `oneOf`. The limit also ends a reference that leads to
/// itself.
const MOST_REFERENCES: usize = 32;

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
        let index: usize = token.parse().ok()?;
        let listed = schema.get("prefixItems").and_then(|items| items.get(index));
        listed.or_else(|| schema.get("items"))
    };
    named.or_else(element).or_else(other).into_iter().collect()
}

/// Resolves `$ref`, `allOf`, `anyOf` and `oneOf` (which is treated like `anyOf`). Returns the alternatives. Each
/// alternative is a list of schemas that apply together.
///
/// Returns `None` if there are too many alternatives, if the nesting is too deep, or if a reference leads nowhere or
/// out of the document.
pub fn expand<'s>(document: &'s Value, schemas: Schemas<'s>) -> Option<Vec<Schemas<'s>>> {
    expand_within(document, schemas, MOST_REFERENCES)
}

fn expand_within<'s>(document: &'s Value, schemas: Schemas<'s>, depth: usize) -> Option<Vec<Schemas<'s>>> {
    let depth = depth.checked_sub(1)?;
    let mut alternatives: Vec<Schemas<'s>> = vec![Vec::new()];
    for schema in schemas {
        if schema == &Value::Bool(false) {
            return Some(Vec::new());
        }
        let mut parts: Vec<Vec<Schemas<'s>>> = vec![vec![vec![schema]]];
        if let Some(reference) = schema.get("$ref") {
            let target = reference.as_str()?.strip_prefix('#').and_then(|pointer| document.pointer(pointer))?;
            parts.push(expand_within(document, vec![target], depth)?);
        }
        for all in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            parts.push(expand_within(document, vec![all], depth)?);
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(choices) = schema.get(keyword).and_then(Value::as_array) else { continue };
            let mut expanded = Vec::new();
            for choice in choices {
                expanded.extend(expand_within(document, vec![choice], depth)?);
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
