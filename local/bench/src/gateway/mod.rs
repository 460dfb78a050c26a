//! Measures how fast events can be posted over HTTP to three servers: Sluice with an event source mapping, Sluice
//! without one, and a bare gateway to Kafka.
//!
//! - `serve`: the servers, each in a separate process
//! - `server`: starts a server, and reads the CPU time and memory that its process used
//! - `load`, `load.lua`: the load generator
//! - `backlog`: the events that have not landed yet
//! - `figures`: the measurements and their table
//!
//! The servers alternate, so that variations in the machine's speed affect all of them alike.

pub(crate) mod backlog;
mod figures;
pub(crate) mod load;
pub(crate) mod serve;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use local::CommandError;
use local::servers::RunningServers;
use operator::OperatorError;
use operator::terminal::complain;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::database;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, topics};

use self::backlog::Backlog;
use self::figures::{Figures, Sample};
use self::load::Load;
use self::serve::{Kind, TOPIC};
use self::server::{Server, Surroundings};
use crate::contracts::copy_built_in;
use crate::table::{Cell, Table};

/// The topic whose events land.
pub(crate) const LANDING_TOPIC: &str = "user-events";
/// The topic whose events do not land.
const PAUSED_TOPIC: &str = "user-events-paused";
const CONNECTIONS: [u32; 3] = [1, 32, 128];
pub(crate) const USER: &str = "bench";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The number of rounds, and the duration of the load on each server in a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: u32,
    pub(crate) each: Duration,
}

/// Measures and prints the figures. Returns the tables as JSON.
pub(crate) async fn measure(
    servers: &RunningServers,
    folder: &Path,
    rounds: Rounds,
) -> Result<Vec<Value>, CommandError> {
    load::install().await?;
    let bench = Bench::prepare(servers, folder).await?;
    let mut tables = Vec::new();
    for connections in CONNECTIONS {
        tables.push(bench.at(connections, rounds).await?.print());
    }
    let mut memory = Table::new("Peak memory of each server".to_owned(), &["server", "bytes"]);
    for LoggedIn { server, .. } in &bench.running {
        #[expect(clippy::cast_precision_loss, reason = "no server has petabytes")]
        let bytes = server.peak_bytes()? as f64;
        memory.row(&[Cell::text(server.kind.argument()), Cell::Number(bytes, 0)]);
    }
    tables.push(memory.end());
    bench.backlog.pool.close().await;
    Ok(tables)
}

struct Bench {
    running: Vec<LoggedIn>,
    script: PathBuf,
    backlog: Backlog,
}

/// A server and the `Authorization` header for its requests.
pub(crate) struct LoggedIn {
    pub(crate) server: Server,
    pub(crate) authorization: String,
}

impl Bench {
    async fn prepare(servers: &RunningServers, folder: &Path) -> Result<Self, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
        let (landed, paused) = (folder.join("landed"), folder.join("paused"));
        copy_built_in(&landed).map_err(CommandError::Data)?;
        copy_built_in(&paused).map_err(CommandError::Data)?;
        let contract = paused.join("user-event.json");
        let text = std::fs::read_to_string(&contract).map_err(CommandError::Data)?;
        let (from, to) = (format!("\"topic\": \"{LANDING_TOPIC}\""), format!("\"topic\": \"{PAUSED_TOPIC}\""));
        std::fs::write(&contract, text.replace(&from, &to)).map_err(CommandError::Data)?;

        let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
        let registry = Registry::load(Some(&landed))?;
        topics::ensure(&kafka, &registry).await.map_err(OperatorError::from)?;
        topics::ensure(&kafka, &Registry::load(Some(&paused))?).await.map_err(OperatorError::from)?;
        let partitions = registry.topic(LANDING_TOPIC).map_or(1, |contract| contract.partitions);
        let admin: AdminClient<DefaultClientContext> = kafka.client_config().create()?;
        let topic = NewTopic::new(TOPIC, partitions, TopicReplication::Fixed(1));
        admin.create_topics([&topic], &AdminOptions::new()).await?;

        let pool = database::connect(&servers.database_url, 1)?;
        database::migrate(&pool, None).await?;
        let name = UserName::parse(USER).map_err(|error| failed(&error))?;
        make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;
        let mut running = Vec::new();
        for (kind, contracts) in [(Kind::Bare, &landed), (Kind::Paused, &paused), (Kind::Landing, &landed)] {
            let (brokers, database) = (&*servers.bootstrap_servers, &*servers.database_url);
            let surroundings = Surroundings { brokers, database, contracts, window: None };
            running.push(LoggedIn::start(kind, &surroundings).await?);
        }
        let script = load::write_script(folder)?;
        let backlog = Backlog { topic: LANDING_TOPIC, pool, reader: KafkaReader::new(kafka), partitions };
        Ok(Self { running, script, backlog })
    }

    /// Measures every server once in each round.
    async fn at(&self, connections: u32, rounds: Rounds) -> Result<Figures, CommandError> {
        const WARM_UP: Duration = Duration::from_secs(2);
        let mut figures = Figures::new(connections);
        for server in &self.running {
            self.load(server, connections, WARM_UP).await?;
            self.backlog.landed_after().await?;
        }
        for round in 1..=rounds.count {
            complain(format_args!("{connections} connections: round {round} of {}", rounds.count));
            for server in &self.running {
                let before = server.server.processor_time()?;
                let load = self.load(server, connections, rounds.each).await?;
                let processor_time = server.server.processor_time()?.saturating_sub(before);
                let lag = self.backlog.landed_after().await?;
                figures.add(server.server.kind, Sample { load, processor_time, lag });
            }
        }
        Ok(figures)
    }

    async fn load(&self, server: &LoggedIn, connections: u32, duration: Duration) -> Result<Load, CommandError> {
        let url = format!("{}/events/user-event", server.server.url);
        Load::run(&self.script, &url, &server.authorization, connections, duration).await
    }
}

impl LoggedIn {
    pub(crate) async fn start(kind: Kind, surroundings: &Surroundings<'_>) -> Result<Self, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
        let server = Server::start(kind, surroundings).await?;
        let authorization = match kind {
            Kind::Bare => String::new(),
            Kind::Paused | Kind::Landing => {
                let body = json!({"user": USER, "pass": PASSWORD});
                let client = reqwest::Client::builder().build().map_err(|error| failed(&error))?;
                let answer = client.post(format!("{}/login", server.url)).json(&body).send().await;
                let answer: Value =
                    answer.map_err(|error| failed(&error))?.json().await.map_err(|error| failed(&error))?;
                let token = answer["token"].as_str().ok_or_else(|| failed(&"no token"))?;
                format!("Bearer {token}")
            }
        };
        Ok(Self { server, authorization })
    }
}
