//! Expands a schema into its alternatives: follows references and multiplies out combinators.
//!
//! Keywords that are too complex to follow are ignored. Ignoring them is safe, because every event is checked against
//! the whole schema in the end.

use std::cell::Cell;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::shape::{Shape, Types};

/// The maximum number of alternatives. A random event needs only one.
const ALTERNATIVES: usize = 64;
/// The maximum nesting of references and combinators. Deeper alternatives are dropped, so a schema that refers to
/// itself endlessly has no alternatives.
const DEPTH: usize = 48;
/// The maximum number of schemas to visit. References that each lead to several others would otherwise multiply the
/// visits without end.
const MOST_VISITS: usize = 20_000;

/// Returns the alternatives of a schema within `document`. An empty result means that no value seems to be valid.
pub(super) fn alternatives(document: &Value, schema: &Value) -> Vec<Shape> {
    Expansion { document, visits: Cell::new(0) }.of(schema, 0)
}

struct Expansion<'d> {
    document: &'d Value,
    visits: Cell<usize>,
}

impl Expansion<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Vec<Shape> {
        self.visits.set(self.visits.get() + 1);
        if depth > DEPTH || self.visits.get() > MOST_VISITS {
            return Vec::new();
        }
        let keywords = match schema {
            Value::Object(keywords) => keywords,
            Value::Bool(false) => return Vec::new(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => &Map::new(),
        };
        let depth = depth + 1;
        let shape = Shape::read(keywords);
        let mut shapes = if shape.is_possible() { vec![shape] } else { Vec::new() };
        for (name, keyword) in keywords {
            let list = || keyword.as_array().into_iter().flatten();
            match name.as_str() {
                "$ref" | "$dynamicRef" => {
                    let target = keyword.as_str().and_then(|reference| resolve(self.document, reference));
                    shapes = product(&shapes, &target.map_or_else(Vec::new, |target| self.of(target, depth)));
                }
                "allOf" => {
                    for branch in list() {
                        shapes = product(&shapes, &self.of(branch, depth));
                    }
                }
                "anyOf" => {
                    let branches: Vec<Shape> = list().flat_map(|branch| self.of(branch, depth)).collect();
                    shapes = product(&shapes, &branches);
                }
                "oneOf" => shapes = product(&shapes, &self.one_of(keyword, depth)),
                "not" => shapes = product(&shapes, &self.not(keyword, depth)),
                "if" => {
                    let branch = |name: &str| keywords.get(name).cloned().unwrap_or(Value::Bool(true));
                    let mut branches = product(&self.of(keyword, depth), &self.of(&branch("then"), depth));
                    branches.extend(product(&self.not(keyword, depth), &self.of(&branch("else"), depth)));
                    shapes = product(&shapes, &branches);
                }
                "dependentSchemas" => {
                    for (name, dependent) in keyword.as_object().into_iter().flatten() {
                        let conditional = json!({"if": {"required": [name]}, "then": dependent});
                        shapes = product(&shapes, &self.of(&conditional, depth));
                    }
                }
                _ => {}
            }
        }
        shapes
    }

    /// Returns the alternatives of all branches. Values that also match another branch are excluded if excluding them
    /// is easy.
    fn one_of(&self, branches: &Value, depth: usize) -> Vec<Shape> {
        let branches = branches.as_array().map_or(&[][..], Vec::as_slice);
        let denied: Vec<Vec<Shape>> = branches.iter().map(|branch| self.not(branch, depth)).collect();
        let only = |(index, branch)| {
            let others = denied.iter().enumerate().filter(|(other, shapes)| *other != index && shapes.len() == 1);
            others.fold(self.of(branch, depth), |shapes, (_, other)| {
                let without = product(&shapes, other);
                if without.is_empty() { shapes } else { without }
            })
        };
        branches.iter().enumerate().flat_map(only).collect()
    }

    /// Returns alternatives that violate a schema, each by one keyword. If a keyword is hard to violate, the
    /// alternative for this keyword has no requirements, so a value of this alternative may still be valid for the
    /// schema.
    fn not(&self, schema: &Value, depth: usize) -> Vec<Shape> {
        let keywords = match schema {
            Value::Object(keywords) => keywords,
            Value::Bool(false) => return self.of(&Value::Bool(true), depth),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return Vec::new(),
        };
        let mut shapes = Vec::new();
        for (name, keyword) in keywords {
            let number = || keyword.as_u64();
            let broken = match name.as_str() {
                "type" => Some(json!({"type": Types::read(keyword).others().names()})),
                "const" => {
                    shapes.extend(excluding(std::slice::from_ref(keyword)));
                    continue;
                }
                "enum" => {
                    shapes.extend(excluding(keyword.as_array().map_or(&[], Vec::as_slice)));
                    continue;
                }
                "minimum" => Some(json!({"type": "number", "exclusiveMaximum": keyword})),
                "maximum" => Some(json!({"type": "number", "exclusiveMinimum": keyword})),
                "exclusiveMinimum" => Some(json!({"type": "number", "maximum": keyword})),
                "exclusiveMaximum" => Some(json!({"type": "number", "minimum": keyword})),
                "minLength" => {
                    number().and_then(|n| n.checked_sub(1)).map(|n| json!({"type": "string", "maxLength": n}))
                }
                "maxLength" => number().map(|n| json!({"type": "string", "minLength": n + 1})),
                "minItems" => number().and_then(|n| n.checked_sub(1)).map(|n| json!({"type": "array", "maxItems": n})),
                "maxItems" => number().map(|n| json!({"type": "array", "minItems": n + 1})),
                "required" => {
                    for name in keyword.as_array().into_iter().flatten().filter_map(Value::as_str) {
                        shapes.extend(self.of(&json!({"type": "object", "properties": {name: false}}), depth));
                    }
                    continue;
                }
                "properties" => {
                    for (name, schema) in keyword.as_object().into_iter().flatten() {
                        let broken = json!({
                            "type": "object", "required": [name], "properties": {name: {"not": schema}}
                        });
                        shapes.extend(self.of(&broken, depth));
                    }
                    continue;
                }
                "not" => Some(keyword.clone()),
                "anyOf" => {
                    let none = keyword.as_array().into_iter().flatten().map(|branch| json!({"not": branch}));
                    Some(json!({"allOf": none.collect::<Vec<_>>()}))
                }
                "allOf" => {
                    let one = keyword.as_array().into_iter().flatten().map(|branch| json!({"not": branch}));
                    Some(json!({"anyOf": one.collect::<Vec<_>>()}))
                }
                "$ref" => keyword
                    .as_str()
                    .and_then(|reference| resolve(self.document, reference))
                    .map(|target| json!({"not": target})),
                "title" | "description" | "default" | "examples" | "deprecated" | "$comment" | "$defs" | "then"
                | "else" => None,
                name if name.starts_with("x-") => None,
                _ => Some(Value::Bool(true)),
            };
            if let Some(broken) = broken {
                shapes.extend(self.of(&broken, depth));
            }
        }
        shapes.truncate(ALTERNATIVES);
        shapes
    }
}

fn excluding(values: &[Value]) -> Option<Shape> {
    let mut shape = Shape::read(&Map::new());
    shape.excluded = values.to_vec();
    shape.is_possible().then_some(shape)
}

/// Combines each shape of `one` with each shape of `other` that is compatible with it.
fn product(one: &[Shape], other: &[Shape]) -> Vec<Shape> {
    let pairs = one.iter().flat_map(|one| other.iter().filter_map(move |other| one.both(other)));
    pairs.take(ALTERNATIVES).collect()
}

/// Resolves a reference within the document: `#`, a pointer, or an anchor.
fn resolve<'d>(document: &'d Value, reference: &str) -> Option<&'d Value> {
    let fragment = reference.strip_prefix('#')?;
    if fragment.is_empty() || fragment.starts_with('/') {
        // RFC 6901, section 6: in a URI fragment, a pointer is percent-encoded.
        document.pointer(&percent_decode_str(fragment).decode_utf8().ok()?)
    } else {
        anchored(document, fragment)
    }
}

fn anchored<'d>(schema: &'d Value, anchor: &str) -> Option<&'d Value> {
    match schema {
        Value::Object(keywords) => {
            let is_here = ["$anchor", "$dynamicAnchor"]
                .into_iter()
                .any(|name| keywords.get(name).and_then(Value::as_str) == Some(anchor));
            if is_here { Some(schema) } else { keywords.values().find_map(|value| anchored(value, anchor)) }
        }
        Value::Array(elements) => elements.iter().find_map(|value| anchored(value, anchor)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
