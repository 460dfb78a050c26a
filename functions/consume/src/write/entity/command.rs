//! Reads a command from its event.

use std::borrow::Cow;

use serde_json::Value;
use shared::contract::{Contract, Entity, Source};

use crate::candidate::Candidate;
use crate::write::rows::{Cell, NULL, cells};

/// A command's operation.
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
    /// The entity's key: a single value, or several as a JSON array.
    pub(super) key: String,
    /// The key of the parent that the command names.
    pub(super) parent: Option<String>,
    /// A cell for each column.
    pub(super) cells: Vec<Cell<'a>>,
    /// For each column, whether the command sets it: from a value in the event, or from the record's metadata.
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
                // In this mode's contracts, `create` is the default.
                Some(_) | None => Operation::Create,
            },
            key: contract.record_key(event).unwrap_or_default().into_owned(),
            parent: entity.parent.as_ref().and_then(|parent| {
                let column = &columns[parent.column];
                column.key_text(column.from.pointer()?.get(event)?).map(Cow::into_owned)
            }),
            cells,
            given: columns.iter().map(|column| is_given(&column.from, event)).collect(),
        }
    }

    pub(super) fn is_delete(&self) -> bool {
        self.operation == Operation::Delete
    }
}

fn is_given(source: &Source, event: &Value) -> bool {
    match source {
        Source::Event(pointer) => pointer.get(event).is_some(),
        Source::Meta(_) => true,
    }
}
