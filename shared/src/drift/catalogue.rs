//! Reads tables from PostgreSQL's catalogue.

use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row as _};

use crate::contract::Table;

/// A table that was looked up.
#[derive(Debug, Clone)]
pub(super) struct FoundTable {
    pub(super) has_schema: bool,
    pub(super) may_use_schema: bool,
    pub(super) kind: Option<Kind>,
    /// Whether a trigger may change rows before they are inserted.
    pub(super) has_insert_trigger: bool,
    /// The privileges that the role lacks: `select`, `insert`, `update` or `delete`.
    pub(super) missing_privileges: Vec<String>,
    pub(super) columns: Vec<FoundColumn>,
    pub(super) uniques: Vec<Unique>,
}

/// The kind of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A table, partitioned or not. The catalogue lists its indexes.
    Table,
    /// A view or foreign table. The catalogue does not show which of its columns are unique.
    Other,
}

/// A column of a table.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FoundColumn {
    pub(super) name: String,
    pub(super) type_oid: i64,
    #[serde(rename = "type")]
    pub(super) ty: String,
    pub(super) not_null: bool,
    /// Whether only the column's domain forbids null. COPY does not check the domain of a column that it does not fill.
    pub(super) is_not_null_of_domain: bool,
    pub(super) has_default: bool,
    pub(super) is_generated: bool,
}

/// A unique index, which may belong to a constraint.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Unique {
    pub(super) columns: Vec<String>,
    pub(super) is_partial: bool,
    pub(super) has_expressions: bool,
    pub(super) is_deferrable: bool,
    pub(super) is_valid: bool,
}

/// Reads the tables in one round trip, and returns them in the order of `tables`.
pub(super) async fn read(connection: &mut PgConnection, tables: &[&Table]) -> Result<Vec<FoundTable>, sqlx::Error> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    sqlx::query(include_str!("catalogue.sql"))
        .bind(schemas)
        .bind(names)
        .try_map(|row: PgRow| {
            let kind: Option<String> = row.try_get("kind")?;
            let Json(columns) = row.try_get("columns")?;
            let Json(uniques) = row.try_get("uniques")?;
            Ok(FoundTable {
                has_schema: row.try_get("has_schema")?,
                may_use_schema: row.try_get("may_use_schema")?,
                kind: kind.map(|kind| if matches!(kind.as_str(), "r" | "p") { Kind::Table } else { Kind::Other }),
                has_insert_trigger: row.try_get("has_insert_trigger")?,
                missing_privileges: row.try_get("missing_privileges")?,
                columns,
                uniques,
            })
        })
        .fetch_all(connection)
        .await
}
