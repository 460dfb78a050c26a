//! Measures the time from sending an event until its row is visible to other sessions.
//!
//! Events are sent at a fixed rate, whether or not earlier events have landed. The time counts from the moment at which
//! an event was due to be sent. So if the server falls behind, later events count the delay, too. For comparison, a
//! bare pipeline sends the events straight to Kafka, and inserts each with a statement of its own.

mod bare;
mod event;
mod visible;

use std::path::Path;
use std::time::{Duration, Instant};

use local::CommandError;
use local::servers::RunningServers;
use operator::OperatorError;
use operator::terminal::complain;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use shared::contract::Registry;
use shared::database;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, topics};
use tokio::task::JoinSet;

use self::bare::Bare;
use self::event::Event;
use self::visible::{Moments, Watch};
use crate::contracts::copy_built_in;
use crate::gateway::backlog::Backlog;
use crate::gateway::load::{self, Load};
use crate::gateway::serve::Kind;
use crate::gateway::server::Surroundings;
use crate::gateway::{LANDING_TOPIC, LoggedIn, PASSWORD, USER};
use crate::table::{Cell, Table};

/// The rate at which the latencies are compared with those of the bare pipeline, in events per second.
const RATE: u32 = 100;
/// The number of connections with which the server's highest rate is measured.
const CONNECTIONS: u32 = 32;
const WARM_UP: Duration = Duration::from_secs(2);
const COLUMNS: [&str; 7] = [
    "events",
    "per second",
    "p50 ms",
    "p50 relative to the bare pipeline",
    "p99 ms",
    "p99.9 ms",
    "from the row to the answer, p50 ms",
];

/// Measures and prints the latencies. Returns the table as JSON.
pub(crate) async fn measure(servers: &RunningServers, folder: &Path, each: Duration) -> Result<Value, CommandError> {
    load::install().await?;
    let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
    let contracts = folder.join("latency");
    copy_built_in(&contracts).map_err(CommandError::Data)?;
    let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
    let registry = Registry::load(Some(&contracts))?;
    topics::ensure(&kafka, &registry).await.map_err(OperatorError::from)?;
    let pool = database::connect(&servers.database_url, 1)?;
    database::migrate(&pool, None).await?;
    let name = UserName::parse(USER).map_err(|error| failed(&error))?;
    make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;
    let partitions = registry.topic(LANDING_TOPIC).map_or(1, |contract| contract.partitions);
    let backlog = Backlog { topic: LANDING_TOPIC, partitions, reader: KafkaReader::new(kafka.clone()), pool };

    let watch = Watch::start(&servers.database_url)?;
    let title = format!("From sending an event to its visible row: {} s at each rate, window 0", each.as_secs());
    let mut table = Table::new(title, &COLUMNS);
    let pipeline = Bare::start(&kafka, &servers.database_url).await?;
    let bare = Measured::run(&watch, RATE, each, |event| pipeline.send(event)).await?;
    drop(pipeline);
    table.row(&bare.row("straight to Kafka, then an insert each", &bare));
    let surroundings = Surroundings {
        brokers: &servers.bootstrap_servers,
        database: &servers.database_url,
        contracts: &contracts,
        window: Some(Duration::ZERO),
    };
    let client = Client::start(&surroundings).await?;
    let sluice = Measured::run(&watch, RATE, each, |event| client.post(event, None)).await?;
    table.row(&sluice.row("Sluice", &bare));
    let waited = Measured::run(&watch, RATE, each, |event| client.post(event, Some("wait=5"))).await?;
    table.row(&waited.row("Sluice, requests with `Prefer: wait`", &bare));
    let half = client.highest_rate(folder).await? / 2;
    backlog.landed_after().await?;
    let busy = Measured::run(&watch, half, each, |event| client.post(event, None)).await?;
    table.row(&busy.row("Sluice, half of the highest rate", &bare));
    backlog.pool.close().await;
    Ok(table.end())
}

/// Sluice, and a client of it.
struct Client {
    server: LoggedIn,
    client: reqwest::Client,
}

impl Client {
    async fn start(surroundings: &Surroundings<'_>) -> Result<Self, CommandError> {
        let client = reqwest::Client::builder().build().map_err(|error| CommandError::Bench(error.to_string()))?;
        Ok(Self { server: LoggedIn::start(Kind::Landing, surroundings).await?, client })
    }

    fn url(&self) -> String {
        format!("{}/events/user-event", self.server.server.url)
    }

    fn post(&self, event: Event, prefer: Option<&str>) -> impl Future<Output = Result<(), CommandError>> + use<> {
        let mut request = self
            .client
            .post(self.url())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, &self.server.authorization)
            .body(event.body);
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        async move {
            let answer = request.send().await.map_err(|error| CommandError::Bench(error.to_string()))?;
            if !answer.status().is_success() {
                return Err(CommandError::Bench(format!("an event was answered with {}", answer.status())));
            }
            Ok(())
        }
    }

    /// Returns how many events per second the server accepts while their rows land.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of some thousands")]
    async fn highest_rate(&self, folder: &Path) -> Result<u32, CommandError> {
        let script = load::write_script(folder)?;
        let load = Load::run(&script, &self.url(), &self.server.authorization, CONNECTIONS, 2 * WARM_UP).await?;
        Ok(load.rate() as u32)
    }
}

/// The latencies of one run, each list sorted.
struct Measured {
    per_second: u32,
    /// From the moment at which an event was due to its visible row.
    visible: Vec<Duration>,
    /// From the visible row to the answer; zero if the answer came first.
    answered_after: Vec<Duration>,
}

impl Measured {
    /// Sends events at this rate, and waits until all of them are visible.
    async fn run<S, F>(watch: &Watch, per_second: u32, each: Duration, send: S) -> Result<Self, CommandError>
    where
        S: Fn(Event) -> F,
        F: Future<Output = Result<(), CommandError>> + Send + 'static,
    {
        complain(format_args!("{per_second} events per second"));
        Self::send_all(watch, per_second, WARM_UP, &send).await?;
        let moments = Self::send_all(watch, per_second, each, &send).await?;
        let sorted = |latency: fn(&Moments) -> Duration| {
            let mut latencies: Vec<Duration> = moments.iter().map(latency).collect();
            latencies.sort_unstable();
            latencies
        };
        let visible = sorted(|moments| moments.visible.saturating_duration_since(moments.due));
        let answered_after = sorted(|moments| moments.answered.saturating_duration_since(moments.visible));
        Ok(Self { per_second, visible, answered_after })
    }

    async fn send_all<S, F>(
        watch: &Watch,
        per_second: u32,
        each: Duration,
        send: &S,
    ) -> Result<Vec<Moments>, CommandError>
    where
        S: Fn(Event) -> F,
        F: Future<Output = Result<(), CommandError>> + Send + 'static,
    {
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for number in 0.. {
            let due = begun + Duration::from_secs(1) * number / per_second;
            if due >= begun + each {
                break;
            }
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            let event = Event::new();
            let (id, watch) = (event.id, watch.clone());
            watch.sent(id, due);
            let sent = send(event);
            sending.spawn(async move {
                let answer = sent.await;
                watch.answered(id);
                answer
            });
        }
        while let Some(sent) = sending.join_next().await {
            sent.map_err(|error| CommandError::Bench(error.to_string()))??;
        }
        watch.all_visible().await
    }

    fn row(&self, what: &str, bare: &Self) -> [Cell; 7] {
        let ms = |latencies: &[Duration], share| percentile(latencies, share).as_secs_f64() * 1e3;
        // Latencies at different rates cannot be compared.
        let relative = match self.per_second == bare.per_second {
            true => Cell::Number(ms(&self.visible, 0.5) / ms(&bare.visible, 0.5), 2),
            false => Cell::Empty,
        };
        [
            Cell::text(what),
            Cell::Number(f64::from(self.per_second), 0),
            Cell::Number(ms(&self.visible, 0.5), 1),
            relative,
            Cell::Number(ms(&self.visible, 0.99), 1),
            Cell::Number(ms(&self.visible, 0.999), 1),
            Cell::Number(ms(&self.answered_after, 0.5), 1),
        ]
    }
}

/// Returns the latency at this share of the sorted list.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "list lengths are small"
)]
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
