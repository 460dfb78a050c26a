//! The function `report` on AWS Lambda: API Gateway requests reports, and EventBridge triggers the hourly mail.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use report::{ReportFunction, ReportSettings, Reports, SMTP_SECRET};
use serde_json::value::RawValue;
use shared::aws::Aws;
use shared::database;
use shared::http::login::logged_in;
use shared::process::settings::from_env;
use shared::start::{self, HttpWorld, World};

/// Lambda runs one invocation at a time, so one connection is enough for invocations. The second connection is for the
/// task that reads login attempts from the outbox (a table) and sends them to Kafka, because this task may run at the
/// same time as an invocation.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    start::run(run()).await
}

async fn run() -> Result<(), Error> {
    let aws = Aws::default();
    let smtp = match from_env(SMTP_SECRET) {
        Some(arn) => Some(aws.secret(SMTP_SECRET, &arn).await?),
        None => None,
    };
    let report = ReportSettings::read_with_secret(from_env, smtp.as_ref())?;
    let HttpWorld { world, identity, .. } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { pool, login, clock, .. } = world;
    let reports = Reports::new(pool.clone(), clock, &report, &aws)?;
    let routes = logged_in(report::routes(reports.clone(), identity), login.clone());
    let function = ReportFunction::new(reports, routes);
    start::close_on_shutdown(pool.clone()).await;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        // If the database refuses the login, the invocation is run again. This is safe, because the hour's mail is sent
        // only once.
        let answer = login.run(async || function.invoke(event.payload.get(), event.context.clone()).await).await;
        // Lambda may freeze the process as soon as the answer is sent.
        database::wait_until_idle(&pool).await;
        answer
    }))
    .await
}
