//! Turns a change set into operations. The set is in format 1 or 2 of wal2json (<https://github.com/eulerto/wal2json>)
//! and was already checked against the stream's schema. If a set is malformed nevertheless, it is rejected.

use serde_json::{Map, Value};
use shared::ledger::Rejection;

use super::fault::{self, Fault};

/// A column's value as text; `None` is NULL.
pub(super) type Text<'d> = Option<&'d str>;

/// One operation on one table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operation<'d> {
    pub(super) schema: Option<&'d str>,
    pub(super) table: &'d str,
    pub(super) action: Action<'d>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<'d> {
    Insert(Vec<Cell<'d>>),
    /// Columns missing from `new` keep their values: wal2json leaves out a TOAST value that did not change.
    Update {
        new: Vec<Cell<'d>>,
        old: Old<'d>,
    },
    Delete(Old<'d>),
    Truncate,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cell<'d> {
    pub(super) name: &'d str,
    pub(super) type_name: Option<&'d str>,
    pub(super) value: Text<'d>,
}

/// The row before the change: its key or, under replica identity full, the whole row. wal2json does not say which of
/// the two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Old<'d> {
    pub(super) cells: Vec<Cell<'d>>,
    pub(super) nulls: Nulls,
}

/// How a format writes a NULL in the old row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Nulls {
    /// The column is left out, as in format 1.
    LeftOut,
    /// The column is listed, as in format 2.
    Listed,
}

/// A change set and its place in the source's transactions.
#[derive(Debug)]
pub(super) struct Set<'d> {
    /// The set's operations, or why they cannot be read.
    pub(super) operations: Result<Vec<Operation<'d>>, Rejection>,
    pub(super) border: Border<'d>,
}

/// How a set relates to the source's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Border<'d> {
    /// The set is a whole transaction (format 1), or the beginning or end of one (`B` and `C`).
    Here,
    /// The set is part of the transaction with this number. wal2json gives the number only with `include-xids`.
    Part(Option<&'d str>),
}

/// Reads a change set.
pub(super) fn read(set: &Value) -> Set<'_> {
    let border = match set.get("action").and_then(Value::as_str) {
        None | Some("B" | "C") => Border::Here,
        Some(_) => Border::Part(match set.get("xid") {
            Some(Value::Number(xid)) => Some(xid.as_str()),
            None | Some(Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => None,
        }),
    };
    Set { operations: operations(set), border }
}

/// Returns the operations of a set, in order. Changes of kind `message` and sets with the action `B`, `C` or `M` have
/// no operations.
fn operations(set: &Value) -> Result<Vec<Operation<'_>>, Rejection> {
    match set.get("change") {
        Some(Value::Array(changes)) => {
            let mut operations = Vec::with_capacity(changes.len());
            for (index, change) in changes.iter().enumerate() {
                match format_1(change) {
                    Ok(operation) => operations.extend(operation),
                    Err(fault) => return Err(fault.in_change(index)),
                }
            }
            Ok(operations)
        }
        Some(_) => Err(fault::MALFORMED.into()),
        None => Ok(format_2(set)?.into_iter().collect()),
    }
}

fn format_1(change: &Value) -> Result<Option<Operation<'_>>, Fault> {
    let columns = || lists(change, ["columnnames", "columntypes", "columnvalues"]);
    let old = || {
        let keys = change.get("oldkeys").ok_or(fault::MALFORMED)?;
        Ok::<_, Fault>(Old { cells: lists(keys, ["keynames", "keytypes", "keyvalues"])?, nulls: Nulls::LeftOut })
    };
    let action = match text(change, "kind")? {
        "insert" => Action::Insert(columns()?),
        "update" => Action::Update { new: columns()?, old: old()? },
        "delete" => Action::Delete(old()?),
        "truncate" => Action::Truncate,
        "message" => return Ok(None),
        _ => return Err(fault::MALFORMED),
    };
    operation(change, action).map(Some)
}

fn format_2(change: &Value) -> Result<Option<Operation<'_>>, Fault> {
    let old = || Ok::<_, Fault>(Old { cells: objects(change, "identity")?, nulls: Nulls::Listed });
    let action = match text(change, "action")? {
        "I" => Action::Insert(objects(change, "columns")?),
        "U" => Action::Update { new: objects(change, "columns")?, old: old()? },
        "D" => Action::Delete(old()?),
        "T" => Action::Truncate,
        "B" | "C" | "M" => return Ok(None),
        _ => return Err(fault::MALFORMED),
    };
    operation(change, action).map(Some)
}

fn operation<'d>(change: &'d Value, action: Action<'d>) -> Result<Operation<'d>, Fault> {
    Ok(Operation { schema: optional_text(change.get("schema"))?, table: text(change, "table")?, action })
}

/// Reads format 1's lists of names, types and values. The list of types can be missing.
fn lists<'d>(of: &'d Value, [names, types, values]: [&str; 3]) -> Result<Vec<Cell<'d>>, Fault> {
    let list = |name: &str| of.get(name).and_then(Value::as_array);
    let (names, values) = (list(names).ok_or(fault::MALFORMED)?, list(values).ok_or(fault::MALFORMED)?);
    let types = match of.get(types) {
        None => None,
        Some(types) => Some(types.as_array().ok_or(fault::MALFORMED)?),
    };
    if values.len() != names.len() || types.is_some_and(|types| types.len() != names.len()) {
        return Err(fault::UNEQUAL_LENGTHS);
    }
    let cell = |(index, name): (usize, &'d Value)| {
        Ok(Cell {
            name: name.as_str().ok_or(fault::MALFORMED)?,
            type_name: optional_text(types.map(|types| &types[index]))?,
            value: value(Some(&values[index]))?,
        })
    };
    names.iter().enumerate().map(cell).collect()
}

/// Reads format 2's list of objects.
fn objects<'d>(of: &'d Value, member: &str) -> Result<Vec<Cell<'d>>, Fault> {
    let cell = |column: &'d Value| {
        Ok(Cell {
            name: text(column, "name")?,
            type_name: optional_text(column.get("type"))?,
            value: value(column.get("value"))?,
        })
    };
    of.get(member).and_then(Value::as_array).ok_or(fault::MALFORMED)?.iter().map(cell).collect()
}

/// Reads a value. Numbers keep the digits as they are written.
fn value(value: Option<&Value>) -> Result<Text<'_>, Fault> {
    match value.ok_or(fault::MALFORMED)? {
        Value::Null => Ok(None),
        Value::Bool(true) => Ok(Some("true")),
        Value::Bool(false) => Ok(Some("false")),
        Value::Number(number) => Ok(Some(number.as_str())),
        Value::String(text) => Ok(Some(text)),
        Value::Array(_) | Value::Object(Map { .. }) => Err(fault::MALFORMED),
    }
}

fn text<'d>(of: &'d Value, member: &str) -> Result<&'d str, Fault> {
    of.get(member).and_then(Value::as_str).ok_or(fault::MALFORMED)
}

fn optional_text(value: Option<&Value>) -> Result<Option<&str>, Fault> {
    value.map(|value| value.as_str().ok_or(fault::MALFORMED)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cell<'d>(name: &'d str, type_name: Option<&'d str>, value: Text<'d>) -> Cell<'d> {
        Cell { name, type_name, value }
    }

    #[test]
    fn format_1_is_read_and_numbers_keep_their_digits() {
        let set = br#"{"change":[
            {"kind":"insert","schema":"public","table":"t","columnnames":["a","b","c","d"],
             "columntypes":["numeric","bigint","boolean","text"],"columnvalues":[1.10e+300,9007199254740993,true,null]},
            {"kind":"update","table":"t","columnnames":["a"],"columnvalues":["x"],
             "oldkeys":{"keynames":["a"],"keytypes":["numeric"],"keyvalues":[1]}},
            {"kind":"message","transactional":false,"prefix":"p","content":"c"},
            {"kind":"delete","table":"t","oldkeys":{"keynames":["a"],"keyvalues":[false]}}]}"#;
        let set = shared::contract::json::parse(set).expect("valid");
        let operations = operations(&set).expect("well-formed");
        let insert = Action::Insert(vec![
            cell("a", Some("numeric"), Some("1.10e+300")),
            cell("b", Some("bigint"), Some("9007199254740993")),
            cell("c", Some("boolean"), Some("true")),
            cell("d", Some("text"), None),
        ]);
        let old = |cell| Old { cells: vec![cell], nulls: Nulls::LeftOut };
        let update =
            Action::Update { new: vec![cell("a", None, Some("x"))], old: old(cell("a", Some("numeric"), Some("1"))) };
        let delete = Action::Delete(old(cell("a", None, Some("false"))));
        let expected = [(Some("public"), insert), (None, update), (None, delete)].map(|(schema, action)| Operation {
            schema,
            table: "t",
            action,
        });
        assert_eq!(operations, expected);
    }

    #[test]
    fn format_2_is_read() {
        let columns = json!([{"name": "a", "type": "integer", "value": 1}, {"name": "b", "value": null}]);
        let cells = || vec![cell("a", Some("integer"), Some("1")), cell("b", None, None)];
        let old = || Old { cells: cells(), nulls: Nulls::Listed };
        let actions = [
            (json!({"action": "I", "table": "t", "columns": columns}), Action::Insert(cells())),
            (
                json!({"action": "U", "table": "t", "columns": columns, "identity": columns}),
                Action::Update { new: cells(), old: old() },
            ),
            (json!({"action": "D", "table": "t", "identity": columns}), Action::Delete(old())),
            (json!({"action": "T", "table": "t"}), Action::Truncate),
        ];
        for (set, action) in actions {
            assert_eq!(operations(&set), Ok(vec![Operation { schema: None, table: "t", action }]), "{set}");
        }
    }

    #[test]
    fn a_set_without_operations_changes_nothing() {
        for set in [
            json!({"change": []}),
            json!({"change": [{"kind": "message", "content": "x"}]}),
            json!({"action": "B"}),
            json!({"action": "C"}),
            json!({"action": "M", "content": "x"}),
        ] {
            assert_eq!(operations(&set), Ok(vec![]), "{set}");
        }
    }

    #[test]
    fn malformed_sets_and_lists_of_unequal_lengths_are_refused() {
        let lengths = json!({"change": [{"kind": "message"}, {"kind": "insert", "table": "t",
            "columnnames": ["a", "b"], "columntypes": ["integer"], "columnvalues": [1, 2]}]});
        let rejection = operations(&lengths).expect_err("unequal");
        assert_eq!(rejection.code, "unequal_lengths");
        assert!(rejection.reason.starts_with("change 1: "), "{}", rejection.reason);
        for set in [
            json!({}),
            json!({"change": 1}),
            json!({"change": [{"kind": "insert", "table": "t"}]}),
            json!({"action": "D", "table": "t"}),
            json!({"action": "X"}),
            json!({"action": "I", "table": "t", "columns": [{"name": "a", "value": [1]}]}),
        ] {
            assert_eq!(operations(&set).expect_err("malformed").code, "malformed", "{set}");
        }
    }
}
