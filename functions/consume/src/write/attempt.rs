//! An attempt at writing records: how the records are written, and which of them were not written.

use std::collections::HashMap;

use shared::contract::Registry;
use shared::ledger::Rejection;

use super::constraints::Constraints;
use super::error::Signature;
use crate::candidate::Origin;

/// What writing needs to know besides the records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) now_ms: i64,
    pub(crate) attempt: Attempt<'a>,
    /// Records that must not be written, each with the reason.
    pub(crate) excluded: &'a HashMap<Origin, Rejection>,
}

/// How a batch's records are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt<'a> {
    /// Without savepoints: if a row has a fault, the whole batch fails.
    Whole,
    /// With a savepoint for each slice: a row's fault is isolated.
    Isolated,
    /// Like `Isolated`, with deferred constraints checked after each slice: their violations are isolated as well.
    Checked(&'a Constraints),
    /// Writes only the records that were chosen to land together (those that are not excluded). If one of them is
    /// refused, the attempt fails.
    Chosen(&'a Constraints),
}

/// The records of a slice that were not written, by index in the slice, and other results to report.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    /// Records that break a rule of the contract's mode. PostgreSQL does not enforce these rules.
    pub(crate) rejected: Vec<(usize, Rejection)>,
    /// Records that PostgreSQL refuses.
    pub(crate) refused: Vec<(usize, Refusal)>,
    /// Records that repeat existing rows.
    pub(crate) duplicates: Vec<usize>,
    /// Records that were not written because the existing row, or an earlier record, has a higher version.
    pub(crate) superseded: Vec<usize>,
    /// Records that wait for their parent.
    pub(crate) waiting: Vec<usize>,
    /// The keys of entities that were created, for which children may be waiting.
    pub(crate) created: Vec<String>,
    /// The number of changes whose rows or tables do not exist.
    pub(crate) skipped_rows: u64,
}

impl Exceptions {
    /// Adds the exceptions of a slice that begins at `start`.
    pub(super) fn add(&mut self, other: Self, start: usize) {
        self.rejected.extend(other.rejected.into_iter().map(|(index, rejection)| (start + index, rejection)));
        self.refused.extend(other.refused.into_iter().map(|(index, refusal)| (start + index, refusal)));
        self.duplicates.extend(other.duplicates.into_iter().map(|index| start + index));
        self.superseded.extend(other.superseded.into_iter().map(|index| start + index));
        self.waiting.extend(other.waiting.into_iter().map(|index| start + index));
        self.created.extend(other.created);
        self.skipped_rows += other.skipped_rows;
    }
}

/// Why PostgreSQL refuses a record.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) rejection: Rejection,
    pub(crate) signature: Signature,
}
