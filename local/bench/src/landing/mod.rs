//! Measures the throughput from Kafka to committed rows, in batches of several sizes, and compares it with `psql \copy`
//! of the same rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use consume::Consume;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use shared::contract::Registry;
use shared::database;
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, Outgoing, Producer};
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use sqlx::Executor as _;
use tokio::process::Command;

use crate::contracts::copy_built_in;
use crate::spread::Spread;
use crate::table::{Cell, Table};
use crate::workload::{COUNTRIES, POSITIONS, READINGS, WORKLOADS, Workload};
use local::CommandError;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::{Function, InProcess, Invocation};
use local::servers::RunningServers;

/// The number of partitions: one per core of a small machine.
const PARTITIONS: i32 = 2;

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
pub(crate) async fn measure(
    servers: &RunningServers,
    folder: &Path,
    events: u64,
    rounds: u32,
) -> Result<Value, CommandError> {
    let mut table = Table::new(format!("{events} events each, medians of {rounds} rounds"), &COLUMNS);
    for workload in &WORKLOADS {
        let bench = Bench::prepare(servers, folder, workload, events).await?;
        let mut cells = vec![Cell::Text(format!("`{}`", workload.mode)), Cell::text(workload.what)];
        let mut copies = Vec::new();
        for batch_size in BATCH_SIZES {
            let (mut rates, mut ratios) = (Vec::new(), Vec::new());
            for round in 1..=rounds {
                let (rate, copy) = (bench.land(batch_size, round).await?, bench.copy().await?);
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

/// A workload, after its events were sent to Kafka.
struct Bench<'b> {
    workload: &'b Workload,
    events: u64,
    kafka: KafkaSettings,
    server_url: String,
    registry: Arc<Registry>,
    csv: PathBuf,
}

impl<'b> Bench<'b> {
    /// Sends a workload's events to Kafka.
    async fn prepare(
        servers: &RunningServers,
        folder: &Path,
        workload: &'b Workload,
        events: u64,
    ) -> Result<Self, CommandError> {
        let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
        let contracts = folder.join("contracts");
        write_contracts(&contracts).map_err(CommandError::Data)?;
        let registry = Arc::new(Registry::load(Some(&contracts))?);
        let bench = Self {
            workload,
            events,
            kafka,
            server_url: servers.database_url.clone(),
            registry,
            csv: std::env::temp_dir().join(format!("sluice-bench-{}.csv", std::process::id())),
        };
        bench.produce().await?;
        Ok(bench)
    }

    async fn produce(&self) -> Result<(), CommandError> {
        const CHUNK: usize = 10_000;
        let admin: AdminClient<DefaultClientContext> = self.kafka.client_config().create()?;
        let topic = NewTopic::new(self.workload.topic, PARTITIONS, TopicReplication::Fixed(1));
        admin.create_topics([&topic], &AdminOptions::new()).await?;
        let producer = Producer::new(&self.kafka)?;
        let contract = self.registry.topic(self.workload.topic);
        let events: Vec<String> = self.workload.events(self.events).collect();
        for chunk in events.chunks(CHUNK) {
            let keys: Vec<Option<String>> = chunk
                .iter()
                .map(|event| {
                    let event: Value = serde_json::from_str(event).ok()?;
                    contract?.record_key(&event).map(std::borrow::Cow::into_owned)
                })
                .collect();
            let records: Vec<Outgoing<'_>> = chunk
                .iter()
                .zip(&keys)
                .map(|(event, key)| Outgoing {
                    topic: self.workload.topic,
                    key: key.as_deref().map(str::as_bytes),
                    value: Some(event.as_bytes()),
                    headers: &[],
                })
                .collect();
            for sent in producer.send(&records).await {
                sent.map_err(|error| CommandError::Bench(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Lands all events in a fresh database. Returns the events per second from the first invocation to the last
    /// commit.
    async fn land(&self, batch_size: usize, round: u32) -> Result<f64, CommandError> {
        let url = self.fresh_database().await?;
        let pool = database::connect(&url, 4)?;
        let (registry, wait) = (Arc::clone(&self.registry), Duration::from_secs(3_600));
        let reader = Arc::new(KafkaReader::new(self.kafka.clone()));
        let consume = Consume::new(pool.clone(), registry, Clock::system(), wait, Metrics::default(), reader);
        let function = Arc::new(Timed { function: InProcess(Arc::new(consume)), span: Mutex::new(None) });
        let mut configuration = MappingConfiguration::for_topic(self.workload.topic);
        configuration.group = format!("bench-{}-{batch_size}-{round}", self.workload.topic);
        configuration.batch_size = batch_size;
        // The last batch is not full, so it is delivered only when its window closes. The window is short so that this
        // wait hardly affects the result.
        configuration.window = Duration::from_millis(20);
        let mapping =
            EventSourceMapping::start(configuration, &self.kafka, Arc::clone(&function) as Arc<dyn Function>)?;
        let applied = "select coalesce(sum(next_offset), 0)::bigint from sluice.watermarks";
        while sqlx::query_scalar::<_, i64>(applied).fetch_one(&pool).await.map_err(failed)? < self.events.cast_signed()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        mapping.stop().await;
        let rows = format!("select count(*) from {}", self.workload.table);
        let rows: i64 = sqlx::query_scalar(&rows).fetch_one(&pool).await.map_err(failed)?;
        if rows != self.events.cast_signed() {
            return Err(CommandError::Bench(format!("{} events produced {rows} rows", self.events)));
        }
        if !self.csv.exists() {
            let export = format!(
                "\\copy (select {0} from {1}) to '{2}' csv",
                self.workload.columns,
                self.workload.table,
                self.csv.display()
            );
            psql(&url, &export).await?;
        }
        pool.close().await;
        let span = function.span.lock().map_or(None, |span| *span);
        let seconds = span.map_or(f64::INFINITY, |(first, last)| last.duration_since(first).as_secs_f64());
        Ok(self.rate(seconds))
    }

    /// Copies the rows of [`Self::land`] with psql, into the same table of a fresh database. Returns the rows per
    /// second.
    async fn copy(&self) -> Result<f64, CommandError> {
        let url = self.fresh_database().await?;
        let copy =
            format!("\\copy {} ({}) from '{}' csv", self.workload.table, self.workload.columns, self.csv.display());
        let begun = Instant::now();
        psql(&url, &copy).await?;
        Ok(self.rate(begun.elapsed().as_secs_f64()))
    }

    async fn fresh_database(&self) -> Result<String, CommandError> {
        let server = database::connect(&self.server_url, 1)?;
        server.execute("drop database if exists bench with (force)").await.map_err(failed)?;
        server.execute("create database bench").await.map_err(failed)?;
        let (base, _) = self.server_url.rsplit_once('/').unwrap_or((&self.server_url, ""));
        let url = format!("{base}/bench");
        let pool = database::connect(&url, 1)?;
        database::migrate(&pool, None).await?;
        for statement in [POSITIONS, READINGS, COUNTRIES] {
            pool.execute(statement).await.map_err(failed)?;
        }
        // Flushes earlier writes to disk, so that their checkpoint does not distort a measurement.
        pool.execute("checkpoint").await.map_err(failed)?;
        pool.close().await;
        Ok(url)
    }

    #[expect(clippy::cast_precision_loss, reason = "event counts are small")]
    fn rate(&self, seconds: f64) -> f64 {
        self.events as f64 / seconds
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // A leftover file is harmless, because it is in the folder for temporary files.
        let _removed = std::fs::remove_file(&self.csv);
    }
}

/// A function that records when its first invocation began and when its last invocation ended.
struct Timed {
    function: InProcess,
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Function for Timed {
    fn invoke(&self, payload: Bytes) -> Invocation<'_> {
        let begun = Instant::now();
        Box::pin(async move {
            let outcome = self.function.invoke(payload).await;
            if let Ok(mut span) = self.span.lock() {
                let first = span.map_or(begun, |(first, _)| first.min(begun));
                *span = Some((first, Instant::now()));
            }
            outcome
        })
    }
}

/// Writes the built-in contracts and the benchmarks' own contract.
fn write_contracts(folder: &Path) -> std::io::Result<()> {
    copy_built_in(folder)?;
    std::fs::write(folder.join("position.json"), include_str!("position.json"))
}

async fn psql(url: &str, command: &str) -> Result<(), CommandError> {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", command, url])
        .output()
        .await
        .map_err(|source| CommandError::Command { program: "psql".into(), source })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(CommandError::Bench(format!("psql: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}

fn failed(error: sqlx::Error) -> CommandError {
    CommandError::Bench(error.to_string())
}
