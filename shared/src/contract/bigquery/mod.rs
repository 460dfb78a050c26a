//! What a contract says about BigQuery, a second place for a stream's events to land in.
//!
//! - `definition` reads and validates the member `bigquery` of the block `x-sluice`
//! - `names` checks names by BigQuery's rules
//! - `row` encodes rows as protocol buffers, the form in which the Storage Write API takes them

mod definition;
mod names;
mod row;

pub(super) use definition::BigQueryDefinition;
pub use row::ProtoType;

use std::fmt;

use super::column::ColumnType;
use super::landing::Column;
use super::metadata::{Meta, Source};

/// Where a stream's events land in BigQuery.
#[derive(Debug)]
pub struct BigQuery {
    /// The table or tables.
    pub target: Target,
    /// Whether missing tables and columns are created.
    pub evolve: bool,
}

/// The tables that a stream's events land in.
#[derive(Debug)]
pub enum Target {
    /// Modes `append` and `upsert`: one table.
    Table {
        /// The table.
        table: BigQueryTable,
        /// The columns that are written, by name.
        columns: Vec<BigQueryColumn>,
    },
    /// Mode `changes`: the tables that the changes name, in this dataset.
    Dataset {
        /// The project, unless it is the one that `BIGQUERY_PROJECT` names.
        project: Option<String>,
        /// The dataset.
        dataset: String,
    },
}

/// A table of BigQuery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigQueryTable {
    /// The project, unless it is the one that `BIGQUERY_PROJECT` names.
    pub project: Option<String>,
    /// The dataset.
    pub dataset: String,
    /// The table's name within the dataset.
    pub name: String,
}

/// A column of a table of BigQuery.
#[derive(Debug, Clone)]
pub struct BigQueryColumn {
    /// Where the value comes from, and how it is read.
    pub column: Column,
    /// The column's type in BigQuery.
    pub ty: BigQueryType,
}

/// The types of BigQuery that columns may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BigQueryType {
    /// `true` or `false`.
    Bool,
    /// An integer of 8 bytes.
    Int64,
    /// A floating-point number of 8 bytes.
    Float64,
    /// A decimal number with up to 29 digits before the point and 9 after it.
    Numeric,
    /// A decimal number with up to 38 digits before the point, some numbers of 39, and 38 digits after it.
    Bignumeric,
    /// A text.
    String,
    /// A date of the years 1 to 9999.
    Date,
    /// A date and time of the years 1 to 9999, to the microsecond.
    Datetime,
    /// A point in time of the years 1 to 9999, to the microsecond.
    Timestamp,
    /// Any JSON.
    Json,
}

impl Target {
    /// Returns the name of the column that holds this metadata, if there is one.
    pub fn column_of(&self, meta: Meta) -> Option<&str> {
        let Self::Table { columns, .. } = self else { return None };
        let column = columns.iter().find(|column| column.column.from == Source::Meta(meta))?;
        Some(&column.column.name)
    }
}

impl BigQueryType {
    /// Returns the type that holds the values of a column of PostgreSQL.
    pub fn for_column(ty: ColumnType) -> Self {
        match ty {
            ColumnType::Boolean => Self::Bool,
            ColumnType::Smallint | ColumnType::Integer | ColumnType::Bigint => Self::Int64,
            ColumnType::Real | ColumnType::Double => Self::Float64,
            ColumnType::Numeric => Self::Numeric,
            ColumnType::Text | ColumnType::Uuid => Self::String,
            ColumnType::Date => Self::Date,
            ColumnType::Timestamp => Self::Datetime,
            ColumnType::Timestamptz => Self::Timestamp,
            ColumnType::Jsonb => Self::Json,
        }
    }

    /// Returns the type's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int64 => "INT64",
            Self::Float64 => "FLOAT64",
            Self::Numeric => "NUMERIC",
            Self::Bignumeric => "BIGNUMERIC",
            Self::String => "STRING",
            Self::Date => "DATE",
            Self::Datetime => "DATETIME",
            Self::Timestamp => "TIMESTAMP",
            Self::Json => "JSON",
        }
    }
}

impl fmt::Display for BigQueryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { project, dataset, name } = self;
        match project {
            Some(project) => write!(f, "{project}.{dataset}.{name}"),
            None => write!(f, "{dataset}.{name}"),
        }
    }
}
