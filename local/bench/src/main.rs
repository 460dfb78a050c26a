//! `cargo local bench`: measures Sluice on a fresh Apache Kafka and PostgreSQL.
//!
//! It measures events per second from Kafka to committed rows, next to `psql \copy` of the same rows in the same run;
//! posting events next to a bare gateway; the cost of authenticating a request; the time of a report over ten million
//! events; and how long functions take to start and what they cost.

mod cold_start;
mod contracts;
mod cost;
mod gateway;
mod invocation;
mod measure;
mod reports;
mod requests;
mod workload;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use local::bench::{Bench, Only};
use local::servers::{self, BrokerChoice, DataFolder, DatabaseChoice, PostgresOptions, RunningServers};
use local::{CommandError, command};
use operator::terminal::say;

use self::gateway::Rounds;
use self::gateway::serve::{SERVE, Serve};
use self::measure::Bench as Measure;
use self::workload::WORKLOADS;

const BATCH_SIZES: [usize; 3] = [100, 1_000, 10_000];

#[derive(Debug, Parser)]
#[command(name = "cargo local bench", bin_name = "cargo local bench")]
struct CommandLine {
    #[command(flatten)]
    bench: Bench,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return Serve::main();
    }
    let CommandLine { bench } = CommandLine::parse();
    command::main(Measurement(bench).run())
}

/// The requested benchmarks.
struct Measurement(Bench);

impl Measurement {
    async fn run(self) -> Result<ExitCode, CommandError> {
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
        servers::wait_for_dropped_servers().await;
        outcome.map(|()| ExitCode::SUCCESS)
    }

    async fn measure(&self, servers: &RunningServers, folder: &Path) -> Result<(), CommandError> {
        let wants = |what| self.0.only.is_none_or(|only| only == what);
        if wants(Only::Landing) {
            self.measure_landing(servers, folder).await?;
        }
        if wants(Only::Gateway) {
            let rounds = Rounds { count: self.0.rounds, each: Duration::from_secs(self.0.seconds) };
            gateway::measure(servers, folder, rounds, self.0.json).await?;
        }
        // Runs last, because its events share a topic with the throughput benchmark's.
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
        say(format_args!("{} events each; events per second, and the ratio to psql's \\copy", self.0.events));
        say("");
        say("| mode | events | batches of 100 | of 1,000 | of 10,000 | `\\copy` |");
        say("| --- | --- | --- | --- | --- | --- |");
        for workload in &WORKLOADS {
            let bench = Measure::prepare(servers, folder, workload, self.0.events).await?;
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

/// Formats a rate rounded to hundreds, such as `12,300`.
fn thousands(rate: f64) -> String {
    let hundreds = format!("{:.0}", rate / 100.0);
    match hundreds.split_at_checked(hundreds.len().saturating_sub(1)) {
        Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest}00"),
        _ => format!("{hundreds}00"),
    }
}
