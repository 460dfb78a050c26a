//! Tests that every seed gives valid events.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::json;
use shared::contract::{Registry, json as strict};

use super::*;

const NOW_MS: i64 = 1_780_000_000_000;

fn built_in() -> Vec<Arc<Contract>> {
    let registry = Registry::load(None);
    registry.map(|registry| registry.contracts().cloned().collect()).unwrap_or_default()
}

fn stream(name: &str, parents: &[&str]) -> Option<RandomEvents> {
    let contract = built_in().into_iter().find(|contract| contract.stream == name)?;
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    Some(RandomEvents::new(contract, Clock::fixed(NOW_MS)).with_parents(parents))
}

/// Returns a contract with this schema, whose events land whole in a `jsonb` column.
fn contract(schema: &Value) -> Arc<Contract> {
    let mut document = schema.clone();
    document["x-sluice"] = json!({
        "topic": "awkward", "partitions": 1, "mode": "append", "table": "public.awkward",
        "columns": {"event": {"from": "", "type": "jsonb"}}
    });
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    std::fs::write(folder.path().join("awkward.json"), document.to_string()).unwrap_or_else(|error| panic!("{error}"));
    match Registry::load(Some(folder.path())) {
        Ok(registry) => registry.stream("awkward").cloned().unwrap_or_else(|| panic!("{schema}: not loaded")),
        Err(wrong) => panic!("{schema}: {wrong}"),
    }
}

fn check(contract: &Contract, event: &Value, seed: u64) {
    let text = event.to_string();
    let read = strict::parse(text.as_bytes());
    assert_eq!(read.as_ref(), Ok(event), "seed {seed}");
    let verdict = contract.check(text.as_bytes(), event, None, &mut Vec::new());
    assert_eq!(verdict, Ok(()), "seed {seed}, stream {}: {text}", contract.stream);
}

#[test]
fn a_thousand_seeds_give_valid_events_of_every_stream() {
    let contracts = built_in();
    assert!(!contracts.is_empty());
    for contract in contracts {
        for seed in 0..1_000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut events = RandomEvents::new(Arc::clone(&contract), Clock::fixed(NOW_MS));
            for _ in 0..3 {
                match events.event(&mut rng) {
                    Ok(event) => check(&contract, &event, seed),
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
        }
    }
}

#[test]
fn awkward_schemas_are_satisfied_too() {
    for schema in [
        json!({"type": ["integer", "null", "string"], "minLength": 3, "maxLength": 3}),
        json!({"const": {"a": [1, null]}}),
        json!({"enum": [1, "two", null, [3]], "type": ["string", "null"]}),
        json!({"allOf": [{"enum": [1, 2, 3, 4]}, {"minimum": 3}, {"not": {"const": 4}}]}),
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.25}),
        json!({"type": "integer", "minimum": 100, "maximum": 130, "allOf": [{"multipleOf": 4}, {"multipleOf": 6}]}),
        json!({"type": "number", "minimum": 1e20, "maximum": 1e30}),
        json!({"type": "string", "pattern": "^(\\+\\d{1,3} )?\\d{3}-\\d{4}$", "minLength": 10}),
        json!({"type": "string", "pattern": "^[^\\s,]+@[\\w.-]+$", "allOf": [{"maxLength": 20}]}),
        json!({"type": "string", "allOf": [{"pattern": "a"}, {"pattern": "b$"}, {"minLength": 12}]}),
        json!({"type": "string", "format": "date-time", "pattern": "Z$"}),
        json!({"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": true}),
        json!({"type": "array", "items": {"type": "boolean"}, "uniqueItems": true}),
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false, "minItems": 2}),
        json!({"type": "array", "contains": {"const": 7}, "minContains": 2, "items": {"type": "integer"}}),
        json!({"type": "object", "required": ["a", "z"], "properties": {"a": {"type": "null"}, "b": true, "c": false}}),
        json!({"type": "object", "minProperties": 3, "maxProperties": 3, "propertyNames": {"pattern": "^[a-c]$"}}),
        json!({
            "type": "object", "additionalProperties": false, "minProperties": 2,
            "patternProperties": {"^n_": {"type": "integer"}, "^s_": {"type": "string"}}
        }),
        json!({
            "type": "object", "additionalProperties": false, "properties": {"card": {}, "address": {}, "zip": {}},
            "dependentRequired": {"card": ["address"], "address": ["zip"]}, "required": ["card"]
        }),
        json!({
            "oneOf": [
                {"type": "object", "required": ["kind", "r"], "additionalProperties": false,
                 "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}}},
                {"type": "object", "required": ["kind", "w", "h"], "additionalProperties": false,
                 "properties": {"kind": {"const": "box"}, "w": {"type": "integer"}, "h": {"type": "integer"}}}
            ]
        }),
        json!({"type": "integer", "minimum": 1, "maximum": 30, "oneOf": [{"multipleOf": 3}, {"multipleOf": 5}]}),
        json!({"anyOf": [false, {"type": "string", "maxLength": 0}, {"type": "integer", "minimum": 5, "maximum": 4}]}),
        json!({
            "type": "object", "required": ["country", "code"],
            "properties": {"country": {"enum": ["US", "NL"]}, "code": {"type": "string"}},
            "if": {"properties": {"country": {"const": "US"}}},
            "then": {"properties": {"code": {"pattern": "^\\d{5}$"}}},
            "else": {"properties": {"code": {"pattern": "^\\d{4} [A-Z]{2}$"}}}
        }),
        json!({
            "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"],
            "dependentSchemas": {"a": {"required": ["b"], "properties": {"b": {"minLength": 40}}}}
        }),
        json!({
            "$ref": "#/$defs/tree",
            "$defs": {"tree": {
                "type": "object", "required": ["name", "children"], "additionalProperties": false,
                "properties": {
                    "name": {"$ref": "#name"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}
                }
            }, "n": {"$anchor": "name", "type": "string", "minLength": 1}}
        }),
        json!({
            "type": "object", "required": ["next"], "additionalProperties": false,
            "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}
        }),
        json!({
            "allOf": [{"type": "object", "properties": {"a": {"minimum": 5}}}, {"required": ["a"]}],
            "properties": {"a": {"type": "integer", "maximum": 6}}, "unevaluatedProperties": false
        }),
        json!({"not": {"type": ["object", "array", "string", "number"]}}),
        json!({"not": {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]}}),
    ] {
        let contract = contract(&schema);
        let mut events = RandomEvents::new(Arc::clone(&contract), Clock::fixed(NOW_MS));
        for seed in 0..100 {
            match events.event(&mut SmallRng::seed_from_u64(seed)) {
                Ok(event) => check(&contract, &event, seed),
                Err(error) => panic!("seed {seed}: {schema}: {error}"),
            }
        }
    }
}

#[test]
fn a_schema_that_no_value_satisfies_gives_an_error_that_names_the_stream() {
    for schema in [
        json!({"type": "integer", "minimum": 2, "maximum": 1}),
        json!({"type": "object", "required": ["a"], "properties": {"a": false}}),
        json!({"type": "object", "required": ["again"], "properties": {"again": {"$ref": "#"}}}),
        json!({"type": "array", "minItems": 3, "uniqueItems": true, "items": {"type": "boolean"}}),
        json!({"allOf": [{"const": 1}, {"const": 2}]}),
    ] {
        let mut events = RandomEvents::new(contract(&schema), Clock::fixed(NOW_MS));
        let error = events.event(&mut SmallRng::seed_from_u64(1)).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|error| error.starts_with("stream awkward: no valid event")), "{error:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let drawn = |name: &str| {
        let (mut events, mut rng) = (stream(name, &[])?, SmallRng::seed_from_u64(7));
        Some((0..20).map(|_| events.event(&mut rng)).collect::<Vec<_>>())
    };
    for name in ["city", "changes", "user-event"] {
        assert!(drawn(name).is_some_and(|events| !events.contains(&Ok(Value::Null))));
        assert_eq!(drawn(name), drawn(name));
    }
}

#[test]
fn random_entities_have_existing_parents_and_hardly_ever_share_a_name() {
    let mut rng = SmallRng::seed_from_u64(7);
    let Some(mut events) = stream("city", &["Norway", "Iran"]) else { panic!("no stream city") };
    let mut names = BTreeSet::new();
    for _ in 0..5_000 {
        let event = events.event(&mut rng).unwrap_or_default();
        assert!(event.get("op").is_none_or(|op| op == "create"), "{event}");
        assert!(event["country"] == "Norway" || event["country"] == "Iran", "{event}");
        names.insert(event["name"].as_str().map(str::to_owned));
    }
    assert!(names.len() > 4_950, "{} names", names.len());
}

#[test]
fn random_times_are_within_the_last_thirty_days() {
    let mut rng = SmallRng::seed_from_u64(7);
    let Some(mut events) = stream("route", &[]) else { panic!("no stream route") };
    let now_seconds = 1_780_000_000.0;
    for _ in 0..200 {
        let seconds = events.event(&mut rng).ok().and_then(|event| event["timestamp"].as_f64());
        assert!(seconds.is_some_and(|at| (0.0..=30.0 * 86_400.0).contains(&(now_seconds - at))), "{seconds:?}");
    }
}

#[test]
fn random_changes_use_one_table_in_which_each_column_has_one_type() {
    let mut rng = SmallRng::seed_from_u64(7);
    let Some(mut events) = stream("changes", &[]) else { panic!("no stream changes") };
    let (mut types, mut kinds) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..500 {
        let event = events.event(&mut rng).unwrap_or_default();
        let set = event["change"].as_array().cloned().unwrap_or_else(|| vec![event.clone()]);
        for change in set {
            assert_eq!(change["table"], "demo_readings");
            kinds.insert(change["kind"].as_str().or(change["action"].as_str()).map(str::to_owned));
            let named = change["columnnames"]
                .as_array()
                .into_iter()
                .flatten()
                .zip(change["columntypes"].as_array().into_iter().flatten());
            let listed =
                change["columns"].as_array().into_iter().flatten().map(|column| (&column["name"], &column["type"]));
            for (name, ty) in named.chain(listed) {
                let known = types.entry(name.to_string()).or_insert_with(|| ty.clone()).clone();
                assert_eq!(known, *ty, "{name}");
            }
        }
    }
    assert_eq!((types.len(), kinds.len()), (6, 6), "{kinds:?}");
}
