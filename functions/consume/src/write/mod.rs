//! Writes a slice of a stream's records to its tables, in offset order, in the contract's mode.

mod append;
mod attempt;
pub(crate) mod changes;
mod conditional;
mod constraints;
pub(crate) mod entity;
mod error;
mod isolate;
pub(crate) mod rows;
mod upsert;
pub(crate) mod version;

pub(crate) use attempt::{Attempt, Context, Exceptions, Refusal};
pub(crate) use conditional::Conditional;
pub(crate) use constraints::Constraints;
pub(crate) use error::Signature;
pub use error::WriteError;
pub(crate) use isolate::isolate;

use serde_json::Value;
use shared::contract::{Contract, Mode};
use sqlx::PgConnection;

use crate::candidate::Candidate;

/// Returns the index at which to split a slice of at least two records that cannot be written together.
fn middle(contract: &Contract, slice: &[Candidate<'_>]) -> usize {
    match contract.mode {
        Mode::Append { .. } | Mode::Upsert { .. } | Mode::Entity(_) => slice.len() / 2,
        Mode::Changes(_) => {
            let sets: Vec<&Value> = slice.iter().map(|candidate| candidate.document).collect();
            changes::middle(&sets)
        }
    }
}

/// Writes a slice within the caller's transaction. After an error, the transaction must be rolled back, at least to a
/// savepoint.
pub(crate) async fn write(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    slice: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    match &contract.mode {
        Mode::Append { landing, dedupe } => {
            append::write(connection, context.attempt, &contract.stream, landing, *dedupe, slice).await
        }
        Mode::Upsert { landing, key, version } => upsert::write(connection, landing, key, *version, slice).await,
        Mode::Entity(entity) => entity::write(connection, context, contract, entity, slice).await,
        Mode::Changes(rules) => {
            let sets: Vec<&Value> = slice.iter().map(|candidate| candidate.document).collect();
            let applied = changes::write(connection, rules, &sets).await?;
            Ok(Exceptions { rejected: applied.rejected, skipped_rows: applied.skipped_rows, ..Exceptions::default() })
        }
    }
}
