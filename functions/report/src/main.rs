//! The function `report` on AWS Lambda: API Gateway asks for reports, EventBridge has them mailed.

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use report::{Function, ReportSettings, Reports};
use serde_json::value::RawValue;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::identity::{Identity, IdentitySettings, Relay};
use shared::kafka::Producer;
use shared::settings::{Settings, from_env};
use shared::{database, telemetry};

/// One invocation at a time on Lambda, beside which the outbox is sent.
const DATABASE_CONNECTIONS: u32 = 2;

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
    let identity = IdentitySettings::read(from_env)?;
    let report = ReportSettings::read(from_env)?;
    let registry = Arc::new(Registry::load(settings.contracts_dir.as_deref())?);
    let producer = Producer::new(&settings.kafka)?;
    let pool = database::connect(&settings.database_url, DATABASE_CONNECTIONS)?;
    // Connects while the runtime starts. Where it fails, the first request that needs it tells.
    let connecting = pool.clone();
    tokio::spawn(async move { connecting.acquire().await.map(drop) });
    let clock = Clock::system();
    let relay = Relay::of(&registry, &pool, &producer);
    let identity = Identity::new(pool.clone(), clock.clone(), &identity, relay);
    let reports = Reports::new(pool.clone(), clock, &report)?;
    let function = Function::new(reports, identity);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let answer = function.invoke(event.payload.get(), event.context).await;
        // The process may be frozen as soon as it has answered.
        database::settle(&pool).await;
        answer
    }))
    .await
}
