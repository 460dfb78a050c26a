//! Writing: a slice of a stream's records into its tables, in the order of their offsets, as the contract's mode says.

mod append;
pub(crate) mod changes;
pub(crate) mod entity;
mod isolate;
pub(crate) mod rows;
mod upsert;

pub(crate) use isolate::isolate;

use serde_json::Value;
use shared::contract::{Contract, Mode, Registry};
use shared::dead_letter::Rejection;
use sqlx::PgConnection;

use crate::candidate::Candidate;
use crate::fate::{self, Fate};

/// What of a slice was not plainly written. Records are named by their index in the slice.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    /// They cannot be written.
    pub(crate) rejected: Vec<(usize, Rejection)>,
    /// They repeat what is there.
    pub(crate) duplicates: Vec<usize>,
    /// How many wait for their parent.
    pub(crate) waiting: usize,
    /// The keys of entities that were created, for which children may be waiting.
    pub(crate) created: Vec<String>,
    /// Changes of rows that were not there.
    pub(crate) skipped_rows: u64,
}

impl Exceptions {
    /// Adds what a slice that begins at `start` had.
    fn add(&mut self, other: Self, start: usize) {
        self.rejected.extend(other.rejected.into_iter().map(|(index, rejection)| (start + index, rejection)));
        self.duplicates.extend(other.duplicates.into_iter().map(|index| start + index));
        self.waiting += other.waiting;
        self.created.extend(other.created);
        self.skipped_rows += other.skipped_rows;
    }
}

/// What writing needs to know beside the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) now_ms: i64,
    pub(crate) attempt: Attempt,
}

/// How a batch is gone about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Without savepoints: a row's fault fails the batch.
    Whole,
    /// With a savepoint for each slice: a row's fault is isolated.
    Isolating,
}

/// Why a slice could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// PostgreSQL says so.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// PostgreSQL says so of a value, by an SQLSTATE that it has for other faults too.
    #[error(transparent)]
    Value(sqlx::Error),
    /// The table is not what the contract says.
    #[error("stream {stream}: column {column} of {table} is {found}, but its contract says {expected}")]
    Drift {
        /// The stream.
        stream: String,
        /// Its table.
        table: String,
        /// The column.
        column: String,
        /// Its type by the contract.
        expected: &'static str,
        /// Its type in the catalogue, or that it is missing.
        found: String,
    },
}

impl WriteError {
    /// Whose fault it is.
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Self::Sql(error) => fate::of(error),
            Self::Value(error) => Fate::Reject(Rejection {
                code: error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned(),
                reason: "a value cannot be read as its column's type".to_owned(),
            }),
            Self::Drift { .. } => Fate::Stop,
        }
    }
}

impl From<changes::Failure> for WriteError {
    fn from(failure: changes::Failure) -> Self {
        match failure {
            changes::Failure::Sql(error) => Self::Sql(error),
            changes::Failure::Value(error) => Self::Value(error),
        }
    }
}

/// Writes a slice within the caller's transaction. After an error, the transaction is to be rolled back, to a
/// savepoint at least.
async fn write(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    slice: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    match &contract.mode {
        Mode::Append { landing, dedupe } => {
            append::write(connection, context.attempt, &contract.stream, landing, *dedupe, slice).await
        }
        Mode::Upsert { landing, key } => upsert::write(connection, landing, key, slice).await,
        Mode::Entity(entity) => entity::write(connection, context, contract, entity, slice).await,
        Mode::Changes(rules) => {
            let sets: Vec<&Value> = slice.iter().map(|candidate| candidate.document).collect();
            let applied = changes::write(connection, rules, &sets).await?;
            Ok(Exceptions { rejected: applied.rejected, skipped_rows: applied.skipped_rows, ..Exceptions::default() })
        }
    }
}
