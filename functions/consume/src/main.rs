//! The function `consume` on AWS Lambda.

use std::process::ExitCode;

use consume::{Consume, lambda};
use lambda_runtime::Error;
use shared::metrics::Metrics;
use shared::start::World;
use shared::telemetry;

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
    // A sandbox has one invocation at a time.
    let World { registry, pool, login, clock, wait_for_parent } = World::connect(1).await?;
    let metrics = Metrics::default();
    let consume = Consume::new(pool, registry, clock, wait_for_parent, metrics.clone());
    lambda::run(&consume, &login, &metrics).await
}
