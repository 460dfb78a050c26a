//! What is going to be appended.

use shared::contract::BigQueryColumn;
use shared::ledger::bigquery_streams::StreamState;
use shared::ledger::watermarks::Watermark;

use super::sort::Sorted;
use super::step::target;
use crate::land::plan::Planned;

/// What is going to be appended.
#[derive(Debug)]
pub(super) struct Announced<'c, 'b> {
    pub(super) planned: Vec<Planned<'c, 'b>>,
    pub(super) sorted: Vec<Sorted<'c>>,
    /// The states with the intents. Partitions without rows have none.
    pub(super) states: Vec<StreamState>,
    /// The watermarks from which the plans begin.
    pub(super) before: Vec<Watermark>,
    /// Whether the plans cover the whole batch.
    pub(super) is_whole: bool,
}

impl<'c> Announced<'c, '_> {
    /// Returns the partitions that have rows to append: their indices, intents and columns.
    pub(super) fn appends(&self) -> impl Iterator<Item = (usize, &Sorted<'c>, &StreamState, &'c [BigQueryColumn])> {
        self.states.iter().enumerate().filter_map(|(index, state)| {
            state.intent.as_ref()?;
            let (_, columns) = target(&self.planned[index].partition.contract).ok()?;
            Some((index, &self.sorted[index], state, columns))
        })
    }
}
