//! Delivers one batch: invokes the function until it accepts the batch.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::batch::{Batch, Envelope};
use super::function::Function;

/// The mapping stopped before the function accepted the batch.
#[derive(Debug)]
pub(super) struct Stopped;

/// The state that all deliveries of a mapping share.
pub(super) struct Delivery {
    /// The mapping's consumer group, for the log.
    pub(super) group: String,
    pub(super) envelope: Envelope,
    pub(super) function: Arc<dyn Function>,
    /// Once this token is cancelled, no further invocation begins.
    pub(super) stop: CancellationToken,
    /// Once this token is cancelled, the mapping no longer waits for running invocations.
    pub(super) abort: CancellationToken,
}

impl Delivery {
    /// Invokes the function with the batch until an invocation succeeds. As in Lambda's on-demand mode, neither the
    /// number of retries nor the records' age is limited.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
    pub(super) async fn deliver(&self, batch: &Batch) -> Result<(), Stopped> {
        let mut backoff = Backoff::default();
        let payload = batch.payload(&self.envelope);
        loop {
            let invocation = self.function.invoke(payload.clone());
            let Err(error) = self.abort.run_until_cancelled(invocation).await.ok_or(Stopped)? else {
                return Ok(());
            };
            let wait = backoff.next();
            tracing::warn!(
                group = self.group,
                from = batch.coordinates(),
                records = batch.len(),
                "the invocation failed and is retried in {} ms: {error}",
                wait.as_millis()
            );
            self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(Stopped)?;
        }
    }
}
