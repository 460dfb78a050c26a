//! The function `migrate` on AWS Lambda. It reads its settings at each invocation instead of at the start, so that it
//! can report a wrong setting to CloudFormation.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use migrate::MigrateFunction;
use serde_json::value::RawValue;
use shared::aws::Aws;
use shared::process::settings::from_env;
use shared::process::telemetry;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let function = MigrateFunction::new(telemetry::start(), from_env, Aws::default());
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        function.invoke(event.payload.get(), event.context.deadline()).await
    }))
    .await
}
