//! The function `ingest` on AWS Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use lambda_http::Error;
use shared::http::lambda;
use shared::http::login::logged_in;
use shared::identity::{Identity, Relay};
use shared::metrics::Metrics;
use shared::start::{HttpWorld, World};

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
    let HttpWorld { world, identity, producer } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { registry, pool, login, clock, wait_for_parent } = world;
    let relay = Relay::of(&registry, &pool, &producer);
    let identity = Identity::new(pool.clone(), clock.clone(), &identity, relay);
    let metrics = Metrics::default();
    let ingest = ingest::Ingest::new(pool.clone(), registry, producer, clock, wait_for_parent, metrics.clone());
    let routes = logged_in(ingest::routes(Arc::new(ingest), identity), login);
    lambda::run(routes, pool, metrics).await
}
