//! Logs. Each entry is one line: JSON on Lambda, and plain text elsewhere, unless `LOG_FORMAT` says otherwise.

use std::io::{IsTerminal as _, Stderr, stderr};
use std::panic::{set_hook, take_hook};
use std::str::FromStr as _;
use std::sync::OnceLock;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log_writer::LogWriter;
use super::settings::{SettingsError, from_env};

const DEFAULT_LEVELS: &str = "info,sqlx=warn";

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    /// JSON. On Lambda, lines have no time, because CloudWatch adds it.
    Json,
}

static LOG: OnceLock<LogWriter<Stderr>> = OnceLock::new();

/// Starts logging at the levels in `RUST_LOG`. The default is `info`, and `warn` for sqlx, because sqlx logs
/// PostgreSQL's notices. Logs go to standard error and never contain a payload. [`flush`] writes the lines that still
/// wait.
///
/// # Errors
/// `LOG_FORMAT` or `RUST_LOG` is malformed. Logging is started even then, so that the error can be logged.
pub fn start() -> Result<(), SettingsError> {
    let is_on_lambda = std::env::var_os("AWS_LAMBDA_FUNCTION_NAME").is_some();
    let default = if is_on_lambda { Format::Json } else { Format::Text };
    let (format, levels) = (format(from_env), levels(from_env));
    let log = LOG.get_or_init(|| log(is_on_lambda)).clone();
    let levels_or_default = levels.clone().unwrap_or_else(|_| Targets::from_str(DEFAULT_LEVELS).unwrap_or_default());
    let lines = layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(log);
    let logs = registry().with(levels_or_default);
    // Each of these fails only if logging has already been started, as in tests that share a process.
    let _already_started = match format.clone().ok().flatten().unwrap_or(default) {
        Format::Json if is_on_lambda => logs.with(lines.json().flatten_event(true).without_time()).try_init(),
        Format::Json => logs.with(lines.json().flatten_event(true)).try_init(),
        Format::Text => logs.with(lines).try_init(),
    };
    format.and(levels).map(drop)
}

/// Returns the log's writer. On Lambda, it writes each line at once, because the function may be frozen once it has
/// answered.
fn log(is_on_lambda: bool) -> LogWriter<Stderr> {
    if is_on_lambda {
        return LogWriter::direct(stderr());
    }
    // A panic may end the process, so the panic hook writes the waiting lines first.
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        flush();
        report(panic);
    }));
    LogWriter::collecting(stderr()).unwrap_or_else(|_no_thread| LogWriter::direct(stderr()))
}

/// Writes the log's waiting lines. A process calls this before it ends.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
}

fn format(variable: impl Fn(&'static str) -> Option<String>) -> Result<Option<Format>, SettingsError> {
    const NAME: &str = "LOG_FORMAT";
    match variable(NAME).as_deref() {
        None => Ok(None),
        Some("text") => Ok(Some(Format::Text)),
        Some("json") => Ok(Some(Format::Json)),
        Some(_) => Err(SettingsError::Malformed { name: NAME, expected: "text or json" }),
    }
}

/// Reads the levels by module. A filter that also looked at the fields of spans would slow down every request.
fn levels(variable: impl Fn(&'static str) -> Option<String>) -> Result<Targets, SettingsError> {
    const NAME: &str = "RUST_LOG";
    let levels = variable(NAME).unwrap_or_else(|| DEFAULT_LEVELS.to_owned());
    let expected = "log levels, such as info or info,sqlx=debug";
    levels.parse().map_err(|_| SettingsError::Malformed { name: NAME, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_malformed_variable() {
        let refusal = |name: &'static str, value: &'static str| {
            let variable = |asked: &'static str| (asked == name).then(|| value.to_owned());
            format(variable).map(drop).and(levels(variable).map(drop)).err().map(|error| error.to_string())
        };
        for (name, value) in [("LOG_FORMAT", "text"), ("LOG_FORMAT", "json"), ("RUST_LOG", "warn,shared=trace")] {
            assert_eq!(refusal(name, value), None, "{name}={value}");
        }
        let expected = "LOG_FORMAT is malformed: it should hold text or json";
        assert_eq!(refusal("LOG_FORMAT", "JSON lines").as_deref(), Some(expected));
        let expected = "RUST_LOG is malformed: it should hold log levels, such as info or info,sqlx=debug";
        assert_eq!(refusal("RUST_LOG", "shared=loud").as_deref(), Some(expected));
    }
}
