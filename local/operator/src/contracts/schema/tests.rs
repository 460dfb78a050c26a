use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use shared::contract::Part;

use super::narrowings;

fn found(old: &Value, new: &Value) -> Vec<String> {
    narrowings(old, new).into_iter().map(|narrowing| narrowing.pointer).collect()
}

#[test]
fn a_new_schema_that_accepts_all_old_values_has_no_narrowings() {
    for (old, new) in [
        (json!({"type": "integer", "minimum": 3}), json!({"type": "number", "exclusiveMinimum": 2.9})),
        (json!({"multipleOf": 10}), json!({"multipleOf": 2.5})),
        (json!({"enum": ["a", 7]}), json!({"anyOf": [{"type": "string", "maxLength": 1}, {"minimum": 7}]})),
        (json!({"type": ["null", "string"]}), json!({"oneOf": [{"type": "string"}, {"type": "null"}]})),
        (json!({"type": "string"}), json!({"minimum": 9, "required": ["a"], "maxItems": 0})),
        (json!({"type": "string"}), json!({"not": {"type": "object", "required": ["a"]}})),
        (json!({"maxItems": 1}), json!({"uniqueItems": true, "maxItems": 2})),
        (json!({"prefixItems": [{"const": 1}], "items": false}), json!({"items": {"type": "integer"}, "maxItems": 1})),
        (
            json!({"properties": {"a": {"const": "x"}}, "additionalProperties": false}),
            json!({"propertyNames": {"maxLength": 1}, "maxProperties": 1}),
        ),
        (json!({"additionalProperties": {"type": "integer"}}), json!({"properties": {"a": {"type": "number"}}})),
        (json!({"required": ["a", "b"]}), json!({"dependentRequired": {"c": ["a"]}, "minProperties": 2})),
        (json!({"properties": {"a": false}}), json!({"dependentSchemas": {"a": {"required": ["b"]}}})),
        (json!({"allOf": [{"type": "string"}, {"maxLength": 3}]}), json!({"type": "string", "maxLength": 4})),
        (
            json!({"required": ["a"], "minLength": 2}),
            json!({"if": {"required": ["b"]}, "then": {"required": ["a"]}, "else": {"minLength": 1}}),
        ),
        (
            json!({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}}}}),
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}}),
        ),
        (json!(false), json!({"type": "string"})),
    ] {
        assert_eq!(found(&old, &new), [""; 0], "old {old}, new {new}");
    }
}

#[test]
fn a_keyword_that_may_reject_an_old_value_is_reported_with_its_pointer() {
    for (old, new, at) in [
        (json!({"minimum": 1}), json!({"exclusiveMinimum": 1}), "/exclusiveMinimum"),
        (json!({"multipleOf": 3}), json!({"multipleOf": 2}), "/multipleOf"),
        (
            json!({"patternProperties": {"^a": {}}, "additionalProperties": false}),
            json!({"additionalProperties": false}),
            "/additionalProperties",
        ),
        (
            json!({"properties": {"a": {"type": "array"}}}),
            json!({"properties": {"a": {"items": {"maxLength": 1}}}}),
            "/properties/a/items/maxLength",
        ),
        (json!({}), json!({"unevaluatedProperties": false}), "/unevaluatedProperties"),
        (json!({"$id": "x", "properties": {"a": {"$id": "y"}}}), json!({"maxLength": 1}), ""),
        (json!({"anyOf": [{"type": "string"}, {"type": "array"}]}), json!({"type": "string"}), "/type"),
        (json!({"contains": {"const": 1}}), json!({"contains": {"const": 1}, "minContains": 2}), "/contains"),
        (json!({"const": 5}), json!({"const": 6}), ""),
    ] {
        assert!(found(&old, &new).iter().any(|pointer| pointer == at), "old {old}, new {new}: {:?}", found(&old, &new));
    }
}

/// Returns a random JSON value, with numbers, texts and names like those in random schemas.
fn value(rng: &mut StdRng, depth: usize) -> Value {
    match rng.random_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => json!(null),
        1 => json!(rng.random_bool(0.5)),
        2 => json!(rng.random_range(-2..8)),
        3 => [json!(0.5), json!(2.5), json!(5.0)].choose(rng).cloned().unwrap_or_default(),
        4 => json!("abcabc"[..rng.random_range(0..6)].to_owned()),
        5 => (0..rng.random_range(0..4)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            let member = |rng: &mut StdRng| (name(rng), value(rng, depth - 1));
            (0..rng.random_range(0..4)).map(|_| member(rng)).collect::<Map<_, _>>().into()
        }
    }
}

fn name(rng: &mut StdRng) -> String {
    ["a", "b", "ab", "c"].choose(rng).copied().unwrap_or("a").to_owned()
}

fn schema(rng: &mut StdRng, depth: usize) -> Value {
    if rng.random_bool(0.1) {
        return json!(rng.random_bool(0.7));
    }
    let mut members = Map::new();
    for _ in 0..rng.random_range(0..4) {
        let (keyword, value) = keyword(rng, depth);
        members.insert(keyword.to_owned(), value);
    }
    members.into()
}

fn keyword(rng: &mut StdRng, depth: usize) -> (&'static str, Value) {
    const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];
    let names =
        |rng: &mut StdRng| (0..rng.random_range(1..3)).map(|_| name(rng)).collect::<std::collections::BTreeSet<_>>();
    let simple = 19;
    match rng.random_range(0..if depth == 0 { simple } else { 37 }) {
        0 => ("type", json!(TYPES.choose(rng))),
        1 => {
            let types: std::collections::BTreeSet<_> = (0..2).filter_map(|_| TYPES.choose(rng)).collect();
            ("type", json!(types))
        }
        2 => ("const", value(rng, 1)),
        3 | 4 => ("enum", (0..rng.random_range(1..4)).map(|_| value(rng, 1)).collect()),
        5 => ("minimum", json!(rng.random_range(-1..6))),
        6 => ("maximum", json!(rng.random_range(-1..6))),
        7 => ("exclusiveMinimum", json!(rng.random_range(-1..6))),
        8 => ("exclusiveMaximum", json!(rng.random_range(-1..6))),
        9 => ("multipleOf", [json!(0.5), json!(1), json!(2), json!(2.5)].choose(rng).cloned().unwrap_or_default()),
        10 => ("minLength", json!(rng.random_range(0..4))),
        11 => ("maxLength", json!(rng.random_range(0..5))),
        12 => ("pattern", json!(["^a", "c$", "b"].choose(rng))),
        13 => ("minItems", json!(rng.random_range(0..3))),
        14 => ("maxItems", json!(rng.random_range(0..3))),
        15 => ("uniqueItems", json!(rng.random_bool(0.7))),
        16 => ("required", json!(names(rng))),
        17 => ("minProperties", json!(rng.random_range(0..3))),
        18 => ("maxProperties", json!(rng.random_range(0..3))),
        19..=21 => ("properties", (0..2).map(|_| (name(rng), schema(rng, depth - 1))).collect::<Map<_, _>>().into()),
        22 => ("patternProperties", json!({["^a", "b"].choose(rng).copied().unwrap_or("b"): schema(rng, depth - 1)})),
        23 | 24 => ("additionalProperties", if rng.random_bool(0.5) { json!(false) } else { schema(rng, depth - 1) }),
        25 => ("propertyNames", schema(rng, 0)),
        26 => ("items", schema(rng, depth - 1)),
        27 => ("prefixItems", (0..rng.random_range(1..3)).map(|_| schema(rng, depth - 1)).collect()),
        28 => ("contains", schema(rng, depth - 1)),
        29 => ("minContains", json!(rng.random_range(0..3))),
        30 => ("allOf", (0..rng.random_range(1..3)).map(|_| schema(rng, depth - 1)).collect()),
        31 | 32 => (
            ["anyOf", "oneOf"].choose(rng).copied().unwrap_or("anyOf"),
            (0..rng.random_range(1..3)).map(|_| schema(rng, depth - 1)).collect(),
        ),
        33 => ("not", schema(rng, depth - 1)),
        34 => (["if", "then", "else"].choose(rng).copied().unwrap_or("if"), schema(rng, depth - 1)),
        35 => ("dependentRequired", json!({name(rng): names(rng)})),
        _ => {
            (["dependentSchemas", "$ref", "unevaluatedProperties"].choose(rng).copied().unwrap_or("$ref"), json!(null))
        }
    }
}

/// Gives a value to each keyword for which [`keyword`] returned null.
fn completed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                *member = match (name.as_str(), member.is_null()) {
                    ("$ref", true) => json!("#/$defs/d"),
                    ("unevaluatedProperties", true) => json!(false),
                    ("dependentSchemas", true) => json!({"a": {"required": ["b"]}}),
                    _ => completed(member.take()),
                };
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = completed(element.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

/// Changes a schema a little.
fn mutated(schema_before: &Value, rng: &mut StdRng) -> Value {
    let mut after = schema_before.clone();
    for _ in 0..rng.random_range(1..3) {
        change(&mut after, rng, 3);
    }
    after
}

fn change(part: &mut Value, rng: &mut StdRng, depth: usize) {
    match part {
        Value::Object(members) => {
            let names: Vec<String> = members.keys().cloned().collect();
            match (rng.random_range(0..4), names.choose(rng)) {
                (0, Some(name)) if name != "$defs" => drop(members.remove(name)),
                (1, _) => {
                    let (keyword, value) = keyword(rng, 1);
                    members.insert(keyword.to_owned(), value);
                }
                (_, Some(name)) if depth > 0 => {
                    if let Some(member) = members.get_mut(name) {
                        change(member, rng, depth - 1);
                    }
                }
                _ => {}
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let index = rng.random_range(0..elements.len());
            if rng.random_bool(0.5) { drop(elements.remove(index)) } else { change(&mut elements[index], rng, depth) }
        }
        Value::Number(_) => *part = json!(rng.random_range(0..6)),
        Value::Bool(flag) => *flag = !*flag,
        Value::Null | Value::String(_) | Value::Array(_) => {}
    }
}

/// Compares random schemas with changed versions of them, and checks random values against both versions.
#[test]
fn a_new_schema_without_narrowings_accepts_all_old_values() {
    let from = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = from("SLUICE_SEED").unwrap_or_else(rand::random);
    let pairs = from("SLUICE_SCHEMAS").unwrap_or(1_000);
    let (mut wider, mut accepted) = (0, 0);
    for seed in (0..pairs).map(|number| first.wrapping_add(number)) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut old = completed(schema(&mut rng, 2));
        if let Some(members) = old.as_object_mut() {
            members.insert("$defs".to_owned(), json!({"d": completed(schema(&mut rng, 1))}));
        }
        let new = completed(mutated(&old, &mut rng));
        let (Some(old_part), Some(new_part)) = (Part::compile(&old, ""), Part::compile(&new, "")) else { continue };
        if old == new || !narrowings(&old, &new).is_empty() {
            continue;
        }
        wider += 1;
        for _ in 0..100 {
            let value = value(&mut rng, 3);
            if old_part.accepts(&value) {
                accepted += 1;
                assert!(new_part.accepts(&value), "SLUICE_SEED={seed}: {value} is rejected\nold {old}\nnew {new}");
            }
        }
    }
    assert!(
        wider > pairs / 10 && accepted > pairs,
        "SLUICE_SEED={first}: too few pairs without narrowings ({wider}) or too few accepted values ({accepted})"
    );
}
