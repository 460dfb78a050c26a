//! Reads entities from their tables.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use shared::contract::{Column, Table, quoted};
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};

/// A row and its key.
#[derive(Debug)]
pub(crate) struct EntityRow {
    /// The row as a JSON object.
    pub(crate) json: Box<RawValue>,
    /// The values of its key columns, as text.
    pub(crate) key: Vec<String>,
}

/// The rows to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// Only rows with this value in this column.
    pub(crate) parent: Option<(&'a Column, &'a str)>,
    /// Only rows whose key is greater than this one.
    pub(crate) after: Option<&'a [String]>,
    /// The maximum number of rows.
    pub(crate) limit: i64,
}

/// Returns the row with this key.
pub(crate) async fn find(
    executor: impl PgExecutor<'_>,
    table: &Table,
    key: &[&Column],
    values: &[Cow<'_, str>],
) -> Result<Option<Box<RawValue>>, sqlx::Error> {
    let select = format!(
        "select row_to_json(t)::text as json from {} t where {} = {}",
        table.quoted(),
        tuple(key, column),
        tuple(key, placeholder)
    );
    let query = values.iter().fold(sqlx::query(&select), |query, value| query.bind(value.as_ref()));
    query.try_map(|row| json(&row)).fetch_optional(executor).await
}

/// Returns rows in the order of their keys.
pub(crate) async fn list(
    executor: impl PgExecutor<'_>,
    table: &Table,
    key: &[&Column],
    page: Page<'_>,
) -> Result<Vec<EntityRow>, sqlx::Error> {
    let names: Vec<String> = key.iter().enumerate().map(|(index, key)| column(index, key)).collect();
    let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
    let mut select = format!(
        "select row_to_json(t)::text as json, array[{}] as key from {} t where true",
        texts.join(", "),
        table.quoted()
    );
    let mut values: Vec<&str> = Vec::new();
    // Writing to a string cannot fail.
    if let Some(after) = page.after {
        let _infallible = write!(select, " and {} > {}", tuple(key, column), tuple(key, placeholder));
        values.extend(after.iter().map(String::as_str));
    }
    if let Some((parent, value)) = page.parent {
        let _infallible = write!(select, " and {} = {}", column(0, parent), placeholder(values.len(), parent));
        values.push(value);
    }
    let _infallible = write!(select, " order by {} limit ${}", names.join(", "), values.len() + 1);
    let query = values.iter().fold(sqlx::query(&select), |query, value| query.bind(*value));
    let row = |row: PgRow| Ok(EntityRow { json: json(&row)?, key: row.try_get("key")? });
    query.bind(page.limit).try_map(row).fetch_all(executor).await
}

/// Writes the key's columns or placeholders as a row constructor.
fn tuple(key: &[&Column], part: fn(usize, &Column) -> String) -> String {
    let parts: Vec<String> = key.iter().enumerate().map(|(index, key)| part(index, key)).collect();
    format!("({})", parts.join(", "))
}

fn column(_index: usize, column: &Column) -> String {
    format!("t.{}", quoted(&column.name))
}

/// Returns a placeholder for a value that is bound as text, whatever its column's type.
fn placeholder(index: usize, column: &Column) -> String {
    format!("${}::text::{}", index + 1, column.ty.sql())
}

fn json(row: &PgRow) -> Result<Box<RawValue>, sqlx::Error> {
    let text: String = row.try_get("json")?;
    RawValue::from_string(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
