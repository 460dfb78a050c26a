//! The keywords for objects.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::Value;

use super::numbers::{count, whole};
use super::obligation::{Keyword, Narrowing, Obligation, is_trivial};

/// Returns the conditions under which this keyword of the new schema accepts everything that the old schemas accept.
pub(super) fn obligations<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Obligation<'s>> {
    let written = keyword.value;
    match keyword.name {
        "required" => {
            let required = required(old);
            let names = keyword.elements().filter_map(|(_, name)| name.as_str());
            let missing: Vec<String> =
                names.filter(|name| !required.contains(name)).map(|name| format!("{name:?}")).collect();
            let s = if missing.len() == 1 { "" } else { "s" };
            keyword.holds(
                missing.is_empty(),
                format!("objects without the field{s} {} are no longer accepted", missing.join(", ")),
            )
        }
        "minProperties" => keyword.holds(
            whole(written).is_some_and(|least| {
                count(old, "minProperties", Ordering::Greater).unwrap_or(0).max(required(old).len() as u64) >= least
            }),
            format!("objects with fewer than {written} fields are no longer accepted"),
        ),
        "maxProperties" => keyword.holds(
            whole(written).is_some_and(|most| {
                let names = only_names(old).map(|names| names.len() as u64);
                count(old, "maxProperties", Ordering::Less).into_iter().chain(names).any(|old| old <= most)
            }),
            format!("objects with more than {written} fields are no longer accepted"),
        ),
        "properties" => keyword
            .members()
            .map(|(name, new)| Obligation::Subset { old: property(old, name), new, at: keyword.below(&[name]) })
            .collect(),
        "patternProperties" => {
            keyword.members().flat_map(|(pattern, new)| matching(old, keyword, pattern, new)).collect()
        }
        "additionalProperties" => additional(old, keyword),
        "propertyNames" => names(old, keyword),
        "dependentRequired" => {
            let required = required(old);
            let is_met = |(name, needed): (&String, &Value)| {
                let mut needed = needed.as_array().into_iter().flatten().filter_map(Value::as_str);
                is_impossible(old, name) || needed.all(|needed| required.contains(needed))
            };
            keyword.holds(keyword.members().all(is_met), "some fields are no longer accepted without other fields")
        }
        // Each schema of `dependentSchemas` applies only to objects that have a certain field. For simplicity, the
        // schema must accept all old values, with or without the field, unless the old schemas forbid the field.
        _ => keyword
            .members()
            .filter(|(name, _)| !is_impossible(old, name))
            .map(|(name, new)| Obligation::Subset { old: old.to_vec(), new, at: keyword.below(&[name]) })
            .collect(),
    }
}

/// Returns the conditions for the properties that match a pattern of `patternProperties`.
fn matching<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>, pattern: &str, new: &'s Value) -> Vec<Obligation<'s>> {
    let at = keyword.below(&[pattern]);
    if is_trivial(new) {
        return Vec::new();
    }
    let same: Vec<&Value> = old.iter().filter_map(|schema| schema.get("patternProperties")?.get(pattern)).collect();
    if !same.is_empty() {
        return vec![Obligation::Subset { old: same, new, at }];
    }
    match only_names(old) {
        // Any of these names may match the pattern.
        Some(names) => {
            names.into_iter().map(|name| Obligation::Subset { old: property(old, name), new, at: at.clone() }).collect()
        }
        None => keyword.fails(format!("fields whose names match {pattern} may no longer be accepted")),
    }
}

/// Returns the conditions for the properties that the new schema does not name.
fn additional<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Obligation<'s>> {
    if is_trivial(keyword.value) {
        return Vec::new();
    }
    let named = |name: &str| keyword.schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
    let patterns = keyword.schema.get("patternProperties");
    let formerly: BTreeSet<&'s String> =
        old.iter().filter_map(|schema| schema.get("properties")?.as_object()).flat_map(|named| named.keys()).collect();
    // First come the properties that only the old schemas name. For simplicity, these include properties that match a
    // pattern of the new schema, although `additionalProperties` does not apply to such properties.
    let mut obligations: Vec<Obligation<'s>> = formerly
        .into_iter()
        .filter(|name| !named(name))
        .map(|name| {
            let narrowing = Narrowing {
                pointer: keyword.beside(&["properties", name]),
                keyword: keyword.at(),
                text: format!("the field {name:?} is no longer accepted"),
            };
            others(property(old, name), keyword, narrowing)
        })
        .collect();
    // Then come all other properties, which match no pattern of the new schema. If every pattern of an old schema is
    // also a pattern of the new schema, these properties match no pattern of the old schema either. The old schema's
    // `additionalProperties` then applies to them.
    let applies = |schema: &&'s Value| {
        let known = |pattern: &String| patterns.is_some_and(|patterns| patterns.get(pattern).is_some());
        let excluded = schema.get("patternProperties").and_then(Value::as_object);
        let is_certain = excluded.is_none_or(|excluded| excluded.keys().all(known));
        schema.get("additionalProperties").filter(|_| is_certain)
    };
    let narrowing = Narrowing::at(&keyword.at(), "fields that the contract does not name are no longer accepted");
    obligations.push(others(old.iter().filter_map(applies).collect(), keyword, narrowing));
    obligations
}

/// Returns the condition for properties to which `additionalProperties` of the new schema applies. `old` holds the old
/// schemas of these properties.
fn others<'s>(old: Vec<&'s Value>, keyword: Keyword<'s, '_>, narrowing: Narrowing) -> Obligation<'s> {
    if keyword.value == &Value::Bool(false) {
        return Obligation::Gone { old, narrowing };
    }
    Obligation::Subset { old, new: keyword.value, at: keyword.at() }
}

/// Returns the conditions for the names of properties.
fn names<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Obligation<'s>> {
    let at = keyword.at();
    if let Some(names) = only_names(old) {
        let possible = names.into_iter().filter(|name| !is_impossible(old, name));
        return vec![Obligation::Values { values: possible.map(Value::from).collect(), at }];
    }
    let old: Vec<&Value> = old.iter().filter_map(|schema| schema.get("propertyNames")).collect();
    vec![Obligation::Subset { old, new: keyword.value, at }]
}

/// Returns the old schemas that apply to a property.
fn property<'s>(old: &[&'s Value], name: &str) -> Vec<&'s Value> {
    let of = |schema: &&'s Value| {
        let named = schema.get("properties").and_then(|properties| properties.get(name));
        // If the schema has patterns, the property may match one. `additionalProperties` would then not apply.
        named.or_else(|| schema.get("additionalProperties").filter(|_| schema.get("patternProperties").is_none()))
    };
    old.iter().filter_map(of).collect()
}

/// Returns whether the old schemas forbid properties with this name.
fn is_impossible(old: &[&Value], name: &str) -> bool {
    property(old, name).contains(&&Value::Bool(false))
}

fn required<'s>(old: &[&'s Value]) -> BTreeSet<&'s str> {
    old.iter().filter_map(|schema| schema.get("required")?.as_array()).flatten().filter_map(Value::as_str).collect()
}

/// Returns the only names that properties may have. Returns `None` if no old schema limits the names to a list.
fn only_names<'s>(old: &[&'s Value]) -> Option<Vec<&'s str>> {
    let closed = old.iter().find(|schema| {
        schema.get("additionalProperties") == Some(&Value::Bool(false)) && schema.get("patternProperties").is_none()
    })?;
    let named = closed.get("properties").and_then(Value::as_object);
    Some(named.into_iter().flat_map(|named| named.keys()).map(String::as_str).collect())
}
