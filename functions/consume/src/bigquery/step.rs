//! What every step needs, and what an invocation remembers from one step to the next.

use std::collections::HashMap;

use shared::contract::{BigQueryColumn, BigQueryTable, Contract, Target};
use shared::ledger::Rejection;

use super::tables::Tables;
use crate::ConsumeError;
use crate::land::{CheckedBatch, Tally};
use crate::trust::Trust;

/// What one invocation knows beyond what is stored.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Rows that BigQuery refused, by index of the partition and by offset.
    pub(super) refused: HashMap<(usize, i64), Rejection>,
    /// What was settled.
    pub(super) landed: Tally,
}

/// What every step needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'s, 'b> {
    pub(super) tables: &'s dyn Tables,
    pub(super) trust: &'s Trust,
    pub(super) checked: &'s CheckedBatch<'b>,
    pub(super) now_ms: i64,
}

/// Returns the table and the columns that a stream's events land in.
///
/// # Errors
/// The contract does not mention BigQuery.
pub(super) fn target(contract: &Contract) -> Result<(&BigQueryTable, &[BigQueryColumn]), ConsumeError> {
    match contract.bigquery.as_ref().map(|bigquery| &bigquery.target) {
        Some(Target::Table { table, columns }) => Ok((table, columns)),
        Some(Target::Dataset { .. }) | None => Err(ConsumeError::UnknownTopic(contract.topic.clone())),
    }
}
