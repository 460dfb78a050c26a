//! The workloads' events in Kafka, and fresh databases in which they land.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use shared::contract::Registry;
use shared::database;
use shared::kafka::{KafkaSettings, Outgoing, Producer};
use sqlx::Executor as _;
use tokio::process::Command;

use super::run::{Run, failed, rate};
use crate::contracts::copy_built_in;
use crate::workload::{COUNTRIES, POSITIONS, READINGS, Workload};
use local::CommandError;
use local::servers::RunningServers;

/// The number of a topic's partitions: one per core of a small machine.
pub(super) const PARTITIONS: i32 = 2;
const DATABASE: &str = "bench";

/// The servers, the contracts, and the topics that were filled so far.
pub(crate) struct Prepared<'p> {
    /// The number of events of each workload.
    pub(crate) events: u64,
    pub(super) kafka: KafkaSettings,
    pub(super) folder: &'p Path,
    server_url: &'p str,
    registry: Arc<Registry>,
    filled: HashSet<&'static str>,
}

impl<'p> Prepared<'p> {
    /// Writes the contracts into `folder`. No topic has events yet.
    pub(crate) fn new(servers: &'p RunningServers, folder: &'p Path, events: u64) -> Result<Self, CommandError> {
        let contracts = folder.join("contracts");
        copy_built_in(&contracts).map_err(CommandError::Data)?;
        use_own_topics(&contracts).map_err(CommandError::Data)?;
        std::fs::write(contracts.join("position.json"), include_str!("../position.json"))
            .map_err(CommandError::Data)?;
        Ok(Self {
            events,
            kafka: KafkaSettings::plaintext(servers.bootstrap_servers.clone()),
            folder,
            server_url: &servers.database_url,
            registry: Arc::new(Registry::load(Some(&contracts))?),
            filled: HashSet::new(),
        })
    }

    /// Sends a workload's events to Kafka, unless this was done before.
    pub(super) async fn fill(&mut self, workload: &Workload) -> Result<(), CommandError> {
        if self.filled.insert(workload.topic) {
            let registry = Arc::clone(&self.registry);
            let events = workload.events(self.events).collect();
            self.produce(&registry, workload.topic, PARTITIONS, events).await?;
        }
        Ok(())
    }

    /// Creates a topic and sends events to it.
    pub(super) async fn produce(
        &self,
        registry: &Registry,
        topic: &str,
        partitions: i32,
        events: Vec<String>,
    ) -> Result<(), CommandError> {
        const CHUNK: usize = 10_000;
        let admin: AdminClient<DefaultClientContext> = self.kafka.client_config().create()?;
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await?;
        let producer = Producer::new(&self.kafka)?;
        let contract = registry.topic(topic);
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
                    topic,
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

    /// Lands a workload's events. Returns the events per second.
    ///
    /// # Errors
    /// The number of rows in the workload's table has not increased by `rows`.
    pub(super) async fn land(
        &self,
        workload: &Workload,
        database_url: &str,
        batch_size: usize,
        rows: u64,
    ) -> Result<f64, CommandError> {
        let before = self.count(workload).await?;
        let (kafka, registry, topics) = (&self.kafka, &self.registry, &[workload.topic.to_owned()]);
        let run = Run { kafka, registry, topics, events: self.events, database_url, batch_size };
        let rate = run.land().await?;
        let added = self.count(workload).await? - before;
        if added != rows.cast_signed() {
            let what = format!("{}: {} events produced {added} rows instead of {rows}", workload.topic, self.events);
            return Err(CommandError::Bench(what));
        }
        Ok(rate)
    }

    async fn count(&self, workload: &Workload) -> Result<i64, CommandError> {
        let pool = database::connect(&self.database_url(), 1)?;
        let count = format!("select count(*) from {}", workload.table);
        let count = sqlx::query_scalar(&count).fetch_one(&pool).await.map_err(failed)?;
        pool.close().await;
        Ok(count)
    }

    /// Exports the rows of a workload's table to a file.
    pub(super) async fn export(&self, workload: &Workload) -> Result<Csv, CommandError> {
        let csv = Csv(std::env::temp_dir().join(format!("sluice-bench-{}.csv", std::process::id())));
        let (table, columns, file) = (workload.table, workload.columns, csv.0.display());
        psql(&self.database_url(), &format!("\\copy (select {columns} from {table}) to '{file}' csv")).await?;
        Ok(csv)
    }

    /// Copies exported rows into the workload's table with psql. Returns the rows per second.
    pub(super) async fn copy(&self, workload: &Workload, csv: &Csv) -> Result<f64, CommandError> {
        let (table, columns, file) = (workload.table, workload.columns, csv.0.display());
        let begun = Instant::now();
        psql(&self.database_url(), &format!("\\copy {table} ({columns}) from '{file}' csv")).await?;
        Ok(rate(self.events, begun.elapsed().as_secs_f64()))
    }

    /// Replaces the database with an empty one. Returns its URL.
    pub(super) async fn fresh_database(&self) -> Result<String, CommandError> {
        self.create_database("template1").await?;
        let pool = database::connect(&self.database_url(), 1)?;
        database::migrate(&pool, None).await?;
        for statement in [POSITIONS, READINGS, COUNTRIES] {
            pool.execute(statement).await.map_err(failed)?;
        }
        // Flushes earlier writes to disk, so that their checkpoint does not distort a measurement.
        pool.execute("checkpoint").await.map_err(failed)?;
        pool.close().await;
        Ok(self.database_url())
    }

    /// Replaces the database with a copy of the database `template`. Returns its URL.
    pub(super) async fn create_database(&self, template: &str) -> Result<String, CommandError> {
        let server = database::connect(self.server_url, 1)?;
        for statement in [
            format!("drop database if exists {DATABASE} with (force)"),
            format!("create database {DATABASE} template {template} strategy file_copy"),
        ] {
            server.execute(&*statement).await.map_err(failed)?;
        }
        server.close().await;
        Ok(self.database_url())
    }

    /// Renames the database, so that it can be a template.
    pub(super) async fn keep_as_template(&self, name: &str) -> Result<(), CommandError> {
        let server = database::connect(self.server_url, 1)?;
        for statement in
            [format!("drop database if exists {name}"), format!("alter database {DATABASE} rename to {name}")]
        {
            server.execute(&*statement).await.map_err(failed)?;
        }
        server.close().await;
        Ok(())
    }

    /// Returns the URL of the database in which events land.
    fn database_url(&self) -> String {
        let (base, _) = self.server_url.rsplit_once('/').unwrap_or((self.server_url, ""));
        format!("{base}/{DATABASE}")
    }
}

/// Gives the contracts topics of their own, so that the events do not mix with those of other benchmarks.
fn use_own_topics(contracts: &Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(contracts)? {
        let path = file?.path();
        let contract = std::fs::read_to_string(&path)?;
        std::fs::write(&path, contract.replace("\"topic\": \"", "\"topic\": \"landing-"))?;
    }
    Ok(())
}

/// A file that is deleted when it is no longer needed.
pub(super) struct Csv(PathBuf);

impl Drop for Csv {
    fn drop(&mut self) {
        // A leftover file is harmless, because it is in the folder for temporary files.
        let _removed = std::fs::remove_file(&self.0);
    }
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
