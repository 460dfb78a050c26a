//! Tests against a real PostgreSQL.

mod documented;
mod evolution;
mod generated;
mod hostile;
mod numbers;
mod partitions;
mod publications;
mod random_histories;
mod rows;
mod truncates;
mod values;

use serde_json::{Value, json};
use shared::contract::Changes;
use sqlx::Connection as _;
use testing::TestDatabase;

use super::{Applied, Failure, write};

pub(super) fn rules() -> Changes {
    Changes { schema: "landing".to_owned(), tables: None, evolve: true }
}

/// Applies the sets in a separate transaction.
pub(super) async fn try_apply(database: &TestDatabase, rules: &Changes, sets: &[Value]) -> Result<Applied, Failure> {
    let mut connection = database.pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    let applied = write(&mut transaction, rules, &sets.iter().collect::<Vec<_>>()).await?;
    transaction.commit().await?;
    Ok(applied)
}

/// Applies the sets, which are all valid. Returns the number of updates and deletes that found no row, plus the
/// truncates that found no table.
pub(super) async fn apply(database: &TestDatabase, sets: &[Value]) -> u64 {
    let applied = try_apply(database, &rules(), sets).await.expect("applied");
    assert_eq!(applied.rejected, []);
    applied.skipped_rows
}

pub(super) async fn sql(database: &TestDatabase, statements: &str) {
    sqlx::raw_sql(statements).execute(&database.pool).await.expect(statements);
}

/// A column: its name, type and value.
pub(super) type Cell<'a> = (&'a str, &'a str, Value);

/// Returns a change in both formats, each with the given columns of the old row.
pub(super) fn both(table: &str, new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>) -> [Value; 2] {
    [format_1(table, new, old), format_2(table, new, old)]
}

/// Returns a change in format 1. Like wal2json, it leaves NULLs out of the old row.
pub(super) fn format_1(table: &str, new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>) -> Value {
    json!({ "change": [change_1(table, new, old)] })
}

pub(super) fn change_1(table: &str, new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>) -> Value {
    let kind = match (new, old) {
        (Some(_), None) => "insert",
        (Some(_), Some(_)) => "update",
        (None, _) => "delete",
    };
    let mut change = json!({"kind": kind, "schema": "public", "table": table});
    if let Some(new) = new {
        change["columnnames"] = new.iter().map(|cell| json!(cell.0)).collect();
        change["columntypes"] = new.iter().map(|cell| json!(cell.1)).collect();
        change["columnvalues"] = new.iter().map(|cell| cell.2.clone()).collect();
    }
    if let Some(old) = old {
        let old: Vec<_> = old.iter().filter(|cell| !cell.2.is_null()).collect();
        change["oldkeys"] = json!({
            "keynames": old.iter().map(|cell| cell.0).collect::<Vec<_>>(),
            "keytypes": old.iter().map(|cell| cell.1).collect::<Vec<_>>(),
            "keyvalues": old.iter().map(|cell| &cell.2).collect::<Vec<_>>(),
        });
    }
    change
}

pub(super) fn format_2(table: &str, new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>) -> Value {
    let action = match (new, old) {
        (Some(_), None) => "I",
        (Some(_), Some(_)) => "U",
        (None, _) => "D",
    };
    let cell = |(name, ty, value): &Cell<'_>| json!({"name": name, "type": ty, "value": value});
    let mut change = json!({"action": action, "schema": "public", "table": table});
    if let Some(new) = new {
        change["columns"] = new.iter().map(cell).collect();
    }
    if let Some(old) = old {
        change["identity"] = old.iter().map(cell).collect();
    }
    change
}

/// Returns a row of integer columns `a`, `b`, …; `None` stands for null.
pub(super) fn row<const N: usize>(values: [Option<i64>; N]) -> [Cell<'static>; N] {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    std::array::from_fn(|index| (NAMES[index], "integer", json!(values[index])))
}
