//! `cargo local send`: sends random events, or the events of a file, through the HTTP API, and reports each outcome.
//!
//! `source` supplies events, `batch` groups them into requests, `gateway` posts the requests, `follow` looks up the
//! receipts of accepted events, and `tally` counts the outcomes. `run` connects these modules. A lane is a sequence of
//! requests: each request is sent after the previous request was answered. Lanes are sent concurrently.

mod account;
mod answer;
mod batch;
mod follow;
mod gateway;
mod pace;
mod pipeline;
mod progress;
mod run;
mod source;
mod stop;
mod summary;
mod tally;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use random_events::RandomEvents;
use reqwest::Url;
use shared::contract::{Contract, ContractError, Mode, Registry};
use shared::process::clock::Clock;

use crate::DEFAULT_ADDRESS;
use crate::credentials::Credentials;
use crate::environment::Environment;
use crate::interrupts::Interrupts;
use crate::terminal::{complain, say};

use batch::Lanes;
use gateway::{GatewayClient, GatewayError, Patience};
use progress::ProgressDisplay;
use run::SendPlan;
use source::{EventSource, Lines, Random};
use stop::Stop;

/// The number of lanes (and so of concurrent requests), and the number of events in each request. These numbers are
/// high enough to keep PostgreSQL busy while answers are on their way.
const LANES: usize = 8;
const BATCH_EVENTS: usize = 2_500;
/// With a single lane, larger batches compensate for the lack of concurrency.
const ONE_LANE_EVENTS: usize = 10_000;
/// The events of a file that is smaller than this go through a single lane.
const SMALL_FILE_BYTES: u64 = 512 * 1_024;
/// At this rate and above, each request waits for the outcomes of its events, because separate lookups would cost more.
const BULK_PER_SECOND: f64 = 500.0;
/// Below [`BULK_PER_SECOND`], the batches of all lanes are sent this many times per second, full or not.
const FLUSHES_PER_SECOND: f64 = 5.0;
/// Signals within this time count as one.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Sends events of a stream through the HTTP API and follows each event to its outcome.
///
/// Exits with status 1 if an event was refused, rejected or lost, if an event still waits for its parent, or if an
/// outcome is unknown.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["count", "forever", "file"]))]
pub struct SendArgs {
    /// Stream, such as city.
    stream: String,
    /// Sends N random events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Sends random events until Ctrl-C.
    #[arg(long)]
    forever: bool,
    /// Sends the events of a file, one per line (NDJSON).
    #[arg(long, value_name = "F.ndjson")]
    file: Option<PathBuf>,
    /// Sends R events per second. By default, sends events as fast as they are accepted.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Address of the gateway.
    #[arg(long, value_name = "URL", default_value = DEFAULT_ADDRESS)]
    to: Url,
    /// Credentials of the sender (HTTP Basic).
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Option<Credentials>,
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Contract(#[from] ContractError),
    #[error("there is no stream `{stream}` in {contracts}; the streams are {known}")]
    NoStream { stream: String, contracts: String, known: String },
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    GatewayClient(#[from] GatewayError),
    #[error("signal handlers cannot be installed: {0}")]
    Signals(#[source] io::Error),
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "should be a number above 0".to_owned())
}

/// Sends the events, follows them, and prints the summary. Fails if an event was refused, rejected or lost, if an event
/// still waits for its parent, or if an outcome is unknown.
pub async fn run(args: SendArgs) -> ExitCode {
    match try_run(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn try_run(args: SendArgs) -> Result<bool, SendError> {
    let contracts_dir = Environment::default().contracts_dir();
    let registry = Registry::load(contracts_dir.as_deref())?;
    let contract = registry.stream(&args.stream).ok_or_else(|| SendError::NoStream {
        stream: args.stream.clone(),
        contracts: match &contracts_dir {
            Some(folder) => format!("CONTRACTS_DIR ({})", folder.display()),
            None => "the built-in contracts, which are used if CONTRACTS_DIR is not set".to_owned(),
        },
        known: registry.contracts().map(|contract| contract.stream.as_str()).collect::<Vec<_>>().join(", "),
    })?;
    let mut gateway = GatewayClient::new(args.to.clone(), args.user.clone(), Patience::default())?;
    if args.rate.is_some_and(|rate| rate < BULK_PER_SECOND) {
        gateway = gateway.without_waiting();
    }
    let interrupts = Interrupts::listen().map_err(SendError::Signals)?;
    gateway.check(&args.stream).await?;

    let source = match &args.file {
        Some(path) => EventSource::Lines(lines(contract, path)?),
        None => EventSource::Random(Box::new(random(contract, &registry, &gateway, args.count).await)),
    };
    let plan = SendPlan {
        gateway: Arc::new(gateway),
        stream: args.stream.clone(),
        source,
        lanes: lanes(contract, &args),
        per_second: args.rate,
        flush_after: args.rate.map(flush_after),
        origin: if args.file.is_some() { "line" } else { "event" },
    };
    let stop = Stop::default();
    tokio::spawn(interrupted(interrupts, stop.clone()));
    let mut progress = ProgressDisplay::new(args.count, Instant::now());
    let result = run::run(plan, &mut progress, &stop).await;
    progress.finish();
    say(summary::summary(&result.tally, result.waiting, &result.pending, result.last_failure.as_deref()).trim_end());
    if let Some(error) = &result.error {
        complain(format_args!("error: {error}"));
    }
    Ok(result.is_success())
}

/// Stops sending at the first signal, and stops following at the second signal.
async fn interrupted(mut interrupts: Interrupts, stop: Stop) {
    interrupts.next().await;
    stop.sending.cancel();
    complain("stopping: no more events are sent; press Ctrl-C again to stop following the sent events");
    // Some wrappers forward a signal that this process has already received.
    let same = tokio::time::sleep(SAME_SIGNAL);
    tokio::pin!(same);
    loop {
        tokio::select! {
            () = &mut same => break,
            () = interrupts.next() => {}
        }
    }
    interrupts.next().await;
    stop.following.cancel();
}

fn lines(contract: &Arc<Contract>, path: &Path) -> Result<Lines<BufReader<File>>, SendError> {
    let file = File::open(path).map_err(|source| SendError::File { path: path.to_owned(), source })?;
    Ok(Lines::new(Arc::clone(contract), BufReader::with_capacity(256 * 1_024, file)))
}

async fn random(contract: &Arc<Contract>, registry: &Registry, gateway: &GatewayClient, count: Option<u64>) -> Random {
    let mut events = RandomEvents::new(Arc::clone(contract), Clock::system());
    if let Some((parent, table, column)) = parent(contract, registry) {
        let parents = gateway.names(table, column).await;
        if parents.is_empty() {
            complain(format_args!("there is no {parent} yet, so each event will wait for its {parent}"));
        }
        events = events.with_parents(parents);
    }
    Random { contract: Arc::clone(contract), events, rng: rand::make_rng(), left: count, made: 0 }
}

/// Returns a stream's parent stream, the parent's table, and the column with the names of the parent's entities.
fn parent<'r>(contract: &Contract, registry: &'r Registry) -> Option<(&'r str, &'r str, &'r str)> {
    let Mode::Entity(entity) = &contract.mode else { return None };
    let parent = registry.stream(&entity.parent.as_ref()?.stream)?;
    let Mode::Entity(of_parent) = &parent.mode else { return None };
    let column = of_parent.landing.columns.get(*of_parent.key.first()?)?;
    Some((&parent.stream, &of_parent.landing.table.name, &column.name))
}

fn lanes(contract: &Contract, args: &SendArgs) -> Lanes {
    let is_small = match &args.file {
        Some(path) => std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() < SMALL_FILE_BYTES),
        None => args.count.is_some_and(|count| count <= BATCH_EVENTS as u64),
    };
    if is_small || contract.key.is_empty() { Lanes::new(1, ONE_LANE_EVENTS) } else { Lanes::new(LANES, BATCH_EVENTS) }
}

/// Returns the number of events after which to send the batches of all lanes, at this rate.
fn flush_after(per_second: f64) -> u64 {
    let flushes = if per_second < BULK_PER_SECOND { FLUSHES_PER_SECOND } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
    let events = (per_second / flushes).ceil() as u64;
    events.max(1)
}

#[cfg(test)]
mod tests;
