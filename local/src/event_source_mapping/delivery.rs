//! One batch's way through the function: until every record of it is taken or given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::answer::failed_of;
use super::backoff::Backoff;
use super::batch::{Batch, Envelope};
use super::configuration::FailurePolicy;
use super::discard::{Destination, Reason};
use super::function::{Function, FunctionError};

/// An invocation was given up: its batch is not taken.
#[derive(Debug)]
pub(super) struct GivenUp;

/// What the deliveries of a mapping have in common.
pub(super) struct Delivery {
    /// The mapping's consumer group, for the log.
    pub(super) group: String,
    pub(super) envelope: Envelope,
    pub(super) function: Arc<dyn Function>,
    pub(super) policy: FailurePolicy,
    pub(super) destination: Arc<Destination>,
    /// Begins no further invocation.
    pub(super) stop: CancellationToken,
    /// Does not wait for the one that runs.
    pub(super) abort: CancellationToken,
}

/// A part of a batch that is yet to be taken.
struct Part {
    batch: Batch,
    /// How often it was tried again.
    retries: u32,
}

/// How an invocation ended that is to be made up for.
enum Failure {
    /// The function failed: Lambda counts it.
    Function(String),
    /// The function took a part of the records, and reports the rest.
    Items(Batch),
    /// The function was not reached: it is tried until the records are too old.
    Unreached(String),
}

impl Delivery {
    /// Until every record is taken or given up. Without a policy nothing is given up: neither the number of tries nor
    /// the records' age ends it.
    pub(super) async fn deliver(&self, batch: Batch) -> Result<(), GivenUp> {
        let mut backoff = Backoff::default();
        let mut parts = VecDeque::from([Part { batch, retries: 0 }]);
        while let Some(mut part) = parts.pop_front() {
            self.give_up_what_is_too_old(&mut part.batch).await?;
            if part.batch.is_empty() {
                continue;
            }
            let Some(failure) = self.invoke(&part.batch).await? else {
                backoff = Backoff::default();
                continue;
            };
            let (counts, error) = match failure {
                Failure::Function(error) if self.policy.bisects && part.batch.len() > 1 => {
                    let retries = part.retries;
                    let (first, second) = part.batch.halves();
                    // Lambda does not count a split as a retry.
                    parts.push_front(Part { batch: second, retries });
                    parts.push_front(Part { batch: first, retries });
                    self.wait(&mut backoff, &parts[0], "its halves", &error).await?;
                    continue;
                }
                Failure::Function(error) => (true, error),
                Failure::Items(failed) => {
                    let error = format!("the function reports {} of {} records", failed.len(), part.batch.len());
                    part.batch = failed;
                    (true, error)
                }
                Failure::Unreached(error) => (false, error),
            };
            if counts && self.policy.most_retries.is_some_and(|most| part.retries >= most) {
                self.give_up(&part.batch, &Reason::RetryAttemptsExhausted(error)).await?;
                continue;
            }
            part.retries += u32::from(counts);
            self.wait(&mut backoff, &part, "the same records", &error).await?;
            parts.push_front(part);
        }
        Ok(())
    }

    async fn invoke(&self, batch: &Batch) -> Result<Option<Failure>, GivenUp> {
        let invocation = self.function.invoke(batch.payload(&self.envelope));
        let outcome = self.abort.run_until_cancelled(invocation).await.ok_or(GivenUp)?;
        Ok(match outcome {
            Ok(answer) if self.policy.reports_items => {
                let failed = failed_of(batch.clone(), &answer);
                (!failed.is_empty()).then_some(Failure::Items(failed))
            }
            Ok(_answer) => None,
            Err(error @ (FunctionError::Failed(_) | FunctionError::Panicked)) => {
                Some(Failure::Function(error.to_string()))
            }
            Err(error @ (FunctionError::Unreachable { .. } | FunctionError::Status { .. })) => {
                Some(Failure::Unreached(error.to_string()))
            }
        })
    }

    async fn give_up_what_is_too_old(&self, batch: &mut Batch) -> Result<(), GivenUp> {
        let Some(most_age) = self.policy.most_age else {
            return Ok(());
        };
        let oldest = SystemTime::now().checked_sub(most_age).and_then(|oldest| oldest.duration_since(UNIX_EPOCH).ok());
        let oldest_ms = oldest.and_then(|oldest| i64::try_from(oldest.as_millis()).ok()).unwrap_or_default();
        let too_old = batch.extract(|_, mark| mark.timestamp_ms.is_some_and(|time_ms| time_ms < oldest_ms));
        if too_old.is_empty() {
            return Ok(());
        }
        self.give_up(&too_old, &Reason::RecordAgeExceeded).await
    }

    async fn give_up(&self, batch: &Batch, reason: &Reason) -> Result<(), GivenUp> {
        self.abort.run_until_cancelled(self.destination.take(batch, reason)).await.ok_or(GivenUp)
    }

    async fn wait(&self, backoff: &mut Backoff, next: &Part, what: &str, error: &str) -> Result<(), GivenUp> {
        let wait = backoff.next();
        tracing::warn!(
            group = self.group,
            from = next.batch.coordinates(),
            records = next.batch.len(),
            "the invocation failed, {what} again in {} ms: {error}",
            wait.as_millis()
        );
        self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.ok_or(GivenUp)
    }
}
