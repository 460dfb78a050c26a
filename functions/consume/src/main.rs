//! The function `consume` on AWS Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use consume::{Consume, lambda};
use lambda_runtime::Error;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::metrics::Metrics;
use shared::settings::{Settings, from_env};
use shared::{database, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::start();
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
    let registry = Arc::new(Registry::load(settings.contracts_dir.as_deref())?);
    // A sandbox has one invocation at a time.
    let pool = database::connect(&settings.database_url, 1)?;
    let metrics = Metrics::default();
    let consume = Consume::new(pool, registry, Clock::system(), settings.wait_for_parent, metrics.clone());
    lambda::run(&consume, &metrics).await
}
