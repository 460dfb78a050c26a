//! The function `report` on AWS Lambda: API Gateway asks for reports, EventBridge has them mailed.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use report::{Function, ReportSettings, Reports};
use serde_json::value::RawValue;
use shared::aws::Aws;
use shared::http::login::logged_in;
use shared::identity::{Identity, Relay};
use shared::settings::from_env;
use shared::start::{HttpWorld, World};
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
    let report = ReportSettings::read(from_env)?;
    let HttpWorld { world, identity, producer } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { registry, pool, login, clock, .. } = world;
    let relay = Relay::of(&registry, &pool, &producer);
    let identity = Identity::new(pool.clone(), clock.clone(), &identity, relay);
    let reports = Reports::new(pool.clone(), clock, &report, &Aws::default())?;
    let routes = logged_in(report::routes(reports.clone(), identity), login.clone());
    let function = Function::new(reports, routes);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        // A mail is sent once for its hour, however often it is tried.
        let answer = login.hold(async || function.invoke(event.payload.get(), event.context.clone()).await).await;
        // The process may be frozen as soon as it has answered.
        database::settle(&pool).await;
        answer
    }))
    .await
}
