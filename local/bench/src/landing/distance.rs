//! Measures small batches with a database that answers late, because it is far away. The round trips then matter more
//! than the CPU.

use std::time::Duration;

use serde_json::Value;

use super::delay::DelayingProxy;
use super::prepared::Prepared;
use crate::spread::Spread;
use crate::table::{Cell, Table};
use crate::workload::WORKLOADS;
use local::CommandError;

const BATCH_SIZE: usize = 100;
/// What the distance adds to each round trip.
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(5)];
const COLUMNS: [&str; 5] =
    ["mode", "events", "0 ms, events per second", "1 ms, events per second", "5 ms, events per second"];

/// Measures and prints the rates of every workload at several distances. Returns the table as JSON.
pub(crate) async fn measure(prepared: &mut Prepared<'_>, rounds: u32) -> Result<Value, CommandError> {
    let events = prepared.events;
    let title = format!(
        "Distance: {events} events each, batches of {BATCH_SIZE}, by the time added to each round trip, medians of \
         {rounds} rounds"
    );
    let mut table = Table::new(title, &COLUMNS);
    for workload in &WORKLOADS {
        prepared.fill(workload).await?;
        let mut cells = vec![Cell::Text(format!("`{}`", workload.mode)), Cell::text(workload.what)];
        for delay in DELAYS {
            let mut rates = Vec::new();
            for _ in 0..rounds {
                let url = prepared.fresh_database().await?;
                // Without a delay, the proxy stays in between, so that its own cost does not count as distance.
                let proxy = DelayingProxy::start(&url, delay)?;
                rates.push(prepared.land(workload, &proxy.url, BATCH_SIZE, events).await?);
            }
            cells.push(Cell::Number(Spread::from_values(rates).median, 0));
        }
        table.row(&cells);
    }
    Ok(table.end())
}
