//! The function `users` on AWS Lambda.

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
use users::{Users, UsersSettings};

/// One request at a time on Lambda, beside which the outbox is sent.
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
    let users = UsersSettings::read(from_env)?;
    let registry = Arc::new(Registry::load(settings.contracts_dir.as_deref())?);
    let producer = Producer::new(&settings.kafka)?;
    let pool = database::connect(&settings.database_url, DATABASE_CONNECTIONS)?;
    // Connects while the runtime starts. Where it fails, the first request that needs it tells.
    let connecting = pool.clone();
    tokio::spawn(async move { connecting.acquire().await.map(drop) });
    let clock = Clock::system();
    let relay = Relay::of(&registry, &pool, &producer);
    let identity = Identity::new(pool.clone(), clock.clone(), &identity, relay);
    let users = Users::new(identity, pool.clone(), clock, users);
    lambda::run(users::routes(users), pool, Metrics::default()).await
}
