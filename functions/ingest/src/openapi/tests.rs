use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::contract::Registry;

fn document() -> Value {
    Registry::load(None).map(|registry| super::document(&registry)).unwrap_or_default()
}

fn each(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            visit(name, member);
            each(member, visit);
        }),
        Value::Array(elements) => elements.iter().for_each(|element| each(element, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Returns the name of each operation, such as `GET /path`, and its Operation Object.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    operations.collect()
}

#[test]
fn every_reference_has_a_target() {
    let document = document();
    let mut references = 0;
    each(&document, &mut |name, member| {
        if let ("$ref", Some(reference)) = (name, member.as_str()) {
            references += 1;
            let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
            assert!(target.is_some(), "{reference}");
        }
    });
    assert!(references > 50, "{references}");
}

#[test]
fn every_operation_has_a_unique_id_and_declares_the_parameters_of_its_path() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].to_string()), "{name}");
        assert!(operation["responses"].is_object(), "{name}");
        let declared = operation["parameters"].as_array().into_iter().flatten();
        let declared: BTreeSet<_> = declared.filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect();
        let in_path: BTreeSet<_> =
            name.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(declared, in_path, "{name}");
    }
}

#[test]
fn every_operation_declares_its_problems_and_has_examples_of_everything() {
    let document = document();
    for (name, operation) in operations(&document) {
        for status in ["429", "500"] {
            assert!(operation["responses"][status].is_object(), "{name} {status}");
        }
        let is_open = operation["security"] == json!([]);
        assert!(is_open || operation["responses"]["401"].is_object(), "{name}");
        assert!(operation["responses"].get("default").is_none(), "{name}");
    }
    let mut media_types = 0;
    each(&document, &mut |name, member| match name {
        "content" => {
            for (media_type, content) in member.as_object().into_iter().flatten() {
                media_types += 1;
                assert!(content.get("example").or(content.get("examples")).is_some(), "{media_type} {content}");
            }
        }
        "parameters" => {
            let listed = member.as_array().into_iter().flatten();
            for parameter in listed.chain(member.as_object().into_iter().flat_map(serde_json::Map::values)) {
                assert!(parameter.get("$ref").or(parameter.get("example")).is_some(), "{parameter}");
            }
        }
        _ => {}
    });
    assert!(media_types > 100, "{media_types}");
}

#[test]
fn every_stream_and_every_entity_has_its_paths() {
    let document = document();
    for (path, methods) in [
        ("/events/changes", "post"),
        ("/events/user-event", "post"),
        ("/city", "delete get post put"),
        ("/cities", "get"),
        ("/continents", "get"),
        ("/health", "get"),
        ("/submit/{n}", "get post"),
    ] {
        let item = document["paths"][path].as_object();
        let found: Vec<_> = item.into_iter().flatten().map(|(method, _)| method.as_str()).collect();
        assert_eq!(found.join(" "), methods, "{path}");
    }
}

#[test]
fn the_schema_of_a_contract_omits_the_topic_and_the_table() {
    let city = &document()["components"]["schemas"]["city"];
    assert_eq!(city["title"], "City");
    assert!(city.get("x-sluice").is_none());
}

#[test]
fn an_example_conforms_to_its_schema() {
    let document = document();
    let mut checked = 0;
    each(&document, &mut |name, member| {
        let ("application/json" | "application/cloudevents+json" | "application/problem+json", Some(schema)) =
            (name, member.get("schema"))
        else {
            return;
        };
        let root = json!({"$ref": "#/schema", "schema": schema, "components": document["components"]});
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&root);
        let validator = validator.unwrap_or_else(|error| panic!("{schema}: {error}"));
        let shared =
            |reference: &str| document.pointer(reference.trim_start_matches('#')).map(|example| &example["value"]);
        let listed = member["examples"].as_object().into_iter().flatten();
        let examples = listed.filter_map(|(_, example)| match example["$ref"].as_str() {
            Some(reference) => shared(reference),
            None => Some(&example["value"]),
        });
        for example in member.get("example").into_iter().chain(examples) {
            checked += 1;
            let wrong: Vec<String> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{example} in {schema}: {wrong:?}");
        }
    });
    assert!(checked > 100, "{checked}");
}
