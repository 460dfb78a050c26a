//! Emulates EventBridge's schedules: invokes functions at the times in `template.yaml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use reqwest::Url;
use serde_json::json;
use serde_norway::Value;
use shared::process::clock::Clock;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::event_source_mapping::function::{EndpointError, Function as _, OverHttp};
use crate::template::{Template, TemplateError};

/// Why the schedules cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The template cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A schedule is malformed.
    #[error("{}: {event}/Properties/Schedule should be a schedule such as cron(0 * * * ? *) or rate(5 minutes)", .path.display())]
    Expression {
        /// The file.
        path: PathBuf,
        /// The function and its event.
        event: String,
    },
}

/// One function's schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The name of the function's binary.
    pub function: String,
    /// The event's name in the template.
    pub name: String,
    when: When,
    retries: usize,
}

/// When a schedule fires. <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
#[derive(Debug, Clone)]
enum When {
    /// `cron(…)`, in UTC.
    Cron(Box<Cron>),
    /// `rate(…)`.
    Every(Duration),
}

/// Returns the schedules of the functions in a template.
///
/// # Errors
/// The template cannot be read, or a schedule in it is invalid.
pub fn read_template(path: &Path) -> Result<Vec<Schedule>, ScheduleError> {
    let template = Template::read(path)?;
    let mut schedules = Vec::new();
    for (resource, function) in template.resources() {
        let binary = function
            .get("Metadata")
            .and_then(|metadata| metadata.get("BuildProperties"))
            .and_then(|properties| properties.get("Binary"));
        let events = function.get("Properties").and_then(|properties| properties.get("Events"));
        for (name, event) in events.and_then(Value::as_mapping).into_iter().flatten() {
            if event.get("Type").and_then(Value::as_str) != Some("Schedule") {
                continue;
            }
            let name = name.as_str().unwrap_or_default();
            let expression = event.get("Properties").and_then(|properties| properties.get("Schedule"));
            let when = expression.and_then(Value::as_str).and_then(When::parse).ok_or_else(|| {
                ScheduleError::Expression { path: path.to_owned(), event: format!("{resource}/Events/{name}") }
            })?;
            let binary = binary.and_then(Value::as_str).unwrap_or(resource).to_owned();
            schedules.push(Schedule { function: binary, name: name.to_owned(), when, retries: retries(function) });
        }
    }
    Ok(schedules)
}

/// Returns how many times a failed invocation of a function is retried. `EventInvokeConfig` may ask for fewer retries
/// than the default.
fn retries(function: &Value) -> usize {
    let config = function.get("Properties").and_then(|properties| properties.get("EventInvokeConfig"));
    let configured = config.and_then(|config| config.get("MaximumRetryAttempts")).and_then(Value::as_u64);
    configured.and_then(|retries| usize::try_from(retries).ok()).unwrap_or(RETRY_AFTER.len())
}

impl When {
    fn parse(expression: &str) -> Option<Self> {
        let inner = |kind: &str| expression.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(rate) = inner("rate") {
            let (number, unit) = rate.trim().split_once(' ')?;
            let seconds = match unit.trim_end_matches('s') {
                "minute" => 60,
                "hour" => 3_600,
                "day" => 86_400,
                _ => return None,
            };
            let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
            return Some(Self::Every(Duration::from_secs(number.checked_mul(seconds)?)));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(Year::Required)
            .alternative_weekdays(true)
            .sloppy_ranges(true)
            .build();
        parser.parse(&format!("0 {}", inner("cron")?)).ok().map(|cron| Self::Cron(Box::new(cron)))
    }

    /// Returns the next time after `now` at which the schedule fires, if there is one.
    fn after(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => {
                let next: Zoned = cron.find_next_occurrence(&now.to_zoned(TimeZone::UTC), false).ok()?;
                Some(next.timestamp())
            }
            Self::Every(period) => now.checked_add(*period).ok(),
        }
    }
}

/// Returns the event that a schedule sends.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html>
pub fn event(name: &str, time: Timestamp) -> serde_json::Value {
    json!({
        "version": "0",
        "id": Uuid::new_v4().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": "local",
        "resources": [format!("arn:aws:events:local:123456789012:rule/{name}")],
        "detail": {}
    })
}

/// Fires schedules until this value is dropped.
#[derive(Debug)]
pub struct Scheduler {
    _running: Vec<AbortOnDropHandle<()>>,
}

impl Scheduler {
    /// Invokes the schedules' functions at `endpoint`.
    ///
    /// # Errors
    /// The endpoint is an address without a path, such as `mailto:`, or the HTTP client cannot be set up.
    pub fn start(schedules: Vec<Schedule>, endpoint: &Url, clock: &Clock) -> Result<Self, EndpointError> {
        let start = |schedule: Schedule| {
            let function = Arc::new(OverHttp::new(endpoint, &schedule.function)?);
            Ok(AbortOnDropHandle::new(tokio::spawn(fire_forever(schedule, function, clock.clone()))))
        };
        Ok(Self { _running: schedules.into_iter().map(start).collect::<Result<_, _>>()? })
    }
}

/// The delays before retries. EventBridge invokes a function asynchronously, and by default Lambda retries a failed
/// asynchronous invocation twice: after one minute, and then after two more minutes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

async fn fire_forever(schedule: Schedule, function: Arc<OverHttp>, clock: Clock) {
    let now = || Timestamp::from_millisecond(clock.now_ms()).unwrap_or_default();
    while let Some(next) = schedule.when.after(now()) {
        wait_until(next, now).await;
        let payload = event(&schedule.name, next).to_string();
        let mut pauses = RETRY_AFTER.iter().take(schedule.retries);
        while let Err(error) = function.invoke(payload.clone().into()).await {
            tracing::error!(function = schedule.function, %error, "a scheduled invocation failed");
            let Some(pause) = pauses.next() else { break };
            tokio::time::sleep(*pause).await;
        }
    }
}

/// Sleeps until a time. Sleeps in short steps, because the machine may be suspended, or its clock may be changed.
async fn wait_until(time: Timestamp, now: impl Fn() -> Timestamp) {
    const STEP: Duration = Duration::from_secs(1);
    while let Ok(left) = Duration::try_from(time.duration_since(now()))
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(STEP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, now: &str) -> Option<String> {
        let next = When::parse(expression)?.after(now.parse().unwrap())?;
        Some(next.to_string())
    }

    #[test]
    fn a_schedule_fires_at_the_next_matching_time() {
        let now = "2026-11-21T16:00:00Z";
        for (expression, then) in [
            ("cron(0 * * * ? *)", "2026-11-21T17:00:00Z"),
            ("cron(0/15 * * * ? *)", "2026-11-21T16:15:00Z"),
            ("cron(30 8 ? * MON-FRI *)", "2026-11-23T08:30:00Z"),
            ("cron(0 10 ? * 7 *)", "2026-11-28T10:00:00Z"),
            ("cron(0 0 1 1 ? 2028)", "2028-01-01T00:00:00Z"),
            ("rate(5 minutes)", "2026-11-21T16:05:00Z"),
            ("rate(1 hour)", "2026-11-21T17:00:00Z"),
        ] {
            assert_eq!(next(expression, now).as_deref(), Some(then), "{expression}");
        }
        for wrong in ["", "hourly", "cron(0 * * * *)", "cron(61 * * * ? *)", "rate(0 minutes)", "rate(1 fortnight)"] {
            assert!(When::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_template_sends_the_report_every_hour_and_invokes_console_and_consume_every_minute() {
        let schedules = read_template(&crate::template::own_path()).unwrap();
        let now = "2026-11-21T16:59:59.5Z".parse().unwrap();
        let found: Vec<(&str, &str, String, usize)> = schedules
            .iter()
            .map(|Schedule { function, name, when, retries }| {
                (function.as_str(), name.as_str(), when.after(now).unwrap().to_string(), *retries)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("console", "Minutely", "2026-11-21T17:00:59.5Z".to_owned(), 0),
                ("report", "Hourly", "2026-11-21T17:00:00Z".to_owned(), 2),
                ("consume", "Compare", "2026-11-21T17:00:59.5Z".to_owned(), 0),
            ]
        );
    }
}
