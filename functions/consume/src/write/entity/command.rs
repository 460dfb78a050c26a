//! A command, read from its event.

use serde_json::Value;
use shared::contract::{Contract, Entity};

use crate::candidate::Candidate;
use crate::write::rows::{Cell, NULL, cells};

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

/// A command about one entity.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) operation: Operation,
    /// The entity's key: its value, or several as a JSON array.
    pub(super) key: String,
    /// The key of the parent that it names.
    pub(super) parent: Option<String>,
    /// A cell for each column.
    pub(super) cells: Vec<Cell<'a>>,
    /// Whether the event names each column's value.
    pub(super) given: Vec<bool>,
}

impl<'a> Command<'a> {
    pub(super) fn read(contract: &Contract, entity: &Entity, candidate: &'a Candidate<'_>) -> Self {
        let event = candidate.document;
        let columns = &entity.landing.columns;
        let mut cells: Vec<Cell<'a>> = cells(candidate.cells()).collect();
        cells.resize(columns.len(), NULL);
        Self {
            operation: match event.get("op").and_then(Value::as_str) {
                Some("update") => Operation::Update,
                Some("delete") => Operation::Delete,
                // Contracts of this mode leave `create` to be said or not.
                Some(_) | None => Operation::Create,
            },
            key: contract.record_key(event).unwrap_or_default().into_owned(),
            parent: entity.parent.as_ref().and_then(|parent| match columns[parent.column].from.get(event)? {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    Some(other.to_string())
                }
            }),
            cells,
            given: columns.iter().map(|column| column.from.get(event).is_some()).collect(),
        }
    }

    pub(super) fn is_delete(&self) -> bool {
        self.operation == Operation::Delete
    }
}
