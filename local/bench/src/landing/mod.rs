//! Measures the throughput from Kafka to committed rows.
//!
//! - this file: batches of several sizes, compared with `psql \copy` of the same rows
//! - `bad_rows`: batches with rows that the table refuses
//! - `distance`, `delay`: a database that answers late, because it is far away
//! - `growth`: many rows, many streams, many partitions
//! - `prepared`: the workloads' events in Kafka, and fresh databases for them
//! - `run`: lands the events of some topics

mod bad_rows;
mod delay;
mod distance;
mod growth;
mod prepared;
mod run;

use serde_json::Value;

pub(crate) use self::bad_rows::measure as measure_bad_rows;
pub(crate) use self::distance::measure as measure_distance;
pub(crate) use self::growth::measure as measure_growth;
pub(crate) use self::prepared::Prepared;
use crate::spread::Spread;
use crate::table::{Cell, Table};
use crate::workload::WORKLOADS;
use local::CommandError;

const BATCH_SIZES: [usize; 3] = [100, 1_000, 10_000];
const COLUMNS: [&str; 9] = [
    "mode",
    "events",
    "batches of 100, events per second",
    "100, relative to `\\copy`",
    "batches of 1,000, events per second",
    "1,000, relative to `\\copy`",
    "batches of 10,000, events per second",
    "10,000, relative to `\\copy`",
    "`\\copy`, rows per second",
];

/// Measures and prints the rates of every workload. Returns the table as JSON.
pub(crate) async fn measure(prepared: &mut Prepared<'_>, rounds: u32) -> Result<Value, CommandError> {
    let title = format!("Landing: {} events each, medians of {rounds} rounds", prepared.events);
    let mut table = Table::new(title, &COLUMNS);
    for workload in &WORKLOADS {
        prepared.fill(workload).await?;
        let mut cells = vec![Cell::Text(format!("`{}`", workload.mode)), Cell::text(workload.what)];
        let mut copies = Vec::new();
        for batch_size in BATCH_SIZES {
            let (mut rates, mut ratios) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let url = prepared.fresh_database().await?;
                let rate = prepared.land(workload, &url, batch_size, prepared.events).await?;
                let csv = prepared.export(workload).await?;
                prepared.fresh_database().await?;
                let copy = prepared.copy(workload, &csv).await?;
                rates.push(rate);
                ratios.push(rate / copy);
                copies.push(copy);
            }
            cells.push(Cell::Number(Spread::from_values(rates).median, 0));
            cells.push(Cell::Ratio(Spread::from_values(ratios)));
        }
        cells.push(Cell::Number(Spread::from_values(copies).median, 0));
        table.row(&cells);
    }
    Ok(table.end())
}
