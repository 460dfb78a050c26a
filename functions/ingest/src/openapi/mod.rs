//! OpenAPI 3.1 of the function, generated from its contracts. Its schemas are JSON Schema 2020-12, as contracts are.

mod operations;
mod schemas;
mod users;

use serde_json::{Map, Value, json};
use shared::contract::{Contract, Entity, Mode, Registry};

/// The whole document.
pub(crate) fn document(registry: &Registry) -> Value {
    let mut paths = operations::fixed();
    paths.extend(users::paths());
    for contract in registry.contracts().filter(|contract| !contract.roles.is_empty()) {
        paths.insert(format!("/events/{}", contract.stream), json!({"post": operations::post_events(contract)}));
    }
    for (contract, entity) in entities(registry) {
        paths.entry(format!("/{}", entity.landing.table.name)).or_insert_with(|| operations::table(contract, entity));
    }
    // Where a stream is named like a table, the stream has the route.
    for (contract, entity) in entities(registry) {
        let path = format!("/{}", contract.stream);
        if !operations::fixed().contains_key(&path) {
            paths.insert(path, operations::entity(contract, entity));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "summary": "Events in, rows out.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "events"}, {"name": "entities"}, {"name": "dead letters"}, {"name": "reports"}, {"name": "users"}, {"name": "service"}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components(registry),
            "parameters": schemas::parameters(),
            "responses": schemas::responses(),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            }
        }
    })
}

fn components(registry: &Registry) -> Map<String, Value> {
    let mut components = schemas::fixed();
    for contract in registry.contracts() {
        components.insert(contract.stream.clone(), schemas::event(contract));
    }
    for (contract, entity) in entities(registry) {
        components.insert(schemas::row_name(contract), schemas::row(entity));
    }
    components
}

fn entities(registry: &Registry) -> impl Iterator<Item = (&Contract, &Entity)> {
    registry.contracts().filter_map(|contract| match &contract.mode {
        Mode::Entity(entity) => Some((contract.as_ref(), entity)),
        Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => None,
    })
}

/// A reference to a schema.
fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests;
