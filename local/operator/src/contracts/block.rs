//! Compares the `x-sluice` blocks of two contracts. The module `columns` compares the columns.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::contract::canonical;

use super::change::{Affects, Change, Severity, TABLES};
use super::difference::changed;

/// The members of the block that this module skips, because `columns` compares them.
const ELSEWHERE: [&str; 1] = ["columns"];

/// Returns the changes in a contract's `x-sluice` block.
pub(super) fn changes(stream: &str, old: &Value, new: &Value) -> Vec<Change> {
    let (old, new) = (&old["x-sluice"], &new["x-sluice"]);
    let names: BTreeSet<&String> =
        [old, new].into_iter().filter_map(Value::as_object).flat_map(|block| block.keys()).collect();
    let members = names.into_iter().filter(|name| !ELSEWHERE.contains(&name.as_str())).filter_map(|name| {
        let (old, new) = (written(old, name), written(new, name));
        if old.as_ref().map(canonical::text) == new.as_ref().map(canonical::text) {
            return None;
        }
        let (severity, text, affects) = judged(name, old.as_ref(), new.as_ref());
        let text = format!("{}; {text}", changed(old.as_ref(), new.as_ref()));
        Some(Change::new(stream, format!("/x-sluice/{name}"), severity, text, affects))
    });
    members.collect()
}

/// Returns a member's value. If the block does not have the member, returns the default.
fn written(block: &Value, name: &str) -> Option<Value> {
    let default = match name {
        "roles" => Some(json!(["user"])),
        "key" | "tables" => Some(json!([])),
        "evolve" => Some(json!(false)),
        _ => None,
    };
    block.get(name).cloned().or(default)
}

fn judged(name: &str, old: Option<&Value>, new: Option<&Value>) -> (Severity, &'static str, Affects) {
    use Severity::{Breaking, Safe, Stricter};
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
    let reach = |value: Option<&Value>| {
        let roles: Vec<&str> =
            value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if roles.contains(&"user") { 2 } else { usize::from(!roles.is_empty()) }
    };
    match (name, old, new) {
        ("topic", ..) => (Breaking, "events in the old topic that have not landed are no longer read", Affects::All),
        ("key", ..) => {
            (Breaking, "events that had the same key may land out of order, or in a different row", Affects::Rekeyed)
        }
        ("mode", ..) => (Breaking, "events are turned into rows differently", Affects::All),
        ("table", ..) => (Breaking, "readers of the old table miss new rows", Affects::All),
        ("schema", ..) => (Breaking, "readers of the old schema miss new rows", Affects::All),
        ("partitions", ..) if number(new) > number(old) => {
            (Stricter, "keys move to other partitions: let the topic drain before you add partitions", Affects::Nothing)
        }
        ("partitions", ..) => (Safe, "Kafka cannot remove partitions, so nothing happens", Affects::Nothing),
        ("roles", ..) if reach(new) < reach(old) => (Stricter, "fewer callers may post", Affects::Nothing),
        ("roles", ..) => (Safe, "all callers who could post still can", Affects::Nothing),
        ("dedupe", ..) => (Breaking, "different events count as duplicates than before", Affects::All),
        ("version", None, _) => (Stricter, "an event with a lower version no longer changes its row", Affects::Nothing),
        ("version", ..) => (Breaking, "a different event may end up in the row", Affects::All),
        ("parent", None, _) => {
            (Stricter, "an event waits for its parent, and is rejected if the wait is too long", Affects::Nothing)
        }
        ("parent", ..) => {
            (Stricter, "events no longer wait for the parent that the old contract names", Affects::Nothing)
        }
        ("tables", ..) if includes(new, old) => {
            (Safe, "every table that was allowed is still allowed", Affects::Nothing)
        }
        ("tables", ..) => {
            let affects = Affects::Violating { keyword: TABLES.to_owned(), field: None };
            (Stricter, "changes to tables that are not listed are no longer accepted", affects)
        }
        ("bigquery", None, _) => (Safe, "new events also land in BigQuery, if their values fit", Affects::Nothing),
        ("bigquery", Some(old), Some(new)) if same_place(old, new) => {
            (Stricter, "readers miss the values of columns that are gone or filled differently", Affects::Nothing)
        }
        ("bigquery", ..) => (Breaking, "readers of the old table in BigQuery miss new rows", Affects::All),
        ("evolve", _, Some(Value::Bool(true))) => (Safe, "missing tables and columns are created", Affects::Nothing),
        ("evolve", ..) => (Stricter, "missing tables and columns are no longer created", Affects::Nothing),
        _ => (Stricter, "this command does not know what the change affects", Affects::Nothing),
    }
}

/// Returns whether two `bigquery` members name the same table and the same dataset.
fn same_place(old: &Value, new: &Value) -> bool {
    ["table", "dataset"].into_iter().all(|member| old.get(member) == new.get(member))
}

/// Returns whether the new list of tables allows every table that the old list allows.
fn includes(new: Option<&Value>, old: Option<&Value>) -> bool {
    let names = |value: Option<&Value>| {
        let names = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (new, old) = (names(new), names(old));
    new.contains("*") || !old.contains("*") && new.is_superset(&old)
}
