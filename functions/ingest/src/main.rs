//! The function `ingest` on AWS Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use lambda_http::Error;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database;
use shared::http::lambda;
use shared::identity::{Identity, IdentitySettings, Relay};
use shared::kafka::Producer;
use shared::metrics::Metrics;
use shared::settings::{Settings, from_env};

/// One request at a time on Lambda: a replay holds one connection, `/health` or a lookup another.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    shared::telemetry::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let settings = Settings::read(from_env)?;
    let identity = IdentitySettings::read(from_env)?;
    let registry = Arc::new(Registry::load(settings.contracts_dir.as_deref())?);
    let producer = Producer::new(&settings.kafka)?;
    let pool = database::connect(&settings.database_url, DATABASE_CONNECTIONS)?;
    // Connects while the runtime starts. Where it fails, the first request that needs it tells.
    let connecting = pool.clone();
    tokio::spawn(async move { connecting.acquire().await.map(drop) });
    let clock = Clock::system();
    let relay = Relay::of(&registry, &pool, &producer);
    let identity = Identity::new(pool.clone(), clock.clone(), &identity, relay);
    let metrics = Metrics::default();
    let ingest =
        ingest::Ingest::new(pool.clone(), registry, producer, clock, settings.wait_for_parent, metrics.clone());
    lambda::run(ingest::routes(Arc::new(ingest), identity), pool, metrics).await
}
