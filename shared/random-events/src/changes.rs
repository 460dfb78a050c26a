//! Generates random changes of a table, as wal2json writes them: inserts, and updates and deletes of earlier rows.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};
use shared::contract::Changes;

use super::format::recent;
use super::plausible::name;

/// The name of the table, if the contract does not list the tables that it allows.
const TABLE: &str = "demo_readings";
/// The table's columns with their types, as wal2json names them.
const COLUMNS: [(&str, &str); 6] = [
    ("id", "bigint"),
    ("station", "text"),
    ("celsius", "numeric(5,2)"),
    ("taken_at", "timestamp with time zone"),
    ("valid", "boolean"),
    ("note", "character varying(80)"),
];
/// The number of rows that are kept for updates and deletes.
const ROWS_KEPT: usize = 1_000;
const CHANGES_IN_A_SET: usize = 5;
const NOTES: [&str; 5] = ["ok", "O'Brien's \"roof\"", "naïve, 100 %", "sensor\nreplaced 🌡", ""];

/// An invented source table.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    rows: BTreeMap<i64, Vec<Value>>,
}

enum Change {
    Insert(Vec<Value>),
    Update(i64, Vec<Value>),
    Delete(i64),
}

impl Table {
    pub(super) fn allowed_by(changes: &Changes) -> Self {
        let name = changes.tables.as_ref().and_then(|tables| tables.first()).map_or(TABLE, String::as_str);
        Self { name: name.to_owned(), rows: BTreeMap::new() }
    }

    /// Returns a transaction in wal2json's format 1, or one change in its format 2.
    pub(super) fn change(&mut self, now_ms: i64, rng: &mut dyn Rng) -> Value {
        if rng.random() {
            let changes = rng.random_range(1..=CHANGES_IN_A_SET);
            let changes: Vec<Value> = (0..changes).map(|_| self.format_1(now_ms, rng)).collect();
            json!({"change": changes})
        } else {
            self.format_2(now_ms, rng)
        }
    }

    fn format_1(&mut self, now_ms: i64, rng: &mut dyn Rng) -> Value {
        let (names, types): (Vec<&str>, Vec<&str>) = COLUMNS.into_iter().unzip();
        let key = |id: i64| json!({"keynames": names[..1], "keytypes": types[..1], "keyvalues": [id]});
        let row = |kind: &str, values: Vec<Value>| {
            json!({
                "kind": kind, "schema": "public", "table": self.name,
                "columnnames": names, "columntypes": types, "columnvalues": values
            })
        };
        match next(&mut self.rows, now_ms, rng) {
            Change::Insert(values) => row("insert", values),
            Change::Update(id, values) => {
                let mut change = row("update", values);
                change["oldkeys"] = key(id);
                change
            }
            Change::Delete(id) => {
                json!({"kind": "delete", "schema": "public", "table": self.name, "oldkeys": key(id)})
            }
        }
    }

    fn format_2(&mut self, now_ms: i64, rng: &mut dyn Rng) -> Value {
        let (name, ty) = COLUMNS[0];
        let identity = |id: i64| json!([{"name": name, "type": ty, "value": id}]);
        let columns = |values: Vec<Value>| -> Value {
            let column = |((name, ty), value)| json!({"name": name, "type": ty, "value": value});
            COLUMNS.into_iter().zip(values).map(column).collect()
        };
        let change = |action: &str| json!({"action": action, "schema": "public", "table": self.name});
        match next(&mut self.rows, now_ms, rng) {
            Change::Insert(values) => {
                let mut change = change("I");
                change["columns"] = columns(values);
                change
            }
            Change::Update(id, values) => {
                let mut change = change("U");
                change["columns"] = columns(values);
                change["identity"] = identity(id);
                change
            }
            Change::Delete(id) => {
                let mut change = change("D");
                change["identity"] = identity(id);
                change
            }
        }
    }
}

/// Returns the next change, and applies it to the rows.
fn next(rows: &mut BTreeMap<i64, Vec<Value>>, now_ms: i64, rng: &mut dyn Rng) -> Change {
    let nth = rng.random_range(0..rows.len().max(1));
    let known = rows.keys().nth(nth).copied().filter(|_| rng.random_ratio(2, 5) || rows.len() >= ROWS_KEPT);
    match known {
        None => {
            // The range is wide, so that two senders hardly ever insert the same id.
            let id = rng.random_range(1..1_i64 << 62);
            let row = row(id, now_ms, rng);
            rows.insert(id, row.clone());
            Change::Insert(row)
        }
        Some(id) if rng.random_ratio(2, 3) => {
            let mut changed = rows.get(&id).cloned().unwrap_or_default();
            changed.splice(2.., row(id, now_ms, rng).split_off(2));
            rows.insert(id, changed.clone());
            Change::Update(id, changed)
        }
        Some(id) => {
            rows.remove(&id);
            Change::Delete(id)
        }
    }
}

fn row(id: i64, now_ms: i64, rng: &mut dyn Rng) -> Vec<Value> {
    let celsius =
        format!("{}{}.{:02}", ["", "-"][rng.random_range(0..2)], rng.random_range(0..50), rng.random_range(0..100));
    let taken_at = recent(now_ms, rng).strftime("%Y-%m-%d %H:%M:%S%.3f+00").to_string();
    let note = NOTES.choose(rng).filter(|_| rng.random_ratio(2, 3)).map_or(Value::Null, |note| Value::from(*note));
    let celsius = celsius.parse().map_or(Value::Null, Value::Number);
    vec![json!(id), json!(name(rng)), celsius, json!(taken_at), json!(rng.random_ratio(9, 10)), note]
}
