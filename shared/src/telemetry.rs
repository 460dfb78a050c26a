//! Logs: one JSON line per event on Lambda, plain lines elsewhere.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging as `RUST_LOG` says; without it `info`, and of PostgreSQL's notices warnings only. Logs go to standard
/// error and never hold a payload.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Both fail only where logging is already started, as in tests that share a process.
    let _already_started = if std::env::var_os("AWS_LAMBDA_FUNCTION_NAME").is_some() {
        logs.json().flatten_event(true).without_time().try_init()
    } else {
        logs.try_init()
    };
}
