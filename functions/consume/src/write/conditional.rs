//! Builds the part of a larger statement that writes rows only if a condition holds.

use shared::contract::{Contract, Landing, Mode};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::{append, upsert};
use crate::candidate::Candidate;

/// The part of a larger statement that writes a slice's rows if a condition holds.
pub(crate) struct Conditional<'s> {
    pub(crate) sql: String,
    /// True if the part returns a row for each row that it writes. The number of returned rows then shows whether all
    /// records were written. False if the part returns no rows, whatever it writes.
    pub(crate) returns_rows: bool,
    landing: &'s Landing,
    rows: Vec<&'s Candidate<'s>>,
}

impl<'s> Conditional<'s> {
    /// Returns the part for a slice, or `None` if the contract's mode or the slice's size does not allow one.
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

    /// Returns the number of the part's parameters.
    pub(crate) fn parameters(&self) -> usize {
        self.landing.columns.len()
    }

    /// Binds the part's parameters, which come first in the larger statement.
    pub(crate) fn bind<'q>(&self, statement: &'q str) -> Query<'q, Postgres, PgArguments>
    where
        's: 'q,
    {
        append::bind(statement, self.landing, self.rows.iter().copied())
    }
}
