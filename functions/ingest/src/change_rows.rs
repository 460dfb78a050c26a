//! Lists the changes in a change set (wal2json format 1 or 2) for people to read.
//!
//! Two things are not checked: whether the values have the columns' types, and whether the rows exist. Both depend on
//! the tables, so they are known only when the set lands.

use serde_json::{Map, Value, json};
use shared::contract::{Changes, NotAllowed, Violation, WrongTableName};

/// Returns an entry for each change in a set: its table, its action, the values of its columns, and the old values that
/// identify the row. The set must have passed the contract's checks. The kind `message` of format 1 and the actions
/// `B`, `C` and `M` of format 2 change nothing, so they get no entry.
///
/// # Errors
/// The set would be rejected on landing, no matter which tables exist. There is a violation for each change that would
/// cause the rejection.
pub(crate) fn change_rows(
    changes: &Changes,
    index: usize,
    set: &Value,
) -> Result<Vec<Map<String, Value>>, Vec<Violation>> {
    let Some(list) = set.get("change").and_then(Value::as_array) else {
        let row = format_2(changes, index, set).transpose().map_err(|violation| vec![violation])?;
        return Ok(row.into_iter().collect());
    };
    let (mut rows, mut violations) = (Vec::new(), Vec::new());
    for (place, change) in list.iter().enumerate() {
        match format_1(changes, index, change) {
            None => {}
            Some(Ok(row)) => rows.push(row),
            Some(Err(Violation { pointer, detail })) => {
                violations.push(Violation { pointer: format!("/change/{place}{pointer}"), detail });
            }
        }
    }
    if violations.is_empty() { Ok(rows) } else { Err(violations) }
}

/// The entry of a change, or why the change would be rejected. `None` if there is nothing to list.
type Row = Option<Result<Map<String, Value>, Violation>>;

fn format_1(changes: &Changes, index: usize, change: &Value) -> Row {
    let new = || listed(change, "", ["columnnames", "columntypes", "columnvalues"]);
    let old = || match change.get("oldkeys") {
        Some(keys) => listed(keys, "/oldkeys", ["keynames", "keytypes", "keyvalues"]),
        None => Ok(Value::Null),
    };
    let (action, new, old) = match change.get("kind")?.as_str()? {
        action @ "insert" => (action, Some(new()), None),
        action @ "update" => (action, Some(new()), Some(old())),
        action @ "delete" => (action, None, Some(old())),
        action @ "truncate" => (action, None, None),
        _ => return None,
    };
    entry(changes, index, change, action, (new, old))
}

fn format_2(changes: &Changes, index: usize, change: &Value) -> Row {
    let new = || Some(objects(change, "columns"));
    let old = || Some(objects(change, "identity"));
    let (action, new, old) = match change.get("action")?.as_str()? {
        "I" => ("insert", new(), None),
        "U" => ("update", new(), old()),
        "D" => ("delete", None, old()),
        "T" => ("truncate", None, None),
        _ => return None,
    };
    entry(changes, index, change, action, (new, old))
}

/// The values of columns, or why they cannot be read. `None` if this kind of change has no such values.
type Values = Option<Result<Value, Violation>>;

fn entry(changes: &Changes, index: usize, change: &Value, action: &str, (new, old): (Values, Values)) -> Row {
    let table = change.get("table")?.as_str()?;
    let given = change.get("schema").and_then(Value::as_str);
    let written = || {
        changes.allow(given, table).map_err(|error| {
            let pointer = match error {
                NotAllowed::Schema => "/schema",
                NotAllowed::Name(_) | NotAllowed::Table(_) => "/table",
            };
            Violation { pointer: pointer.to_owned(), detail: error.to_string() }
        })?;
        let table = json!(format!("{}.{table}", changes.schema));
        let mut entry = Map::new();
        for (name, value) in [("index", json!(index)), ("table", table), ("action", json!(action))] {
            entry.insert(name.to_owned(), value);
        }
        for (name, values) in [("columns", new), ("old", old)] {
            if let Some(values) = values {
                entry.insert(name.to_owned(), values?);
            }
        }
        Ok(entry)
    };
    Some(written())
}

/// Combines format 1's lists of names and values into an object. These lists, and the list of types if there is one,
/// must have the same length.
fn listed(of: &Value, at: &str, [names, types, values]: [&str; 3]) -> Result<Value, Violation> {
    let list = |name: &str| of.get(name).and_then(Value::as_array).map(Vec::as_slice);
    let types = list(types);
    let (names_list, values_list) = (list(names).unwrap_or_default(), list(values).unwrap_or_default());
    if values_list.len() != names_list.len() || types.is_some_and(|types| types.len() != names_list.len()) {
        let detail = "the lists of names, types and values differ in length".to_owned();
        return Err(Violation { pointer: format!("{at}/{names}"), detail });
    }
    let at = |place: usize| format!("{at}/{names}/{place}");
    by_name(
        names_list.iter().zip(values_list).map(|(name, value)| (name.as_str().map(str::to_owned), value.clone())),
        at,
    )
}

/// Combines format 2's column objects into one object.
fn objects(change: &Value, list: &str) -> Result<Value, Violation> {
    let columns = change.get(list).and_then(Value::as_array).into_iter().flatten();
    let name = |column: &Value| column.get("name").and_then(Value::as_str).map(str::to_owned);
    let value = |column: &Value| column.get("value").cloned().unwrap_or_default();
    by_name(columns.map(|column| (name(column), value(column))), |place| format!("/{list}/{place}/name"))
}

/// Combines columns into an object. Rejects unusable and repeated names, because no table can have such columns. `at`
/// takes a column's place in the list, and returns the pointer to the column's name.
fn by_name(
    columns: impl Iterator<Item = (Option<String>, Value)>,
    at: impl Fn(usize) -> String,
) -> Result<Value, Violation> {
    let mut object = Map::new();
    for (place, (name, value)) in columns.enumerate() {
        let Some(name) = name else { continue };
        let wrong = |detail: String| Violation { pointer: at(place), detail };
        WrongTableName::check(&name).map_err(|error| wrong(error.to_string()))?;
        if object.insert(name, value).is_some() {
            return Err(wrong("this column is named twice".to_owned()));
        }
    }
    Ok(Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(set: &Value) -> Value {
        let changes = Changes { schema: "landing".to_owned(), tables: None, evolve: true };
        Value::Array(change_rows(&changes, 3, set).unwrap_or_default().into_iter().map(Value::Object).collect())
    }

    #[test]
    fn every_change_is_listed_with_its_table_in_both_formats() {
        let set = json!({"change": [
            {"kind": "insert", "schema": "public", "table": "a", "columnnames": ["id", "x"], "columnvalues": [1, null]},
            {"kind": "update", "schema": "landing", "table": "a", "columnnames": ["x"], "columnvalues": ["y"],
             "oldkeys": {"keynames": ["id"], "keyvalues": [1]}},
            {"kind": "message", "prefix": "p"},
            {"kind": "delete", "table": "a", "oldkeys": {"keynames": ["id"], "keyvalues": [1]}},
            {"kind": "truncate", "table": "a"}
        ]});
        let expected = json!([
            {"index": 3, "table": "landing.a", "action": "insert", "columns": {"id": 1, "x": null}},
            {"index": 3, "table": "landing.a", "action": "update", "columns": {"x": "y"}, "old": {"id": 1}},
            {"index": 3, "table": "landing.a", "action": "delete", "old": {"id": 1}},
            {"index": 3, "table": "landing.a", "action": "truncate"}
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

    #[test]
    fn a_change_that_the_contract_does_not_allow_is_a_violation() {
        let tables = Some(["a".to_owned()].into());
        let changes = Changes { schema: "landing".to_owned(), tables, evolve: true };
        let violations = |set: &Value| -> Vec<(String, String)> {
            let violations = change_rows(&changes, 0, set).err().unwrap_or_default();
            violations.into_iter().map(|violation| (violation.pointer, violation.detail)).collect()
        };
        let set = json!({"change": [
            {"kind": "message", "prefix": "p"},
            {"kind": "insert", "schema": "sluice", "table": "a", "columnnames": ["id"], "columnvalues": [1]},
            {"kind": "insert", "table": "a", "columnnames": ["id"], "columnvalues": [1]},
            {"kind": "insert", "table": "b", "columnnames": ["id"], "columnvalues": [1]},
            {"kind": "insert", "table": "a", "columnnames": ["id", "x"], "columnvalues": [1]},
            {"kind": "delete", "table": "a", "oldkeys": {"keynames": ["id"], "keytypes": [], "keyvalues": [1]}},
            {"kind": "insert", "table": "a", "columnnames": ["id", "id"], "columnvalues": [1, 2]},
            {"kind": "delete", "table": "a", "oldkeys": {"keynames": [""], "keyvalues": [1]}}
        ]});
        let expected = [
            ("/change/1/schema", "the contract does not allow this schema"),
            ("/change/3/table", "the contract does not allow table \"b\""),
            ("/change/4/columnnames", "the lists of names, types and values differ in length"),
            ("/change/5/oldkeys/keynames", "the lists of names, types and values differ in length"),
            ("/change/6/columnnames/1", "this column is named twice"),
            ("/change/7/oldkeys/keynames/0", "the name of a table or column is empty"),
        ];
        assert_eq!(violations(&set), expected.map(|(at, detail)| (at.to_owned(), detail.to_owned())));
        let too_long = "a".repeat(64);
        for (set, pointer) in [
            (json!({"action": "T", "schema": "other", "table": "a"}), "/schema"),
            (json!({"action": "T", "table": "b"}), "/table"),
            (json!({"action": "T", "table": too_long}), "/table"),
            (json!({"action": "I", "table": "a", "columns": [{"name": too_long}]}), "/columns/0/name"),
            (json!({"action": "D", "table": "a", "identity": [{"name": "x"}, {"name": "x"}]}), "/identity/1/name"),
        ] {
            assert_eq!(violations(&set).first().map(|(at, _)| at.as_str()), Some(pointer), "{set}");
        }
    }
}
