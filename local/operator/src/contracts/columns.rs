//! Compares the columns of two contracts.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde_json::Value;
use shared::contract::{Column, ColumnType, Contract, Decimal, Landing, Pointer, canonical, pointer, schema};

use super::change::{Affects, Change, Severity};
use super::difference::changed;

/// Returns the changes to a contract's columns.
pub(super) fn changes(stream: &str, old: &Value, new: &Value) -> Vec<Change> {
    let columns = |document: &Value| document["x-sluice"].get("columns").cloned().unwrap_or_default();
    let (old_columns, new_columns) = (columns(old), columns(new));
    let names: BTreeSet<&String> = [&old_columns, &new_columns]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|columns| columns.keys())
        .collect();
    let change = |name: &String| {
        let change = |severity, text, affects| Some(Change::new(stream, keyword(name), severity, text, affects));
        match (old_columns.get(name), new_columns.get(name)) {
            (Some(old), Some(new)) if canonical::text(old) == canonical::text(new) => None,
            (Some(old), Some(new)) => {
                let text = format!("{}; readers of the column see different values", changed(Some(old), Some(new)));
                change(Severity::Breaking, text, filled(&[old, new]))
            }
            (Some(old), None) => {
                let text = "removed: readers of the column miss new values".to_owned();
                change(Severity::Breaking, text, filled(&[old]))
            }
            (None, Some(column)) if always_fits(old, column) => {
                change(Severity::Safe, "added: the table needs the column".to_owned(), Affects::Nothing)
            }
            (None, column) => {
                let ty = column.and_then(|column| column["type"].as_str()).unwrap_or_default();
                let text = format!("added: a value that does not fit the type {ty} is rejected");
                change(Severity::Stricter, text, violating(name))
            }
        }
    };
    names.into_iter().filter_map(change).collect()
}

/// Returns a change for each column that no longer reads strings as numbers. Whether a column reads strings as numbers
/// depends on the schema.
pub(super) fn strings(old: &Contract, new: &Contract) -> Vec<Change> {
    let of = |contract: &Contract, name: &str| {
        let column = |landing: &Landing| landing.columns.iter().find(|column| column.name == name).cloned();
        contract.landing().and_then(column)
    };
    let narrowed = old.landing().into_iter().flat_map(|landing| &landing.columns).filter(|column| {
        column.reads_strings_as_numbers()
            && of(new, &column.name).is_some_and(|column| {
                !column.reads_strings_as_numbers() && may_be_string(&new.document, column.from.pointer())
            })
    });
    let change = |column: &Column| {
        let text = "strings are no longer read as numbers, because the schema now allows strings that are not numbers";
        Change::new(&new.stream, keyword(&column.name), Severity::Stricter, text, violating(&column.name))
    };
    narrowed.map(change).collect()
}

/// Returns whether a schema may allow a string at a pointer.
fn may_be_string(document: &Value, pointer: Option<&Pointer>) -> bool {
    let alternatives = pointer.and_then(|pointer| schema::at(document, pointer));
    alternatives.is_none_or(|alternatives| {
        alternatives.iter().any(|schemas| schema::types(schemas).is_none_or(|types| types.contains(&"string")))
    })
}

/// Selects the events with a value that a column cannot hold.
fn violating(name: &str) -> Affects {
    Affects::Violating { keyword: keyword(name), field: None }
}

/// Returns the pointer to a column in its contract.
pub(super) fn keyword(name: &str) -> String {
    "/x-sluice/columns".to_owned() + &pointer::join([name])
}

/// Selects the events that fill at least one of the columns. These are the events with a value at a column's pointer,
/// or all events if a column holds metadata.
fn filled(columns: &[&Value]) -> Affects {
    let pointers = columns.iter().map(|column| Pointer::try_from(column.get("from")?.as_str()?.to_owned()).ok());
    match pointers.collect::<Option<Vec<_>>>() {
        Some(pointers) => Affects::Filling(pointers),
        None => Affects::All,
    }
}

/// Returns whether every value that the old contract accepts fits a new column.
fn always_fits(old: &Value, column: &Value) -> bool {
    let Ok(ty) = ColumnType::deserialize(&column["type"]) else { return false };
    let Some(from) = column.get("from").and_then(Value::as_str) else {
        // A record's timestamp may be too large for a `timestamptz`. All other metadata fits its column.
        return column["meta"] != "timestamp" || ty == ColumnType::Bigint;
    };
    // A numeric token in the pointer may name an array's item or an object's member, so it is not certain which schema
    // applies.
    let is_clear = !from.split('/').any(|token| token.parse::<usize>().is_ok());
    let alternatives = Pointer::try_from(from.to_owned()).ok().and_then(|pointer| schema::at(old, &pointer));
    match alternatives {
        Some(alternatives) if is_clear => alternatives.iter().all(|schemas| fits(schemas, ty)),
        _ => false,
    }
}

fn fits(schemas: &schema::Schemas<'_>, ty: ColumnType) -> bool {
    if ty == ColumnType::Jsonb {
        return true;
    }
    if let Some(values) = schema::values(schemas) {
        return values.into_iter().all(|value| ty.encode(Some(value), &mut Vec::new()).is_ok());
    }
    let Some(types) = schema::types(schemas) else { return false };
    types.into_iter().all(|name| match (name, ty) {
        ("null", _) | ("string", ColumnType::Text) | ("boolean", ColumnType::Boolean) => true,
        ("integer", ColumnType::Smallint) => is_within(schemas, i16::MIN.into(), i16::MAX.into()),
        ("integer", ColumnType::Integer) => is_within(schemas, i32::MIN.into(), i32::MAX.into()),
        ("integer", ColumnType::Bigint) => is_within(schemas, i64::MIN, i64::MAX),
        _ => false,
    })
}

/// Returns whether the schemas limit numbers to the range from `least` to `most`.
fn is_within(schemas: &schema::Schemas<'_>, least: i64, most: i64) -> bool {
    let reaches = |keywords: [&str; 2], limit: i64, is_inside: fn(Ordering) -> bool| {
        let limit = Decimal::parse(&limit.to_string());
        let bounds = schemas.iter().flat_map(|schema| keywords.map(|keyword| schema.get(keyword)));
        let bounds = bounds.flatten().filter_map(|bound| Decimal::parse(bound.as_number()?.as_str()));
        limit.is_some_and(|limit| bounds.map(|bound| bound.compare(&limit)).any(is_inside))
    };
    reaches(["minimum", "exclusiveMinimum"], least, Ordering::is_ge)
        && reaches(["maximum", "exclusiveMaximum"], most, Ordering::is_le)
}
