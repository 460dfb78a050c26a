//! A contract's settings for BigQuery, where a stream's events can land in addition to PostgreSQL.
//!
//! `consume-bigquery` so far accepts only mode `append`, without `evolve`. The settings of the other modes are only
//! read and validated.
//!
//! - `definition` reads and validates the member `bigquery` of the `x-sluice` block
//! - `names` checks names against BigQuery's rules
//! - `row` encodes rows as protocol buffers, the format that BigQuery's Storage Write API expects

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
        /// The columns that are written, sorted by name.
        columns: Vec<BigQueryColumn>,
    },
    /// Mode `changes`: the tables that the changes name, in this dataset.
    Dataset {
        /// The project. `None` means the project that `BIGQUERY_PROJECT` names.
        project: Option<String>,
        /// The dataset.
        dataset: String,
    },
}

/// A BigQuery table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigQueryTable {
    /// The project. `None` means the project that `BIGQUERY_PROJECT` names.
    pub project: Option<String>,
    /// The dataset.
    pub dataset: String,
    /// The table's name within the dataset.
    pub name: String,
}

/// A column of a BigQuery table.
#[derive(Debug, Clone)]
pub struct BigQueryColumn {
    /// Where the value comes from, and the PostgreSQL type that it is read as.
    pub column: Column,
    /// The column's type in BigQuery.
    pub ty: BigQueryType,
}

/// The BigQuery types that columns may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BigQueryType {
    /// `true` or `false`.
    Bool,
    /// An 8-byte integer.
    Int64,
    /// An 8-byte floating-point number.
    Float64,
    /// A decimal number with up to 29 digits before the point and 9 after it.
    Numeric,
    /// A decimal number with up to 38 digits before the point and 38 after it. Some numbers with 39 digits before the
    /// point fit, too.
    Bignumeric,
    /// A text.
    String,
    /// A date in the years 1 to 9999.
    Date,
    /// A date and time in the years 1 to 9999, with microsecond precision.
    Datetime,
    /// A point in time in the years 1 to 9999, with microsecond precision.
    Timestamp,
    /// Any JSON value.
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
    /// Returns the BigQuery type for the values of a PostgreSQL type.
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

    /// Returns the type's SQL name.
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
