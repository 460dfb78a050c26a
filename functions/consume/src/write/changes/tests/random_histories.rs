//! Tests that a landing table has the same rows as the source's table at the end of a random history. A history is in
//! format 1 or 2, has a key or the whole row as replica identity, and is split into calls at random.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use super::*;

/// A row: a key, an integer, a text, and a number whose value can be written in several ways.
type Row = [Value; 4];

const COLUMNS: [(&str, &str); 4] = [("k", "integer"), ("a", "integer"), ("t", "text"), ("n", "numeric")];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Identity {
    Key,
    Full,
}

struct History {
    random: StdRng,
    identity: Identity,
    format: usize,
    rows: Vec<Row>,
    /// The changes, in the history's format.
    changes: Vec<Value>,
}

impl History {
    fn value(&mut self, column: usize) -> Value {
        let small = self.random.random_range(0..4);
        if column > 0 && small == 0 {
            return Value::Null;
        }
        match column {
            0 => json!(self.random.random_range(0..12)),
            1 => json!(small),
            2 => json!(["", "x", "é\"'\\"][small - 1]),
            _ => serde_json::from_str(["1", "1.0", "12345678901234567890.5"][small - 1]).expect("a number"),
        }
    }

    fn row(&mut self) -> Row {
        std::array::from_fn(|column| self.value(column))
    }

    fn key_is_free(&self, row: &Row, except: Option<usize>) -> bool {
        let taken = |(index, other): (usize, &Row)| Some(index) != except && other[0] == row[0];
        self.identity == Identity::Full || !self.rows.iter().enumerate().any(taken)
    }

    fn tell(&mut self, new: Option<&[Cell<'_>]>, old: Option<&Row>) {
        let old = old.map(|row| {
            let columns = if self.identity == Identity::Key { 1 } else { COLUMNS.len() };
            cells(row, |column| column < columns)
        });
        let change =
            if self.format == 0 { change_1("t", new, old.as_deref()) } else { format_2("t", new, old.as_deref()) };
        self.changes.push(change);
    }

    fn step(&mut self) {
        let at = (!self.rows.is_empty()).then(|| self.random.random_range(0..self.rows.len()));
        match (self.random.random_range(0..20), at) {
            (0..8, _) | (_, None) => {
                let row = self.row();
                if self.key_is_free(&row, None) {
                    self.tell(Some(&cells(&row, |_| true)), None);
                    self.rows.push(row);
                }
            }
            (8..15, Some(at)) => {
                let old = self.rows[at].clone();
                let mut new = old.clone();
                for (column, value) in new.iter_mut().enumerate() {
                    if self.random.random_range(0..3) == 0 {
                        *value = self.value(column);
                    }
                }
                if self.key_is_free(&new, Some(at)) {
                    // Sometimes an unchanged text is left out, as wal2json leaves out an unchanged TOAST value.
                    let omit = new[2] == old[2] && self.random.random_range(0..2) == 0;
                    self.tell(Some(&cells(&new, |column| !(omit && column == 2))), Some(&old));
                    self.rows[at] = new;
                }
            }
            (15..19, Some(at)) => {
                let old = self.rows.swap_remove(at);
                self.tell(None, Some(&old));
            }
            (_, Some(_)) if self.format == 1 && self.random.random_range(0..5) == 0 => {
                self.rows.clear();
                self.changes.push(json!({"action": "T", "schema": "public", "table": "t"}));
            }
            (_, Some(_)) => {}
        }
    }

    /// Returns the changes as sets. In wal2json's format 1 (`self.format` is 0), a set can have several changes. In
    /// format 2 (`self.format` is 1), each change is a set.
    fn sets(&mut self) -> Vec<Value> {
        let mut changes = std::mem::take(&mut self.changes);
        if self.format == 1 {
            return changes;
        }
        let mut sets = Vec::new();
        while !changes.is_empty() {
            let rest = changes.split_off(self.random.random_range(1..=changes.len().min(6)));
            sets.push(json!({ "change": changes }));
            changes = rest;
        }
        sets
    }
}

fn cells(row: &Row, include: impl Fn(usize) -> bool) -> Vec<Cell<'static>> {
    let columns = COLUMNS.iter().zip(row).enumerate().filter(|(column, _)| include(*column));
    columns.map(|(_, ((name, ty), value))| (*name, *ty, value.clone())).collect()
}

/// Returns the rows as PostgreSQL prints them, sorted.
fn printed(rows: &[Row]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => format!("'{text}'"),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let mut rows: Vec<String> = rows.iter().map(|row| row.each_ref().map(text).join("|")).collect();
    rows.sort();
    rows
}

const HISTORIES: u64 = 400;

const LANDED: &str = "select coalesce(k::text, '-') || '|' || coalesce(a::text, '-') || '|'
    || coalesce('''' || t || '''', '-') || '|' || coalesce(n::text, '-') from landing.t";

#[tokio::test]
async fn the_landing_table_has_the_same_rows_as_the_source_at_the_end_of_a_history() {
    let seed: u64 = rand::rng().next_u64();
    println!("seed {seed}");
    let database = TestDatabase::create().await;
    for number in 0..HISTORIES {
        let mut history = History {
            random: StdRng::seed_from_u64(seed.wrapping_add(number)),
            identity: if number % 2 == 0 { Identity::Key } else { Identity::Full },
            format: usize::from(number % 4 >= 2),
            rows: Vec::new(),
            changes: Vec::new(),
        };
        // If the table does not exist, this first insert creates it.
        let start = history.row();
        history.tell(Some(&cells(&start, |_| true)), None);
        history.rows.push(start);
        for _ in 0..history.random.random_range(1..60) {
            history.step();
        }
        let mut sets = history.sets();
        while !sets.is_empty() {
            let rest = sets.split_off(history.random.random_range(1..=sets.len()));
            assert_eq!(apply(&database, &sets).await, 0, "seed {seed}, history {number}");
            sets = rest;
        }
        let mut landed: Vec<String> = sqlx::query_scalar(LANDED).fetch_all(&database.pool).await.expect("read");
        landed.sort();
        assert_eq!(landed, printed(&history.rows), "seed {seed}, history {number}");
        // Most histories start with an existing, empty table. Every tenth history is followed by one that creates the
        // table.
        let end = if number % 10 == 0 { "drop table landing.t" } else { "delete from landing.t" };
        sql(&database, end).await;
    }
}
