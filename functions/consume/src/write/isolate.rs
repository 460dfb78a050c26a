//! Bulk first, isolate on failure: a slice is first written as a whole. If a row makes it fail, the slice is halved
//! until each guilty row is on its own. With k guilty rows among n, this takes about k·log n statements.
//!
//! Most batches have no guilty row, and each savepoint costs a round trip. So the first transaction of a batch uses no
//! savepoints: a guilty row makes the whole transaction fail, and only the next transaction isolates the row.

use std::ops::Range;

use shared::contract::{Contract, Mode};
use shared::ledger::Rejection;
use sqlx::{Executor as _, PgConnection};

use super::{Attempt, Context, Exceptions, Refusal, WriteError, middle, write};
use crate::candidate::Candidate;
use crate::verdict::Verdict;

/// Records that are written together.
struct Slice {
    records: Range<usize>,
    is_first_half: bool,
    /// True if a slice failed, its first half was then written, and this is its second half. If such a slice has
    /// several records, it is split without being tried. If it has only one, it is tried all the same, because only the
    /// error gives the reason.
    is_known_to_fail: bool,
}

impl Slice {
    /// Returns the slice's halves, with the first half last, so that the caller can push both on its stack.
    fn halves(&self, contract: &Contract, records: &[Candidate<'_>]) -> [Self; 2] {
        let Range { start, end } = self.records;
        let middle = start + middle(contract, &records[start..end]);
        [
            Self { records: middle..end, is_first_half: false, is_known_to_fail: false },
            Self { records: start..middle, is_first_half: true, is_known_to_fail: false },
        ]
    }
}

const RELEASE: &str = "release savepoint slice";
const ROLL_BACK: &str = "rollback to savepoint slice";

/// Writes records in order within the caller's transaction, except those that PostgreSQL refuses.
///
/// # Errors
/// An environment or operator fault. [`Attempt::Whole`] and [`Attempt::Chosen`] also fail on a row's fault. After any
/// error the transaction must be rolled back.
pub(crate) async fn isolate(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    records: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    if records.is_empty() {
        return Ok(Exceptions::default());
    }
    if matches!(context.attempt, Attempt::Whole) {
        return write(connection, context, contract, records).await;
    }
    let written = match context.attempt {
        Attempt::Whole | Attempt::Isolated | Attempt::Chosen(_) => format!("{RELEASE}; savepoint slice"),
        Attempt::Checked(constraints) => format!("{} {RELEASE}; savepoint slice", constraints.check()),
    };
    let mut exceptions = Exceptions::default();
    // True if two slices that are written one after the other have the same result as if they were written together.
    // This is false for change sets, because adjacent truncates become one statement.
    let adds_up = match contract.mode {
        Mode::Append { .. } | Mode::Upsert { .. } | Mode::Entity(_) => true,
        Mode::Changes(_) => false,
    };
    // The slices that are still to be written. The next one is on top.
    let mut slices = vec![Slice { records: 0..records.len(), is_first_half: false, is_known_to_fail: false }];
    connection.execute("savepoint slice").await?;
    while let Some(slice) = slices.pop() {
        let range = slice.records.clone();
        if slice.is_known_to_fail && range.len() > 1 {
            slices.extend(slice.halves(contract, records));
            continue;
        }
        match write_slice(connection, context, contract, &records[range.clone()], &written).await {
            Ok(of_slice) => {
                exceptions.add(of_slice, range.start);
                if let Some(second_half) = slices.last_mut().filter(|_| slice.is_first_half && adds_up) {
                    second_half.is_known_to_fail = true;
                }
            }
            Err(error) => {
                let refusal = refusal(context.attempt, error, range.len())?;
                connection.execute(ROLL_BACK).await?;
                match refusal {
                    Some(refusal) => exceptions.refused.push((range.start, refusal)),
                    None => slices.extend(slice.halves(contract, records)),
                }
            }
        }
    }
    connection.execute(RELEASE).await?;
    Ok(exceptions)
}

/// Writes a slice, then executes `written`, which keeps the slice and opens the next slice's savepoint.
async fn write_slice(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    records: &[Candidate<'_>],
    written: &str,
) -> Result<Exceptions, WriteError> {
    let exceptions = match (write(connection, context, contract, records).await, context.attempt) {
        // Earlier slices have left deferred checks pending on a table that this slice truncates or alters.
        (Err(error), Attempt::Chosen(constraints)) if error.has_pending_checks() => {
            connection.execute(format!("{ROLL_BACK}; {}", constraints.check()).as_str()).await?;
            write(connection, context, contract, records).await?
        }
        (exceptions, Attempt::Whole | Attempt::Isolated | Attempt::Checked(_) | Attempt::Chosen(_)) => exceptions?,
    };
    connection.execute(written).await?;
    Ok(exceptions)
}

/// Decides what a slice's error means. Returns the refusal of its only record, or `None` if the slice must be split.
fn refusal(attempt: Attempt<'_>, error: WriteError, records: usize) -> Result<Option<Refusal>, WriteError> {
    let isolates = match attempt {
        Attempt::Whole => false,
        // Halving the slice does not end pending checks. Only an attempt that checks constraints after each slice can
        // isolate the record.
        Attempt::Isolated => !error.has_pending_checks(),
        Attempt::Checked(_) => true,
        Attempt::Chosen(_) => records > 1,
    };
    let rejection = match error.verdict() {
        Verdict::Reject(rejection) => rejection,
        Verdict::Retry | Verdict::Stop if error.has_pending_checks() => Rejection::new(
            error.sqlstate(),
            "the change set truncates or alters a table while deferred checks of rows that it wrote are pending",
        ),
        Verdict::Retry | Verdict::Stop => return Err(error),
    };
    if !isolates {
        return Err(error);
    }
    Ok((records == 1).then(|| Refusal { rejection, signature: error.signature() }))
}
