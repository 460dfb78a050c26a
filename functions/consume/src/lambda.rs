//! Runs `consume` under Lambda's runtime.

use std::time::{Duration, SystemTime};

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use shared::database::Login;
use shared::metrics::{Metrics, embed};

use crate::{Consume, ConsumeError};

/// The part of an invocation's time that is reserved for ending the transaction and answering.
const RESERVE: Duration = Duration::from_secs(1);

/// The time limit of an invocation without a usable deadline.
const DEFAULT_TIME_LEFT: Duration = Duration::from_secs(300);

/// Handles Lambda's invocations, one at a time, until Lambda ends the process. If a batch fails because the database
/// refuses the login, the login is renewed and the batch is retried.
///
/// # Errors
/// The Runtime API fails.
pub async fn run(consume: &Consume, login: &Login, metrics: &Metrics) -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let land = async || {
            // `cargo lambda watch` reports a deadline in 1970. The default time limit then applies.
            let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(DEFAULT_TIME_LEFT);
            consume.invoke(event.payload.get().as_bytes(), left.saturating_sub(RESERVE)).await
        };
        let landed = login.run(land).await;
        embed(metrics);
        landed.map_err(Diagnostic::from)
    }))
    .await
}

/// The error's type is short and must not change. The message is for people. Neither contains any part of a record,
/// because the runtime logs both.
impl From<ConsumeError> for Diagnostic {
    fn from(error: ConsumeError) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}
