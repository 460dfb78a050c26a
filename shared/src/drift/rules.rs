//! Checks whether a table meets its contract.

use std::collections::BTreeSet;

use super::Difference;
use super::catalogue::{FoundColumn, FoundTable, Kind, Unique};
use super::nullable::may_be_null;
use crate::contract::{Column, Contract, Landing, Mode, Table};

/// Why a stream needs a unique index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reliance {
    /// A statement names the key in `on conflict`: there must be a unique index on exactly the key's columns, and the
    /// index must not be deferrable.
    OnConflict(&'static str),
    /// Rows are found by the key, so a unique index on all or some of the key's columns is enough.
    Identity,
}

/// Compares a contract with one of its tables.
pub(super) fn judge(contract: &Contract, table: &Table, found: &FoundTable) -> Vec<Difference> {
    let differs = |column: Option<&str>, expected: String, found: String| {
        difference(&contract.stream, table, column, expected, found)
    };
    // In mode `changes`, a change set is rejected only if it needs what is missing. Other change sets can still land.
    let rejects_only = matches!(contract.mode, Mode::Changes(_));
    if !found.has_schema {
        let missing = differs(None, format!("a schema {}", table.schema), "no such schema".to_owned());
        return vec![missing.keeping_all_out(!rejects_only)];
    }
    if !found.may_use_schema {
        let missing = format!("no privilege usage on schema {}", table.schema);
        let missing = differs(None, "the privilege to use its schema".to_owned(), missing);
        return vec![missing.keeping_all_out(!rejects_only)];
    }
    let (landing, privileges): (&Landing, &[&str]) = match &contract.mode {
        // Only the table is checked here. Columns and keys are checked against the catalogue when a change lands.
        Mode::Changes(_) => {
            let is_missing = !table.name.is_empty() && found.kind.is_none();
            return if is_missing { vec![no_table(&contract.stream, table)] } else { Vec::new() };
        }
        Mode::Append { landing, .. } => (landing, &["select", "insert"]),
        Mode::Upsert { landing, .. } => (landing, &["select", "insert", "update"]),
        Mode::Entity(entity) => (&entity.landing, &["select", "insert", "update", "delete"]),
    };
    let Some(kind) = found.kind else {
        return vec![no_table(&contract.stream, table).keeping_all_out(true)];
    };
    let mut differences = Vec::new();
    let lacking: Vec<&str> =
        privileges.iter().copied().filter(|needed| found.missing_privileges.iter().any(|p| p == needed)).collect();
    if !lacking.is_empty() {
        let expected = format!("the privileges {}", privileges.join(", "));
        differences.push(differs(None, expected, format!("no {}", lacking.join(", no "))));
    }
    for column in &landing.columns {
        differences.extend(judge_column(contract, landing, column, found));
    }
    let is_unfilled = |column: &&FoundColumn| {
        column.not_null && !column.has_default && !landing.columns.iter().any(|written| written.name == column.name)
    };
    for column in found.columns.iter().filter(is_unfilled) {
        let expected = "a default or a nullable column, because the contract does not fill it".to_owned();
        let difference = differs(Some(&column.name), expected, "not null without a default".to_owned());
        // A trigger may fill the column. In mode `entity`, updates and deletes still land.
        let is_always_inserted = matches!(contract.mode, Mode::Append { .. } | Mode::Upsert { .. });
        let keeps_all_out = is_always_inserted && !found.has_insert_trigger && !column.is_not_null_of_domain;
        // PostgreSQL does not enforce the constraints of a foreign table.
        differences.push(difference.keeping_all_out(keeps_all_out && kind == Kind::Table));
    }
    if kind == Kind::Table {
        differences.extend(judge_key(contract, landing, found));
    }
    differences
}

fn judge_column(contract: &Contract, landing: &Landing, column: &Column, found: &FoundTable) -> Option<Difference> {
    let actual = found.columns.iter().find(|found| found.name == column.name);
    // In modes `append` and `upsert`, every statement writes all columns. In mode `entity`, a delete still lands if a
    // column is missing.
    let is_always_written = matches!(contract.mode, Mode::Append { .. } | Mode::Upsert { .. });
    let wrong_type = type_difference(&contract.stream, landing, column, actual.map(|a| (a.type_oid, a.ty.as_str())));
    if let Some(difference) = wrong_type {
        // In the statements for small batches, PostgreSQL converts some types, so some events can still land.
        return Some(difference.keeping_all_out(actual.is_none() && is_always_written));
    }
    let actual = actual?;
    let differs = |expected: &str, found: &str| {
        let (expected, found) = (expected.to_owned(), found.to_owned());
        Some(difference(&contract.stream, &landing.table, Some(&column.name), expected, found))
    };
    if actual.is_generated {
        let difference = differs("a column that can be written", "generated always")?;
        return Some(difference.keeping_all_out(is_always_written));
    }
    // Only values from the event are checked. Metadata is normally present. If metadata is missing, the row is at
    // fault. In mode `upsert`, an event without its key is refused before it reaches the table.
    let may_be_null = column
        .from
        .pointer()
        .is_some_and(|pointer| !contract.refuses_null(pointer) && may_be_null(&contract.document, pointer));
    if actual.not_null && may_be_null {
        return differs("a nullable column, because the contract lets the value be missing or null", "not null");
    }
    None
}

/// Compares a column's type with the type in the contract. `found` is the object id and the name of the column's type;
/// `None` if the column is missing.
pub fn type_difference(
    stream: &str,
    landing: &Landing,
    column: &Column,
    found: Option<(i64, &str)>,
) -> Option<Difference> {
    let found = match found {
        Some((oid, _)) if oid == i64::from(column.ty.oid()) => return None,
        Some((_, name)) => name.to_owned(),
        None => "no such column".to_owned(),
    };
    Some(difference(stream, &landing.table, Some(&column.name), column.ty.sql().to_owned(), found))
}

fn judge_key(contract: &Contract, landing: &Landing, found: &FoundTable) -> Option<Difference> {
    let (key, reliance): (&[usize], Reliance) = match &contract.mode {
        Mode::Append { dedupe: None, .. } | Mode::Changes(_) => return None,
        Mode::Append { dedupe: Some(id), .. } => (std::slice::from_ref(id), Reliance::OnConflict("dedupe")),
        Mode::Upsert { key, .. } => (key, Reliance::OnConflict("key")),
        Mode::Entity(entity) => (&entity.key, Reliance::Identity),
    };
    let key: BTreeSet<&str> = key.iter().map(|&column| landing.columns[column].name.as_str()).collect();
    let fits = |unique: &&Unique| {
        let columns: BTreeSet<&str> = unique.columns.iter().map(String::as_str).collect();
        match reliance {
            Reliance::OnConflict(_) => columns == key,
            Reliance::Identity => !columns.is_empty() && columns.is_subset(&key),
        }
    };
    let is_usable = |unique: &&Unique| {
        let may_defer = reliance == Reliance::Identity;
        unique.is_valid && !unique.is_partial && !unique.has_expressions && (may_defer || !unique.is_deferrable)
    };
    let fitting: Vec<&Unique> = found.uniques.iter().filter(fits).collect();
    if fitting.iter().any(is_usable) {
        return None;
    }
    let needed_by = match reliance {
        Reliance::OnConflict(member) => member,
        Reliance::Identity => "key",
    };
    let names: Vec<&str> = key.iter().copied().collect();
    let expected = format!("a unique index on ({}), which \"{needed_by}\" relies on", names.join(", "));
    let actual = match fitting.first() {
        None => "none",
        Some(unique) if unique.has_expressions => "only one with expressions",
        Some(unique) if unique.is_partial => "only a partial one",
        Some(unique) if !unique.is_valid => "only an invalid one",
        Some(_) => "only a deferrable one, which ON CONFLICT cannot use",
    };
    let column = if let [name] = names.as_slice() { Some(*name) } else { None };
    let difference = difference(&contract.stream, &landing.table, column, expected, actual.to_owned());
    // In mode `append` with `dedupe`, a large batch is first sent by COPY. COPY needs no index, so the batch can still
    // land.
    Some(difference.keeping_all_out(matches!(contract.mode, Mode::Upsert { .. })))
}

fn no_table(stream: &str, table: &Table) -> Difference {
    difference(stream, table, None, "a table".to_owned(), "no such table".to_owned())
}

fn difference(stream: &str, table: &Table, column: Option<&str>, expected: String, found: String) -> Difference {
    let table = if table.name.is_empty() { table.schema.clone() } else { format!("{}.{}", table.schema, table.name) };
    let (stream, column) = (stream.to_owned(), column.map(str::to_owned));
    Difference { stream, table, column, expected, found, keeps_all_out: false }
}

impl Difference {
    fn keeping_all_out(self, keeps_all_out: bool) -> Self {
        Self { keeps_all_out, ..self }
    }
}
