//! `consume` behind Lambda's runtime.

use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use shared::database::{self, Login};
use shared::metrics::{Metrics, embed};

use crate::{Consume, ConsumeError};

/// What an invocation keeps of its time, to end its transaction and to answer before Lambda ends the process.
const RESERVE: Duration = Duration::from_secs(1);

/// How long an invocation may take that is not told its deadline.
const UNTOLD: Duration = Duration::from_secs(300);

/// Takes Lambda's invocations, one at a time, until it ends the process. A batch that failed because the database no
/// longer lets us in is tried again with the login renewed.
///
/// # Errors
/// The runtime API does not do its part.
pub async fn run(consume: &Consume, login: &Login, metrics: &Metrics) -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let begun = Instant::now();
        let land = async || {
            // `cargo lambda watch` tells a time in 1970.
            let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(UNTOLD);
            consume.invoke(event.payload.get().as_bytes(), left.saturating_sub(RESERVE)).await
        };
        let landed = login.hold(land).await;
        if let Err(error) = &landed {
            let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(error_type = error.name(), elapsed_ms, "did not land");
        }
        embed(metrics);
        // The process may be frozen as soon as it has answered.
        database::settle(&consume.pool).await;
        landed.map_err(Diagnostic::from)
    }))
    .await
}

/// The type is short and stays as it is; the message is what people read. Neither holds anything of a record, as the
/// runtime logs both.
impl From<ConsumeError> for Diagnostic {
    fn from(error: ConsumeError) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}
