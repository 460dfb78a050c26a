//! Measures whether an event costs more when there are many rows, many streams or many partitions.

use std::sync::Arc;

use serde_json::Value;
use shared::contract::Registry;
use shared::database;
use sqlx::Executor as _;

use super::prepared::{PARTITIONS, Prepared};
use super::run::{Run, failed};
use crate::spread::Spread;
use crate::table::{Cell, Table};
use crate::workload::{POSITIONS, WORKLOADS, Workload};
use local::CommandError;

const BATCH_SIZE: usize = 1_000;
const ROWS: u32 = 10_000_000;
const STREAMS: u32 = 50;
const MANY_PARTITIONS: i32 = 8;
/// The database with many rows, of which each measurement uses a copy.
const FULL: &str = "bench_full";
const COLUMNS: [&str; 4] =
    ["what grows", "events per second before", "events per second after", "cost of an event, after relative to before"];

/// Measures and prints the rates before and after each kind of growth. Returns the table as JSON.
pub(crate) async fn measure(prepared: &mut Prepared<'_>, rounds: u32) -> Result<Value, CommandError> {
    let events = prepared.events;
    let title = format!("Growth: {events} events each, batches of {BATCH_SIZE}, medians of {rounds} rounds");
    let mut table = Table::new(title, &COLUMNS);
    for workload in &WORKLOADS {
        let Some(rows) = workload.rows else { continue };
        prepared.fill(workload).await?;
        fill_table(prepared, workload, rows).await?;
        let (mut pairs, mut copies) = (Pairs::default(), Pairs::default());
        for _ in 0..rounds {
            let empty = prepared.fresh_database().await?;
            let before = prepared.land(workload, &empty, BATCH_SIZE, events).await?;
            let csv = prepared.export(workload).await?;
            prepared.fresh_database().await?;
            let copied_before = prepared.copy(workload, &csv).await?;
            let full = prepared.create_database(FULL).await?;
            pairs.add(before, prepared.land(workload, &full, BATCH_SIZE, events).await?);
            prepared.create_database(FULL).await?;
            copies.add(copied_before, prepared.copy(workload, &csv).await?);
        }
        let what = format!("rows in the table: from 0 to {ROWS} (`{}`, {})", workload.mode, workload.what);
        pairs.print(&mut table, &what);
        copies.print(&mut table, "the same rows, written by `\\copy`");
    }
    let one = Streams::prepare(prepared, 1, PARTITIONS).await?;
    let many = Streams::prepare(prepared, STREAMS, 1).await?;
    let mut pairs = Pairs::default();
    for _ in 0..rounds {
        pairs.add(one.land(prepared).await?, many.land(prepared).await?);
    }
    pairs.print(
        &mut table,
        &format!("streams: from 1 with {PARTITIONS} partitions to {STREAMS} with 1 each (`upsert`)"),
    );
    let one = Streams::prepare(prepared, 1, 1).await?;
    let many = Streams::prepare(prepared, 1, MANY_PARTITIONS).await?;
    let mut pairs = Pairs::default();
    for _ in 0..rounds {
        pairs.add(one.land(prepared).await?, many.land(prepared).await?);
    }
    pairs.print(&mut table, &format!("partitions of one stream: from 1 to {MANY_PARTITIONS} (`upsert`)"));
    Ok(table.end())
}

/// The rates of all rounds, before and after growth.
#[derive(Default)]
struct Pairs {
    before: Vec<f64>,
    after: Vec<f64>,
}

impl Pairs {
    fn add(&mut self, before: f64, after: f64) {
        self.before.push(before);
        self.after.push(after);
    }

    fn print(self, table: &mut Table, what: &str) {
        let ratios = self.before.iter().zip(&self.after).map(|(before, after)| before / after).collect();
        table.row(&[
            Cell::text(what),
            Cell::Number(Spread::from_values(self.before).median, 0),
            Cell::Number(Spread::from_values(self.after).median, 0),
            Cell::Ratio(Spread::from_values(ratios)),
        ]);
    }
}

/// Creates the database with many rows in the workload's table.
async fn fill_table(prepared: &Prepared<'_>, workload: &Workload, rows: &str) -> Result<(), CommandError> {
    let url = prepared.fresh_database().await?;
    let pool = database::connect(&url, 1)?;
    // The rows need no triggers: they would make this take minutes.
    for statement in [
        "set session_replication_role = replica",
        "set statement_timeout = 0",
        &format!(
            "insert into {} ({}) select {rows} from generate_series(1, {ROWS}) n",
            workload.table, workload.columns
        ),
        "vacuum analyze",
        "checkpoint",
    ] {
        pool.execute(statement).await.map_err(failed)?;
    }
    pool.close().await;
    prepared.keep_as_template(FULL).await
}

/// Streams with the same contract but different topics and tables. All streams together have as many events as a
/// workload.
struct Streams {
    registry: Arc<Registry>,
    topics: Vec<String>,
    tables: Vec<String>,
}

impl Streams {
    /// Writes the contracts, creates the topics and sends the events.
    async fn prepare(prepared: &Prepared<'_>, count: u32, partitions: i32) -> Result<Self, CommandError> {
        let name = |number: u32| format!("positions_{count}_{partitions}_{number}");
        let contracts = prepared.folder.join(name(0));
        std::fs::create_dir_all(&contracts).map_err(CommandError::Data)?;
        let (mut topics, mut tables) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let name = name(number);
            let contract = include_str!("../position.json")
                .replace("\"topic\": \"positions\"", &format!("\"topic\": \"{name}\""))
                .replace("\"partitions\": 2", &format!("\"partitions\": {partitions}"))
                .replace("public.positions", &format!("public.{name}"));
            let stream = name.replace('_', "-");
            std::fs::write(contracts.join(format!("{stream}.json")), contract).map_err(CommandError::Data)?;
            tables.push(POSITIONS.replace("public.positions", &format!("public.{name}")));
            topics.push(name);
        }
        let registry = Arc::new(Registry::load(Some(&contracts))?);
        let upsert = WORKLOADS.iter().find(|workload| workload.mode == "upsert");
        let upsert = upsert.ok_or_else(|| CommandError::Bench("no workload in mode upsert".to_owned()))?;
        for topic in &topics {
            let events = upsert.events(prepared.events / u64::from(count)).collect();
            prepared.produce(&registry, topic, partitions, events).await?;
        }
        Ok(Self { registry, topics, tables })
    }

    /// Lands all events in a fresh database. Returns the events per second.
    async fn land(&self, prepared: &Prepared<'_>) -> Result<f64, CommandError> {
        let database_url = prepared.fresh_database().await?;
        let pool = database::connect(&database_url, 1)?;
        for table in &self.tables {
            pool.execute(&**table).await.map_err(failed)?;
        }
        pool.close().await;
        let streams = self.topics.len() as u64;
        let run = Run {
            kafka: &prepared.kafka,
            registry: &self.registry,
            topics: &self.topics,
            events: prepared.events / streams * streams,
            database_url: &database_url,
            batch_size: BATCH_SIZE,
        };
        run.land().await
    }
}
