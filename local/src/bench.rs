//! `cargo local bench`: the command line of the crate `bench`, which this module builds and runs.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use operator::terminal::complain;

use crate::CommandError;

/// Measures the throughput from Kafka to committed rows, in batches of 100, 1,000 and 10,000 records, and compares it
/// with psql's \copy of the same rows. Measures how this throughput changes with bad rows, with a database that is far
/// away, and with more rows, streams or partitions. Measures the rate of posted events, compared with a bare gateway,
/// the time from a request until the event's row is visible, the rate of requests with and without credentials, and the
/// time of reports over ten million events. Measures the time of requests to most JSON routes, but not to `/follow`, in
/// a database with a million dead letters. Measures the start times and the cost of functions.
#[derive(Debug, Args)]
pub struct Bench {
    /// Number of events for each throughput figure.
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    pub events: u64,
    /// Number of rounds [default: 1 for landing, bad-rows, distance, growth and console, 5 for gateway, 8 for
    /// requests]. The other benchmarks ignore this option.
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// Seconds for which the gateway is under load in a round. Latencies are measured for twice as long.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub seconds: u64,
    /// Also writes the figures to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Runs only these benchmarks.
    #[arg(value_enum, value_name = "NAME")]
    pub only: Vec<Only>,
}

/// One group of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// Posting events, compared with a bare gateway (axum and rdkafka, nothing else). The load comes from wrk.
    Gateway,
    /// Time from a request until the event's row is visible.
    Latency,
    /// Requests with and without credentials.
    Requests,
    /// Throughput from Kafka to committed rows.
    Landing,
    /// The same in batches of 10,000 with bad rows.
    BadRows,
    /// The same in batches of 100 with a database that is far away.
    Distance,
    /// The same in batches of 1,000, while the number of rows, streams or partitions grows.
    Growth,
    /// `GET /report` over ten million events.
    Reports,
    /// Most JSON routes, but not `/follow`, with a million dead letters and ten million events.
    Console,
    /// Time from process start to a function's first answer.
    ColdStart,
    /// Resource usage of an invocation, and the cost of a million events.
    Cost,
}

impl Bench {
    /// Builds the benchmarks in release mode, and replaces this process with them.
    pub(crate) fn run() -> Result<ExitCode, CommandError> {
        complain("building with --release, because other builds give misleading figures");
        let error = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["run", "--release", "--package", "bench", "--"])
            // Skips the program's and the subcommand's names.
            .args(std::env::args_os().skip(2))
            .env("RUST_LOG", std::env::var_os("RUST_LOG").unwrap_or_else(|| "warn".into()))
            .exec();
        Err(CommandError::Command { program: "cargo".into(), source: error })
    }
}
