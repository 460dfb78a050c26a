//! Repeats the steps of an append until a batch is settled.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use super::append::append;
use super::prepare::{Prepared, prepare};
use super::recover::recover;
use super::settle::settle;
use super::step::{Memory, Step, target};
use super::streams::create_streams;
use super::tables::Tables;
use crate::ConsumeError;
use crate::land::{CheckedBatch, Ending};
use crate::trust::Trust;

/// The maximum number of rounds. A batch needs fewer, unless other processes keep moving its watermarks.
const ROUNDS: usize = 20;

/// Lands a batch.
///
/// # Errors
/// The batch must be delivered again. Some of its partitions may have landed.
pub(crate) fn land<'a>(
    connection: &'a mut PgConnection,
    tables: &'a dyn Tables,
    trust: &'a Trust,
    now_ms: i64,
    checked: &'a CheckedBatch<'_>,
) -> BoxFuture<'a, Result<Ending, ConsumeError>> {
    // The future is boxed for two reasons. Without the box, a caller that lands a batch in PostgreSQL would reserve
    // space for this future, too. With the box, the compiler checks separately whether this future can move to another
    // thread.
    land_in_rounds(connection, tables, trust, now_ms, checked).boxed()
}

async fn land_in_rounds(
    connection: &mut PgConnection,
    tables: &dyn Tables,
    trust: &Trust,
    now_ms: i64,
    checked: &CheckedBatch<'_>,
) -> Result<Ending, ConsumeError> {
    for partition in &checked.partitions {
        target(&partition.contract)?;
    }
    let step = Step { tables, trust, checked, now_ms };
    let mut memory = Memory::default();
    for _ in 0..ROUNDS {
        match prepare(connection, step, &mut memory).await? {
            Prepared::Held(holds) => return Ok(Ending::Held(holds)),
            Prepared::Open(open) => {
                for one in &open {
                    recover(connection, step, one).await?;
                }
            }
            Prepared::NeedsStreams(indices) => create_streams(connection, step, &indices).await?,
            Prepared::Settled { is_whole: true } => return Ok(Ending::Landed(memory.landed)),
            Prepared::Settled { is_whole: false } => {}
            Prepared::Announced(announced) => {
                let outcomes = append(step, &announced).await;
                if settle(connection, step, &announced, outcomes, &mut memory).await? {
                    return Ok(Ending::Landed(memory.landed));
                }
            }
        }
    }
    Err(ConsumeError::CatchingUp)
}
