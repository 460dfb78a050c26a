//! Distinguishes two kinds of invocation: requests from API Gateway, and the schedule's events, which EventBridge sends
//! every minute.

use std::sync::Arc;

use axum::Router;
use lambda_runtime::{Context, Diagnostic};
use serde_json::value::{RawValue, to_raw_value};
use shared::http::lambda::HttpFunction;
use shared::process::schedule::is_schedule;

use crate::error::Error;
use crate::{Console, schedule};

/// Why the scheduled work failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(Error);

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event comes from neither API Gateway nor a schedule.
    #[error("the event is from neither API Gateway nor a schedule: {0}")]
    Event(#[from] serde_json::Error),
    /// The database failed, or the broker did not acknowledge replays. The schedule's next invocation tries again.
    #[error("the scheduled work failed: {0}")]
    Schedule(#[from] ScheduleError),
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match &error {
            InvocationError::Event(_) => "Sluice.NotAnEvent",
            InvocationError::Schedule(_) => "Sluice.Schedule",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// The function, which handles both kinds of event.
#[derive(Clone)]
pub struct ConsoleFunction {
    console: Arc<Console>,
    http: HttpFunction,
}

impl ConsoleFunction {
    /// Creates a function that answers requests with `routes`, and does the scheduled work with `console`.
    pub fn new(console: Arc<Console>, routes: Router) -> Self {
        Self { console, http: HttpFunction::new(routes) }
    }

    /// Handles an event in JSON: answers a request, or does the scheduled work.
    ///
    /// # Errors
    /// The event comes from neither API Gateway nor a schedule, or the scheduled work failed.
    pub async fn invoke(&self, event: &str, context: Context) -> Result<Box<RawValue>, InvocationError> {
        if is_schedule(event.as_bytes()) {
            // The future is boxed, because the compiler limits how deeply futures may nest.
            return Ok(to_raw_value(&Box::pin(schedule::run(&self.console)).await.map_err(ScheduleError)?)?);
        }
        Ok(self.http.invoke(event, context).await?)
    }
}
