use std::collections::BTreeSet;

use serde_json::Value;
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

#[test]
fn every_reference_leads_somewhere() {
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
fn every_operation_has_an_id_of_its_own_and_declares_the_parameters_of_its_path() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            assert!(operation["responses"].is_object(), "{method} {path}");
            let declared = operation["parameters"].as_array().into_iter().flatten();
            let declared: BTreeSet<_> =
                declared.filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect();
            let in_path: BTreeSet<_> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(declared, in_path, "{method} {path}");
        }
    }
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
    ] {
        let item = document["paths"][path].as_object();
        let found: Vec<_> = item.into_iter().flatten().map(|(method, _)| method.as_str()).collect();
        assert_eq!(found.join(" "), methods, "{path}");
    }
}

#[test]
fn a_contract_is_shown_without_what_it_says_of_kafka_and_postgresql() {
    let city = &document()["components"]["schemas"]["city"];
    assert_eq!(city["title"], "City");
    assert!(city.get("x-sluice").is_none());
}
