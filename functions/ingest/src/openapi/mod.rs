//! The OpenAPI 3.1 document of all routes, generated from the contracts. Its schemas, like the contracts, are written
//! in JSON Schema 2020-12. Of the crate's other modules, this module uses only `entities`, `streams` and `submit`.
//! `routes` serves the document.
//!
//! - `events`, `entities`, `console`, `users`, `service`: the operations, by path and method
//! - `schemas`, `console_schemas`: the schemas of requests and responses
//! - `parameters`: the parameters that several operations share
//! - `explicit`: writes out the defaults of contracts' schemas, for tools
//! - `problems`: an operation's answers, which are receipts or problems
//! - `examples`: examples of requests and responses
//! - `operation`: builds an operation; `parts`: what several operations have in common

mod console;
mod console_schemas;
mod entities;
mod events;
mod examples;
mod explicit;
mod operation;
mod parameters;
mod parts;
mod problems;
mod schemas;
mod service;
mod users;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use shared::contract::Registry;

/// Creates the whole document.
pub(crate) fn document(registry: &Registry) -> Value {
    let mut paths = entities::all(registry);
    for others in [events::all(registry), console::all(), users::all(), service::all()] {
        paths.extend(others);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "summary": "Events in, rows out.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "events", "description": "Sending events, and finding out what happened to them."},
            {"name": "entities", "description": "Commands that create, update and delete entities, and the entities' rows."},
            {"name": "dead letters", "description": "Events that could not be written."},
            {"name": "reports", "description": "User events, counted."},
            {"name": "users", "description": "Registration, login and blocks."},
            {"name": "service", "description": "Sluice itself."}
        ],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components(registry),
            "parameters": parameters::shared(),
            "responses": {"Throttled": problems::throttled()},
            "examples": problems::problem_examples(),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token from /login."},
                "serviceKey": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "slk_…",
                    "description": "A service key from POST /keys, for posting to its streams and reading receipts."
                }
            }
        }
    });
    drop_unused(&mut document);
    document
}

fn components(registry: &Registry) -> Map<String, Value> {
    let mut components = schemas::fixed();
    components.extend(problems::schemas());
    components.extend(console_schemas::all());
    for contract in registry.contracts() {
        components.insert(contract.stream.clone(), schemas::event(contract));
    }
    for (contract, entity) in crate::entities::all(registry) {
        components.insert(schemas::row_name(contract), schemas::row(entity));
    }
    components
}

/// Removes components that no path refers to, such as the schema of a stream that nobody may post to.
fn drop_unused(document: &mut Value) {
    let mut used = BTreeSet::new();
    let mut found = Vec::new();
    collect_references(&document["paths"], &mut found);
    while let Some(pointer) = found.pop() {
        // A reference may point into a component, such as to a contract's `$defs`.
        let mut tokens = pointer.split('/').skip(2);
        let Some((section, name)) = tokens.next().zip(tokens.next()) else { continue };
        if used.insert((section.to_owned(), name.to_owned())) {
            collect_references(&document["components"][section][name], &mut found);
        }
    }
    for section in ["schemas", "parameters", "examples"] {
        if let Some(components) = document["components"][section].as_object_mut() {
            components.retain(|name, _| used.contains(&(section.to_owned(), name.clone())));
        }
    }
}

/// Collects the pointers of all references in a part of the document.
fn collect_references(part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("$ref", Value::String(reference)) => found.extend(reference.strip_prefix('#').map(str::to_owned)),
                    _ => collect_references(member, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect_references(element, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
