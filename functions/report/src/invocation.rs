//! What invokes the function: API Gateway for a report, EventBridge for the hourly mail.

use axum::Router;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lambda_runtime::{Context, Diagnostic};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};
use shared::http::lambda::HttpFunction;

use crate::Reports;
use crate::schedule::ScheduleError;

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event comes from neither API Gateway nor a schedule.
    #[error("the event is from neither API Gateway nor a schedule: {0}")]
    Event(#[from] serde_json::Error),
    /// The report was not sent; the next run tries again.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match &error {
            InvocationError::Event(_) => "Sluice.NotAnEvent",
            InvocationError::Schedule(ScheduleError::Database(_)) => "Sluice.Database",
            InvocationError::Schedule(ScheduleError::Mail(_)) => "Sluice.Mail",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// The members of an event that show whether API Gateway or EventBridge sent the event. Only API Gateway's event has a
/// request context.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>,
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvocationEvent {
    request_context: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "time")]
    time: Option<Timestamp>,
}

/// Reads a time and rejects years before 1.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let time: Option<Timestamp> = Option::deserialize(deserializer)?;
    match time {
        Some(time) if time.to_zoned(TimeZone::UTC).year() < 1 => Err(D::Error::custom("the time is before the year 1")),
        time => Ok(time),
    }
}

/// The function, for both kinds of event.
#[derive(Clone)]
pub struct ReportFunction {
    reports: Reports,
    http: HttpFunction,
}

impl ReportFunction {
    /// Creates a function that mails `reports` and answers requests with `routes`.
    pub fn new(reports: Reports, routes: Router) -> Self {
        Self { http: HttpFunction::new(routes), reports }
    }

    /// Handles an event, given as JSON: answers a request, or mails the report of the schedule's hour.
    ///
    /// # Errors
    /// The event is neither a request nor a schedule's event, or the report was not sent.
    pub async fn invoke(&self, event: &str, context: Context) -> Result<Box<RawValue>, InvocationError> {
        let InvocationEvent { request_context, time } = serde_json::from_str(event)?;
        if request_context.is_some() {
            return Ok(self.http.invoke(event, context).await?);
        }
        Ok(to_raw_value(&self.reports.run(time).await?)?)
    }
}
