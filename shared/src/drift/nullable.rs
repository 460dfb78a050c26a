//! Decides whether a schema allows a value to be missing or null.
//!
//! The answer is yes only if that is certain. If the answer could depend on `anyOf`, `if` or a similar keyword, the
//! answer is no, because this module does not follow such keywords. A wrong yes would stop a deployment, whereas a
//! wrong no only turns events with null into dead letters.

use serde_json::Value;

use crate::contract::Pointer;
use crate::contract::pointer::index;
use crate::contract::schema::referenced;

/// The maximum length of a chain of references. The limit also ends a chain that leads back to itself.
const DEPTH: usize = 16;
/// The maximum number of schemas to visit for one value. References that each lead to several others would otherwise
/// multiply the visits without end.
const MOST_VISITS: usize = 1_024;

/// Keywords that can require or forbid a value in ways that this module does not follow.
const OPAQUE: [&str; 9] = [
    "$dynamicRef",
    "anyOf",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "minProperties",
    "not",
    "oneOf",
    "patternProperties",
];

/// Returns whether a valid event may have null, or no value at all, at the pointer.
pub(super) fn may_be_null(document: &Value, pointer: &Pointer) -> bool {
    let mut tokens = pointer.tokens().peekable();
    if tokens.peek().is_none() {
        // The pointer refers to the whole event, which is normally an object.
        return false;
    }
    let conjuncts = |schemas| {
        let mut visits_left = MOST_VISITS;
        conjuncts(document, schemas, DEPTH, &mut visits_left)
    };
    let Some(mut node) = conjuncts(vec![document]) else { return false };
    for token in tokens {
        if !is_demanded(&node, token) {
            return true;
        }
        let Some(child) = conjuncts(members(&node, token)) else { return false };
        node = child;
        if node.iter().any(|schema| names_null(schema)) && node.iter().all(|schema| accepts_null(schema)) {
            return true;
        }
    }
    node.iter().all(|schema| accepts_null(schema))
}

/// Collects all schemas that a value must satisfy: the given schemas, the schemas that these refer to, and the schemas
/// in their `allOf`. Returns `None` if any of the schemas has a keyword that is not followed, or a reference that
/// cannot be followed, or if there are too many schemas.
fn conjuncts<'s>(
    document: &'s Value,
    schemas: Vec<&'s Value>,
    depth: usize,
    visits_left: &mut usize,
) -> Option<Vec<&'s Value>> {
    let mut all = Vec::with_capacity(schemas.len());
    for schema in schemas {
        *visits_left = visits_left.checked_sub(1)?;
        if OPAQUE.iter().any(|keyword| schema.get(keyword).is_some()) {
            return None;
        }
        let mut further = Vec::new();
        if let Some(reference) = schema.get("$ref") {
            further.push(document.pointer(&referenced(reference)?)?);
        }
        if let Some(list) = schema.get("allOf") {
            further.extend(list.as_array()?);
        }
        all.push(schema);
        if !further.is_empty() {
            all.extend(conjuncts(document, further, depth.checked_sub(1)?, visits_left)?);
        }
    }
    Some(all)
}

/// Returns whether a value that satisfies the schemas always has this member or element.
fn is_demanded(node: &[&Value], token: &str) -> bool {
    let index = index(token).and_then(|index| u64::try_from(index).ok());
    node.iter().any(|schema| {
        let required = schema.get("required").and_then(Value::as_array);
        let has_least = schema.get("minItems").and_then(Value::as_u64).zip(index).is_some_and(|(n, index)| index < n);
        has_least || required.is_some_and(|names| names.iter().any(|name| name == token))
    })
}

/// Returns the schemas of a member or element.
fn members<'s>(node: &[&'s Value], token: &str) -> Vec<&'s Value> {
    let index = index(token);
    let of = |schema: &&'s Value| {
        let schema: &'s Value = schema;
        let property = schema.get("properties").and_then(|properties| properties.get(token));
        let element = index.and_then(|index| schema.get("prefixItems")?.get(index));
        let rest = || if index.is_some() { schema.get("items") } else { schema.get("additionalProperties") };
        property.or(element).or_else(rest)
    };
    node.iter().filter_map(of).collect()
}

fn names_null(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == "null",
        Some(Value::Array(names)) => names.iter().any(|name| name == "null"),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

fn accepts_null(schema: &Value) -> bool {
    let by_type = schema.get("type").is_none() || names_null(schema);
    let by_enum = schema.get("enum").and_then(Value::as_array).is_none_or(|values| values.contains(&Value::Null));
    let by_const = schema.get("const").is_none_or(Value::is_null);
    *schema != Value::Bool(false) && by_type && by_enum && by_const
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_may_be_null_if_its_type_allows_null_or_if_it_is_not_required() {
        let document = json!({
            "type": "object",
            "required": ["id", "name", "place", "at", "any", "one", "ref", "both", "either"],
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": ["string", "null"]},
                "absent": {"type": "string"},
                "place": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "state": {}}},
                "at": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}], "minItems": 1},
                "any": {},
                "one": {"enum": ["a", null]},
                "ref": {"$ref": "#/$defs/id"},
                "both": {"allOf": [{"type": ["string", "null"]}, {"type": "string"}]},
                "either": {"anyOf": [{"type": "string"}, {"type": "null"}]}
            },
            "$defs": {"id": {"type": "string"}}
        });
        for (pointer, expected) in [
            ("", false),
            ("/id", false),
            ("/name", true),
            ("/absent", true),
            ("/place", false),
            ("/place/city", false),
            ("/place/state", true),
            ("/at/0", false),
            ("/at/1", true),
            ("/any", true),
            ("/one", true),
            ("/ref", false),
            ("/both", false),
            ("/either", false),
        ] {
            let parsed = Pointer::try_from(pointer.to_owned());
            assert_eq!(parsed.map(|parsed| may_be_null(&document, &parsed)), Ok(expected), "{pointer}");
        }
    }
}
