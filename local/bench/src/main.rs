//! `cargo local bench`: measures Sluice on a fresh Apache Kafka and PostgreSQL.
//!
//! It measures:
//!
//! - events per second from Kafka to committed rows, compared with `psql \copy` of the same rows in the same run; also
//!   with bad rows, with a database that is far away, and with more rows, streams and partitions
//! - the time from a request until the event's row is visible
//! - requests per second for posting events, compared with a bare gateway that only sends to Kafka
//! - the cost of authenticating a request
//! - the time of a report over ten million events
//! - the time of requests to most JSON routes, with a million dead letters in the database
//! - how long functions take to start, and what they cost

mod cold_start;
mod console;
mod contracts;
mod cost;
mod gateway;
mod invocation;
mod landing;
mod latency;
mod process;
mod reports;
mod requests;
mod spread;
mod table;
mod workload;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use local::bench::{Bench, Only};
use local::servers::{self, BrokerChoice, DataFolder, DatabaseChoice, PostgresOptions, RunningServers};
use local::{CommandError, command};
use mimalloc::MiMalloc;
use serde_json::{Value, json};

use self::gateway::Rounds;
use self::gateway::serve::{SERVE, Serve};
use self::landing::Prepared;

/// `local` and the functions `consume` and `consume-bigquery` use this allocator, too.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
        self.write(&outcome?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Runs the requested benchmarks. Returns their tables.
    async fn measure(&self, servers: &RunningServers, folder: &Path) -> Result<Vec<Value>, CommandError> {
        let wants = |what| self.0.only.is_empty() || self.0.only.contains(&what);
        let rounds = |default| self.0.rounds.unwrap_or(default);
        let mut tables = Vec::new();
        let mut prepared = Prepared::new(servers, folder, self.0.events)?;
        if wants(Only::Landing) {
            tables.push(landing::measure(&mut prepared, rounds(1)).await?);
        }
        if wants(Only::BadRows) {
            tables.push(landing::measure_bad_rows(&mut prepared, rounds(1)).await?);
        }
        if wants(Only::Distance) {
            tables.push(landing::measure_distance(&mut prepared, rounds(1)).await?);
        }
        if wants(Only::Growth) {
            tables.push(landing::measure_growth(&mut prepared, rounds(1)).await?);
        }
        if wants(Only::Gateway) {
            let rounds = Rounds { count: rounds(5), each: Duration::from_secs(self.0.seconds) };
            tables.extend(gateway::measure(servers, folder, rounds).await?);
        }
        if wants(Only::Latency) {
            tables.push(latency::measure(servers, folder, Duration::from_secs(2 * self.0.seconds)).await?);
        }
        if wants(Only::Requests) {
            tables.push(requests::measure(servers, rounds(8)).await?);
        }
        if wants(Only::Reports) {
            tables.push(reports::measure(servers).await?);
        }
        if wants(Only::Console) {
            tables.extend(console::measure(servers, rounds(1)).await?);
        }
        if wants(Only::ColdStart) {
            tables.push(cold_start::measure(servers, folder).await?);
        }
        if wants(Only::Cost) {
            tables.push(cost::measure(servers, folder).await?);
        }
        Ok(tables)
    }

    fn write(&self, tables: &[Value]) -> Result<(), CommandError> {
        let Some(path) = &self.0.json else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let figures = json!({"version": env!("CARGO_PKG_VERSION"), "cores": cores, "tables": tables});
        std::fs::write(path, format!("{figures:#}\n"))
            .map_err(|error| CommandError::Bench(format!("{}: {error}", path.display())))
    }
}
