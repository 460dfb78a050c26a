//! The input of every step, and what one landing remembers between its rounds.

use std::collections::HashMap;

use shared::contract::{BigQueryColumn, BigQueryTable, Contract, Target};
use shared::ledger::Rejection;

use super::tables::Tables;
use crate::ConsumeError;
use crate::land::{CheckedBatch, Tally};
use crate::trust::Trust;

/// What one landing remembers between its rounds. The ledger does not store this.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The rejections of rows that BigQuery refused, by partition index and Kafka offset.
    pub(super) refused: HashMap<(usize, i64), Rejection>,
    /// The result of what has been settled so far.
    pub(super) landed: Tally,
}

/// The input of every step.
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
/// The contract names no table in BigQuery.
pub(super) fn target(contract: &Contract) -> Result<(&BigQueryTable, &[BigQueryColumn]), ConsumeError> {
    match contract.bigquery.as_ref().map(|bigquery| &bigquery.target) {
        Some(Target::Table { table, columns }) => Ok((table, columns)),
        Some(Target::Dataset { .. }) | None => Err(ConsumeError::UnknownTopic(contract.topic.clone())),
    }
}
