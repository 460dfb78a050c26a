//! The servers under load. Each runs in its own process, which is this program started again with the argument `serve`.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use clap::{Parser, ValueEnum};
use local::event_source_mapping::configuration;
use local::gateway::Gateway;
use local::{CommandError, command, function_settings, template};
use operator::environment::Environment;
use operator::terminal::say;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared::aws::Aws;
use shared::contract::Registry;
use shared::process::clock::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The topic of the bare gateway.
pub(super) const TOPIC: &str = "bare-events";
/// The argument that makes this program a server.
pub(crate) const SERVE: &str = "serve";

/// The kind of server that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A gateway that consists only of axum and rdkafka. No gateway to Kafka could cost much less.
    Bare,
    /// Sluice without an event source mapping.
    Paused,
    /// Sluice with its event source mapping.
    Landing,
}

impl Kind {
    /// Returns the kind's name on the command line.
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Paused => "paused",
            Self::Landing => "landing",
        }
    }
}

/// The command line of a server.
#[derive(Debug, Parser)]
pub(crate) struct Serve {
    #[arg(value_enum)]
    kind: Kind,
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    database: String,
    #[arg(long)]
    contracts: PathBuf,
    /// The mapping's batching window, instead of that of template.yaml.
    #[arg(long)]
    window_ms: Option<u64>,
}

impl Serve {
    /// Serves until the process is killed. Prints the port first.
    pub(crate) fn main() -> ExitCode {
        let serve = Self::parse_from(std::env::args_os().skip(1));
        command::main(async move { serve.run().await.map(|()| ExitCode::SUCCESS) })
    }

    async fn run(self) -> Result<(), CommandError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(CommandError::Serve)?;
        let port = listener.local_addr().map_err(CommandError::Serve)?.port();
        match self.kind {
            Kind::Bare => {
                let routes = self.bare()?;
                say(port);
                axum::serve(listener, routes).await.map_err(CommandError::Serve)
            }
            Kind::Paused | Kind::Landing => {
                let registry = Arc::new(Registry::load(Some(&self.contracts))?);
                let gateway = sluice(&self.brokers, &self.database, Arc::clone(&registry)).await?;
                let mut mappings = Vec::new();
                if self.kind == Kind::Landing {
                    for mut configuration in configuration::for_registry(&template::own_path(), &registry)? {
                        if let Some(window_ms) = self.window_ms {
                            configuration.window = Duration::from_millis(window_ms);
                        }
                        mappings.push(gateway.start_mapping(configuration)?);
                    }
                }
                say(port);
                gateway.serve(listener, CancellationToken::new()).await.map_err(CommandError::Serve)
            }
        }
    }

    fn bare(&self) -> Result<Router, CommandError> {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .create()?;
        Ok(Router::new().route("/events/{stream}", post(send)).with_state(producer))
    }
}

/// Sets up Sluice's functions in this process.
pub(crate) async fn sluice(brokers: &str, database: &str, registry: Arc<Registry>) -> Result<Gateway, CommandError> {
    let environment = Environment::default();
    let settings = function_settings::settings_for(&environment, database, true)?;
    let kafka = function_settings::kafka_at(&environment, brokers, true)?.look_up(&Aws::default()).await?;
    let identity = function_settings::identity(&environment)?;
    let users = function_settings::users(&environment)?;
    // The gateway needs mail settings, but the benchmarks send no report.
    let reports = function_settings::reports(&environment, Some("smtp://127.0.0.1:1"), true)?;
    Gateway::new(settings, kafka, &identity, users, &reports, registry, Clock::system()).await
}

async fn send(State(producer): State<FutureProducer>, body: Bytes) -> (StatusCode, String) {
    let record = FutureRecord::<(), [u8]>::to(TOPIC).payload(body.as_ref());
    match producer.send_result(record) {
        Ok(report) => match report.await {
            Ok(Ok(delivery)) => (StatusCode::ACCEPTED, delivery.offset.to_string()),
            Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        },
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}
