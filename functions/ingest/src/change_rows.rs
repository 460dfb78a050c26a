//! The changes in a change set (wal2json format 1 or 2), for people to read.
//!
//! Which types the values get, and whether the rows exist, is decided by the tables when the set lands.

use serde_json::{Map, Value, json};
use shared::contract::Changes;

/// Returns an entry for each change of a set that has passed the contract: its table, what it does, the values of its
/// columns, and the row before. `message`, `B`, `C` and `M` change nothing.
pub(crate) fn change_rows(changes: &Changes, index: usize, set: &Value) -> Vec<Map<String, Value>> {
    match set.get("change").and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(|change| format_1(changes, index, change)).collect(),
        None => format_2(changes, index, set).into_iter().collect(),
    }
}

fn format_1(changes: &Changes, index: usize, change: &Value) -> Option<Map<String, Value>> {
    let new = || listed(change, "columnnames", "columnvalues");
    let old = || change.get("oldkeys").map_or(Value::Null, |keys| listed(keys, "keynames", "keyvalues"));
    match change.get("kind")?.as_str()? {
        action @ "insert" => entry(changes, index, change, action, &[("columns", new())]),
        action @ "update" => entry(changes, index, change, action, &[("columns", new()), ("old", old())]),
        action @ "delete" => entry(changes, index, change, action, &[("old", old())]),
        _ => None,
    }
}

fn format_2(changes: &Changes, index: usize, change: &Value) -> Option<Map<String, Value>> {
    let new = || objects(change.get("columns"));
    let old = || objects(change.get("identity"));
    match change.get("action")?.as_str()? {
        "I" => entry(changes, index, change, "insert", &[("columns", new())]),
        "U" => entry(changes, index, change, "update", &[("columns", new()), ("old", old())]),
        "D" => entry(changes, index, change, "delete", &[("old", old())]),
        "T" => entry(changes, index, change, "truncate", &[]),
        _ => None,
    }
}

fn entry(
    changes: &Changes,
    index: usize,
    change: &Value,
    action: &str,
    members: &[(&str, Value)],
) -> Option<Map<String, Value>> {
    let table = change.get("table")?.as_str()?;
    // A bare name and the schema `public` mean the schema that the contract allows.
    let schema = change.get("schema").and_then(Value::as_str).filter(|schema| *schema != "public");
    let schema = schema.unwrap_or(&changes.schema);
    let fixed = [("index", json!(index)), ("table", json!(format!("{schema}.{table}"))), ("action", json!(action))];
    let members = members.iter().cloned();
    Some(fixed.into_iter().chain(members).map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Combines format 1's lists of names and values; null if their lengths differ, because such a set is rejected.
fn listed(of: &Value, names: &str, values: &str) -> Value {
    let list = |name: &str| of.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (names, values) = (list(names), list(values));
    if names.len() != values.len() {
        return Value::Null;
    }
    let column = |(name, value): (&Value, &Value)| Some((name.as_str()?.to_owned(), value.clone()));
    Value::Object(names.iter().zip(values).filter_map(column).collect())
}

/// Combines format 2's objects.
fn objects(columns: Option<&Value>) -> Value {
    let column = |column: &Value| {
        Some((column.get("name")?.as_str()?.to_owned(), column.get("value").cloned().unwrap_or_default()))
    };
    let columns = columns.and_then(Value::as_array).into_iter().flatten();
    Value::Object(columns.filter_map(column).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(set: &Value) -> Value {
        let changes = Changes { schema: "landing".to_owned(), tables: None, evolve: true };
        Value::Array(change_rows(&changes, 3, set).into_iter().map(Value::Object).collect())
    }

    #[test]
    fn every_change_is_listed_with_its_table_in_both_formats() {
        let set = json!({"change": [
            {"kind": "insert", "schema": "public", "table": "a", "columnnames": ["id", "x"], "columnvalues": [1, null]},
            {"kind": "update", "schema": "other", "table": "a", "columnnames": ["x"], "columnvalues": ["y"],
             "oldkeys": {"keynames": ["id"], "keyvalues": [1]}},
            {"kind": "message", "prefix": "p"},
            {"kind": "delete", "table": "a", "oldkeys": {"keynames": ["id"], "keyvalues": [1]}},
            {"kind": "insert", "table": "a", "columnnames": ["id", "x"], "columnvalues": [1]}
        ]});
        let expected = json!([
            {"index": 3, "table": "landing.a", "action": "insert", "columns": {"id": 1, "x": null}},
            {"index": 3, "table": "other.a", "action": "update", "columns": {"x": "y"}, "old": {"id": 1}},
            {"index": 3, "table": "landing.a", "action": "delete", "old": {"id": 1}},
            {"index": 3, "table": "landing.a", "action": "insert", "columns": null}
        ]);
        assert_eq!(rows(&set), expected);
        let (columns, identity) = (json!([{"name": "x", "value": "y"}]), json!([{"name": "id", "value": 1}]));
        for (set, expected) in [
            (
                json!({"action": "I", "table": "a", "columns": columns}),
                json!({"action": "insert", "columns": {"x": "y"}}),
            ),
            (
                json!({"action": "U", "table": "a", "columns": columns, "identity": identity}),
                json!({"action": "update", "columns": {"x": "y"}, "old": {"id": 1}}),
            ),
            (json!({"action": "D", "table": "a", "identity": identity}), json!({"action": "delete", "old": {"id": 1}})),
            (json!({"action": "T", "table": "a"}), json!({"action": "truncate"})),
        ] {
            let mut expected = expected;
            expected["index"] = json!(3);
            expected["table"] = json!("landing.a");
            assert_eq!(rows(&set), json!([expected]), "{set}");
        }
        for set in [json!({"change": []}), json!({"action": "B"}), json!({"action": "M", "content": "x"})] {
            assert_eq!(rows(&set), json!([]), "{set}");
        }
    }
}
