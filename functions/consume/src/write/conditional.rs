//! Writes rows by a statement that is a part of a larger one, and writes them only if a condition is met.

use shared::contract::{Contract, Landing, Mode};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::{append, upsert};
use crate::candidate::Candidate;

/// A statement that writes a slice's rows if a condition is met. It is a part of a larger one.
pub(crate) struct Conditional<'s> {
    pub(crate) sql: String,
    /// Whether it returns a row for each row that it writes: if it returns fewer than there are records, the slice was not
    /// written whole. Otherwise it returns nothing.
    pub(crate) returns_rows: bool,
    landing: &'s Landing,
    rows: Vec<&'s Candidate<'s>>,
}

impl<'s> Conditional<'s> {
    /// Returns the statement for a slice, if its mode and size allow one.
    pub(crate) fn new(contract: &'s Contract, slice: &'s [Candidate<'s>], condition: &str) -> Option<Self> {
        match &contract.mode {
            Mode::Append { landing, dedupe } => Some(Self {
                sql: append::conditional(landing, *dedupe, slice, condition)?,
                returns_rows: dedupe.is_some(),
                landing,
                rows: slice.iter().collect(),
            }),
            Mode::Upsert { landing, key, version: None } => {
                let (sql, rows) = upsert::conditional(landing, key, slice, condition);
                Some(Self { sql, returns_rows: false, landing, rows })
            }
            Mode::Upsert { version: Some(_), .. } | Mode::Entity(_) | Mode::Changes(_) => None,
        }
    }

    /// Returns the number of its parameters.
    pub(crate) fn parameters(&self) -> usize {
        self.landing.columns.len()
    }

    /// Binds its parameters, the first of a larger statement.
    pub(crate) fn bind<'q>(&self, statement: &'q str) -> Query<'q, Postgres, PgArguments>
    where
        's: 'q,
    {
        append::bind(statement, self.landing, self.rows.iter().copied())
    }
}
