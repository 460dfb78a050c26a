//! The running system: Apache Kafka and PostgreSQL, `ingest` in this process, `consume` in sandboxes, and the event
//! source mappings between them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use console::Console;
use futures::future::join_all;
use ingest::Ingest;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::{CONSUME_TIMEOUT, Function as _, OverHttp};
use local::lambda::Plan;
use local::scheduler;
use local::servers::{DataFolder, Kafka, Postgres, PostgresOptions};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use shared::contract::Registry;
use shared::http::edge::serve;
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, Producer, topics};
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use shared::start::WAIT_FOR_PARENT;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::lambda::Consume;
use super::support::binaries;
use super::workload::hash;

const SANDBOXES: usize = 4;
/// The timeout of `console` in `template.yaml`.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The interval between comparisons of the watermarks with Kafka. The schedule's interval, one minute, would be too
/// long for this short run.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// The running system.
pub(crate) struct World {
    pub(crate) kafka: Kafka,
    pub(crate) postgres: Postgres,
    pub(crate) lambda: Consume,
    /// The plan for running `console`.
    pub(crate) console: Plan,
    /// The address for events and for operators' requests.
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    registry: Arc<Registry>,
    settings: KafkaSettings,
    seed: u64,
    mappings: Vec<EventSourceMapping>,
    comparing: AbortOnDropHandle<()>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
    // The folder with the servers' files. As the last field, it is dropped after the servers.
    data: DataFolder,
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let data = DataFolder::temporary().unwrap();
        let (binaries, kafka, postgres) =
            tokio::join!(binaries::folder(), Kafka::start(&data), Postgres::start(&data, PostgresOptions::default()),);
        let (kafka, postgres) = (kafka.unwrap(), postgres.unwrap());
        let settings = KafkaSettings::plaintext(kafka.bootstrap_servers());
        let registry = Arc::new(Registry::load(None).unwrap());
        let pool = shared::database::connect(&postgres.database_url(), 4).unwrap();
        shared::database::migrate(&pool, None).await.unwrap();
        topics::ensure(&settings, &registry).await.unwrap();

        let plan = |name: &'static str, timeout| Plan {
            name,
            binary: binaries.join(name),
            environment: vec![
                ("DATABASE_URL", postgres.database_url()),
                ("KAFKA_BOOTSTRAP_SERVERS", settings.bootstrap_servers.clone()),
                ("TOKEN_KEY", "5a".repeat(32)),
                ("RUST_LOG", "warn".to_owned()),
            ],
            timeout,
            freezes: false,
            folder: data.path().to_owned(),
        };
        let lambda = Consume::start(plan("consume", CONSUME_TIMEOUT), SANDBOXES).await;
        let console = plan("console", CONSOLE_TIMEOUT);
        let comparing = tokio::spawn(compare_forever(OverHttp::new(&lambda.url, "consume").unwrap()));

        let (producer, reader) = (Producer::new(&settings).unwrap(), KafkaReader::new(settings.clone()));
        let (clock, metrics) = (Clock::system(), Metrics::default());
        let (wait, contracts) = (WAIT_FOR_PARENT, Arc::clone(&registry));
        let ingest = Ingest::new(pool.clone(), contracts, producer, reader, clock, wait, metrics);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ingest = Arc::new(ingest);
        let operating = console::routes_for_anyone(Arc::new(Console::new(Arc::clone(&ingest))));
        let serving = axum::serve(listener, serve(ingest::routes_for_anyone(ingest).merge(operating))).into_future();
        let mut world = Self {
            kafka,
            postgres,
            lambda,
            console,
            url,
            pool,
            registry,
            settings,
            seed,
            mappings: Vec::new(),
            comparing: AbortOnDropHandle::new(comparing),
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
            data,
        };
        world.consume("sluice");
        world
    }

    /// Returns PostgreSQL's data folder, and a folder for a copy of it.
    pub(crate) fn cluster_and_copy(&self) -> (PathBuf, PathBuf) {
        (self.data.path().join("postgresql/cluster"), self.data.path().join("copy"))
    }

    /// Starts a mapping for every topic. The names of the mappings' consumer groups begin with `groups`. A new group
    /// starts at the beginning of its topic.
    fn consume(&mut self, groups: &str) {
        let function = Arc::new(OverHttp::new(&self.lambda.url, "consume").unwrap());
        let mut random = StdRng::seed_from_u64(hash(&(self.seed, groups)));
        for contract in self.registry.contracts() {
            // The batch sizes vary. No batch waits long for more records, so that there are many batches.
            let mapping = MappingConfiguration {
                group: group(groups, &contract.topic),
                batch_size: [100, 1_000, 10_000][random.random_range(0..3)],
                window: Duration::from_millis(random.random_range(10..200)),
                ..MappingConfiguration::for_topic(&contract.topic)
            };
            self.mappings.push(EventSourceMapping::start(mapping, &self.settings, function.clone()).unwrap());
        }
    }

    /// Finishes batches in flight, and delivers nothing further.
    pub(crate) async fn stop_consuming(&mut self) {
        join_all(self.mappings.drain(..).map(EventSourceMapping::stop)).await;
    }

    /// Delivers every record again, from the start of every topic.
    pub(crate) async fn deliver_everything_again(&mut self) {
        self.stop_consuming().await;
        let ends = self.log_ends().await;
        self.consume("again");
        let started = tokio::time::Instant::now();
        while self.committed("again").await != ends {
            assert!(started.elapsed() < super::kills::PATIENCE, "not everything was delivered again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.stop_consuming().await;
    }

    /// Returns the offset after the last record of each partition that has records.
    pub(crate) async fn log_ends(&self) -> BTreeMap<(String, i32), i64> {
        let consumer: BaseConsumer = self.settings.client_config().create().unwrap();
        let partitions: Vec<(String, i32)> = self
            .registry
            .contracts()
            .flat_map(|contract| (0..contract.partitions).map(|partition| (contract.topic.clone(), partition)))
            .collect();
        tokio::task::spawn_blocking(move || {
            let ends = partitions.into_iter().map(|(topic, partition)| {
                let (_, end) = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(20)).unwrap();
                ((topic, partition), end)
            });
            ends.filter(|(_, end)| *end > 0).collect()
        })
        .await
        .unwrap()
    }

    /// Returns the committed offsets of the consumer groups whose names begin with `groups`.
    async fn committed(&self, groups: &str) -> BTreeMap<(String, i32), i64> {
        let mut committed = BTreeMap::new();
        for contract in self.registry.contracts() {
            let (group, topic) = (group(groups, &contract.topic), contract.topic.clone());
            let offsets = super::support::kafka::committed(&self.settings, &group, &topic, contract.partitions).await;
            let offsets =
                (0..).zip(offsets).filter_map(|(partition, offset)| Some(((topic.clone(), partition), offset?)));
            committed.extend(offsets);
        }
        committed
    }

    pub(crate) async fn stop(mut self) {
        self.stop_consuming().await;
        drop(self.comparing);
        self.lambda.stop().await;
        self.pool.close().await;
        self.kafka.stop().await;
        self.postgres.stop().await;
    }
}

/// Invokes `consume` as its schedule does. If a comparison fails, the next comparison makes up for it.
async fn compare_forever(consume: OverHttp) {
    loop {
        tokio::time::sleep(COMPARE_EVERY).await;
        let event = scheduler::event("Compare", jiff::Timestamp::now()).to_string();
        let _next_time = consume.invoke(event.into()).await;
    }
}

fn group(groups: &str, topic: &str) -> String {
    format!("{groups}-{topic}")
}
