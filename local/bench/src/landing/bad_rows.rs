//! Measures how much bad rows slow a batch down. A check constraint refuses rows by their number. So the same events
//! land with no, a few or many bad rows, depending on the constraint.

use serde_json::Value;
use shared::database;
use sqlx::Executor as _;

use super::prepared::Prepared;
use super::run::failed;
use crate::spread::Spread;
use crate::table::{Cell, Table};
use crate::workload::{WORKLOADS, Workload};
use local::CommandError;

const BATCH_SIZE: usize = 10_000;
/// One row of this many is bad.
const FEW: u64 = 1_000;
const MANY: u64 = 10;
const COLUMNS: [&str; 5] = [
    "mode",
    "events",
    "no bad rows, events per second",
    "10 bad rows in 10,000, relative to none",
    "1,000 bad rows in 10,000, relative to none",
];

/// Measures and prints the rates of every workload with no, a few and many bad rows. Returns the table as JSON.
pub(crate) async fn measure(prepared: &mut Prepared<'_>, rounds: u32) -> Result<Value, CommandError> {
    let events = prepared.events;
    let title = format!("Bad rows: {events} events each, batches of {BATCH_SIZE}, medians of {rounds} rounds");
    let mut table = Table::new(title, &COLUMNS);
    for workload in &WORKLOADS {
        prepared.fill(workload).await?;
        let (mut without, mut few, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let rate = land(prepared, workload, None).await?;
            without.push(rate);
            few.push(land(prepared, workload, Some(FEW)).await? / rate);
            many.push(land(prepared, workload, Some(MANY)).await? / rate);
        }
        table.row(&[
            Cell::Text(format!("`{}`", workload.mode)),
            Cell::text(workload.what),
            Cell::Number(Spread::from_values(without).median, 0),
            Cell::Ratio(Spread::from_values(few)),
            Cell::Ratio(Spread::from_values(many)),
        ]);
    }
    Ok(table.end())
}

/// Lands a workload's events in a table that refuses one row of `one_of`. Returns the events per second.
async fn land(prepared: &Prepared<'_>, workload: &Workload, one_of: Option<u64>) -> Result<f64, CommandError> {
    let url = prepared.fresh_database().await?;
    let pool = database::connect(&url, 1)?;
    let (table, number) = (workload.table, workload.number);
    // The constraint's cost is the same in all three cases: without bad rows, it compares with an impossible remainder.
    let (divisor, refused) = one_of.map_or((MANY, MANY), |one_of| (one_of, 0));
    let constraint = format!("alter table {table} add constraint is_good check ({number} % {divisor} <> {refused})");
    pool.execute(&*constraint).await.map_err(failed)?;
    pool.close().await;
    let bad = one_of.map_or(0, |one_of| prepared.events.div_ceil(one_of));
    prepared.land(workload, &url, BATCH_SIZE, prepared.events - bad).await
}
