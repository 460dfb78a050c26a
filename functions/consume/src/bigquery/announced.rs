//! The announced appends of a batch. An append is announced when its intent is committed; its rows can then be sent.

use shared::contract::BigQueryColumn;
use shared::ledger::bigquery_streams::StreamState;
use shared::ledger::watermarks::Watermark;

use super::sort::Sorted;
use super::step::target;
use crate::land::plan::Planned;

/// A batch's announced appends.
#[derive(Debug)]
pub(super) struct Announced<'c, 'b> {
    pub(super) planned: Vec<Planned<'c, 'b>>,
    pub(super) sorted: Vec<Sorted<'c>>,
    /// The partitions' states. A partition with rows to append has an intent in its state.
    pub(super) states: Vec<StreamState>,
    /// The watermarks that the plans start from.
    pub(super) before: Vec<Watermark>,
    /// Whether the plans cover the whole batch.
    pub(super) is_whole: bool,
}

impl<'c> Announced<'c, '_> {
    /// Returns the partitions that have rows to append, each with its index, sorted records, state and columns.
    pub(super) fn appends(&self) -> impl Iterator<Item = (usize, &Sorted<'c>, &StreamState, &'c [BigQueryColumn])> {
        self.states.iter().enumerate().filter_map(|(index, state)| {
            state.intent.as_ref()?;
            let (_, columns) = target(&self.planned[index].partition.contract).ok()?;
            Some((index, &self.sorted[index], state, columns))
        })
    }
}
