//! `cargo local bench`, on a fresh Apache Kafka and PostgreSQL: events a second from Kafka to committed rows, beside
//! `psql \copy` of the same rows in the same run; what it costs to ask a request who it is; how long a report of ten
//! million events takes; how long functions take to start, and what
//! they cost.

mod cold_start;
mod cost;
mod invocation;
mod measure;
mod reports;
mod requests;
mod workload;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::measure::Bench as Measure;
use self::workload::WORKLOADS;
use crate::CommandError;
use crate::servers::{self, BrokerChoice, DataFolder, DatabaseChoice, PostgresOptions, RunningServers};
use crate::terminal::{complain, say};

/// Measures rates from Kafka to committed rows at batches of 100, 1,000 and 10,000, beside psql's \copy of the same
/// rows; requests with and without credentials; reports of ten million events; how long functions take to start; and what they
/// cost.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How many events each figure is measured with.
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    events: u64,
    /// Measures this only.
    #[arg(value_enum)]
    only: Option<Only>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Requests with and without credentials.
    Requests,
    /// From Kafka to committed rows.
    Landing,
    /// `GET /report` beside ten million events.
    Reports,
    /// From the start of a function's process to its first answer.
    ColdStart,
    /// What an invocation takes, and what a million events cost.
    Cost,
}

const BATCH_SIZES: [usize; 3] = [100, 1_000, 10_000];

impl Bench {
    pub(crate) async fn run(self) -> Result<ExitCode, CommandError> {
        if cfg!(debug_assertions) {
            complain("building with --release first: figures of any other build would mislead");
            let error = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .args(["run", "--release", "--package", "local", "--"])
                .args(std::env::args_os().skip(1))
                .env("RUST_LOG", std::env::var_os("RUST_LOG").unwrap_or_else(|| "warn".into()))
                .exec();
            return Err(CommandError::Command { program: "cargo".into(), source: error });
        }
        let data = DataFolder::temporary().map_err(CommandError::Data)?;
        let servers = RunningServers::start(
            &BrokerChoice::Embedded,
            &DatabaseChoice::Embedded,
            &data,
            PostgresOptions::default(),
        )
        .await?;
        let outcome = tokio::select! {
            outcome = self.measure(&servers, data.path()) => outcome,
            died = servers.died() => Err(died.into()),
        };
        servers.stop().await;
        servers::all_let_go_have_ended().await;
        outcome.map(|()| ExitCode::SUCCESS)
    }

    async fn measure(&self, servers: &RunningServers, folder: &Path) -> Result<(), CommandError> {
        let wants = |what| self.only.is_none_or(|only| only == what);
        if wants(Only::Landing) {
            self.measure_landing(servers, folder).await?;
        }
        // Afterwards, as their events share a topic with its.
        if wants(Only::Requests) {
            requests::measure(servers).await?;
        }
        if wants(Only::Reports) {
            reports::measure(servers).await?;
        }
        if wants(Only::ColdStart) {
            cold_start::measure(servers, folder).await?;
        }
        if wants(Only::Cost) {
            cost::measure(servers, folder).await?;
        }
        Ok(())
    }

    async fn measure_landing(&self, servers: &RunningServers, folder: &Path) -> Result<(), CommandError> {
        say(format_args!("{} events each; events a second, and how many of psql's \\copy that is", self.events));
        say("");
        say("| mode | events | batches of 100 | of 1,000 | of 10,000 | `\\copy` |");
        say("| --- | --- | --- | --- | --- | --- |");
        for workload in &WORKLOADS {
            let bench = Measure::prepare(servers, folder, workload, self.events).await?;
            let mut rates = Vec::with_capacity(BATCH_SIZES.len());
            let mut copies = Vec::new();
            for batch_size in BATCH_SIZES {
                rates.push(bench.land(batch_size).await?);
                copies.push(bench.copy().await?);
            }
            copies.sort_by(f64::total_cmp);
            let copy = copies[copies.len() / 2];
            let cells: Vec<String> =
                rates.iter().map(|rate| format!("{} ({:.2})", thousands(*rate), rate / copy)).collect();
            say(format_args!(
                "| `{}` | {} | {} | {} |",
                workload.mode,
                workload.what,
                cells.join(" | "),
                thousands(copy)
            ));
        }
        Ok(())
    }
}

/// A rate, rounded to a hundred, as `12,300`.
fn thousands(rate: f64) -> String {
    let hundreds = format!("{:.0}", rate / 100.0);
    match hundreds.split_at_checked(hundreds.len().saturating_sub(1)) {
        Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest}00"),
        _ => format!("{hundreds}00"),
    }
}
