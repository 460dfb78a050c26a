//! Everything that runs: Apache Kafka and PostgreSQL, `ingest` in this process, `consume` in sandboxes, and the event
//! source mappings between them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ingest::Ingest;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::{CONSUME_TIMEOUT, OverHttp};
use local::lambda::Plan;
use local::servers::{DataFolder, Kafka, Postgres, PostgresOptions};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use shared::clock::Clock;
use shared::contract::Registry;
use shared::http::edge::serve;
use shared::kafka::{KafkaSettings, Producer, topics};
use shared::metrics::Metrics;
use shared::settings::WAIT_FOR_PARENT;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::lambda::Consume;
use super::support::binaries;
use super::workload::hash;

const SANDBOXES: usize = 4;

/// What runs.
pub(crate) struct World {
    pub(crate) kafka: Kafka,
    pub(crate) postgres: Postgres,
    pub(crate) lambda: Consume,
    /// Where events are posted to.
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    registry: Arc<Registry>,
    settings: KafkaSettings,
    seed: u64,
    mappings: Vec<EventSourceMapping>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
    // After the servers whose files are in it.
    _data: DataFolder,
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let data = DataFolder::temporary().unwrap();
        let (binaries, kafka, postgres) =
            tokio::join!(binaries::folder(), Kafka::start(&data), Postgres::start(&data, PostgresOptions::default()),);
        let (binary, kafka, postgres) = (binaries.join("consume"), kafka.unwrap(), postgres.unwrap());
        let settings = KafkaSettings::plaintext(kafka.bootstrap_servers());
        let registry = Arc::new(Registry::load(None).unwrap());
        let pool = shared::database::connect(&postgres.database_url(), 4).unwrap();
        shared::database::migrate(&pool, None).await.unwrap();
        topics::ensure(&settings, &registry).await.unwrap();

        let environment = vec![
            ("DATABASE_URL", postgres.database_url()),
            ("KAFKA_BOOTSTRAP_SERVERS", settings.bootstrap_servers.clone()),
            ("RUST_LOG", "warn".to_owned()),
        ];
        let plan = Plan {
            name: "consume",
            binary,
            environment,
            timeout: CONSUME_TIMEOUT,
            freezes: false,
            folder: data.path().to_owned(),
        };
        let lambda = Consume::start(plan, SANDBOXES).await;

        let producer = Producer::new(&settings).unwrap();
        let (clock, metrics) = (Clock::system(), Metrics::default());
        let ingest = Ingest::new(pool.clone(), Arc::clone(&registry), producer, clock, WAIT_FOR_PARENT, metrics);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = axum::serve(listener, serve(ingest::routes_for_anyone(Arc::new(ingest)))).into_future();
        let mut world = Self {
            kafka,
            postgres,
            lambda,
            url,
            pool,
            registry,
            settings,
            seed,
            mappings: Vec::new(),
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
            _data: data,
        };
        world.consume("sluice");
        world
    }

    /// Begins to deliver every topic, in groups of these names. A new group begins at the start.
    fn consume(&mut self, groups: &str) {
        let function = Arc::new(OverHttp::new(&self.lambda.url, "consume").unwrap());
        let mut random = StdRng::seed_from_u64(hash(&(self.seed, groups)));
        for contract in self.registry.contracts() {
            // Small and large batches; none waits long for more, so that there are many.
            let mapping = MappingConfiguration {
                group: group(groups, &contract.topic),
                batch_size: [100, 1_000, 10_000][random.random_range(0..3)],
                window: Duration::from_millis(random.random_range(10..200)),
                ..MappingConfiguration::of_topic(&contract.topic)
            };
            self.mappings.push(EventSourceMapping::start(mapping, &self.settings, function.clone()).unwrap());
        }
    }

    /// Finishes what is in flight, and delivers nothing further.
    pub(crate) async fn stop_consuming(&mut self) {
        join_all(self.mappings.drain(..).map(EventSourceMapping::stop)).await;
    }

    /// Delivers everything that was ever sent, from the start of every topic.
    pub(crate) async fn deliver_everything_again(&mut self) {
        self.stop_consuming().await;
        let ends = self.log_ends().await;
        self.consume("again");
        let begun = tokio::time::Instant::now();
        while self.committed("again").await != ends {
            assert!(begun.elapsed() < super::kills::PATIENCE, "not everything was delivered again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.stop_consuming().await;
    }

    /// The offset after the last record of each partition that has one.
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

    /// What groups of these names have committed.
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

    /// Stops everything.
    pub(crate) async fn stop(mut self) {
        self.stop_consuming().await;
        self.lambda.stop().await;
        self.pool.close().await;
        self.kafka.stop().await;
        self.postgres.stop().await;
    }
}

fn group(groups: &str, topic: &str) -> String {
    format!("{groups}-{topic}")
}
