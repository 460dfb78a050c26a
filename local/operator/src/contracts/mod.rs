//! `cargo local contracts check`: shows how changes to contracts affect the events' senders and the tables' readers.
//!
//! - `source`: reads the older contracts
//! - `compare`: lists the changes; `block` and `columns` compare the `x-sluice` blocks, and `schema` and `difference`
//!   compare the schemas
//! - `replay`: reads real events; `check` checks them against the contracts, and counts the events that each change
//!   affects
//! - `change`: defines a change and its severity

mod block;
mod change;
mod check;
mod columns;
mod compare;
mod difference;
mod replay;
mod schema;
pub(crate) mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use shared::aws::Aws;
use shared::contract::{Contract, Registry};
use shared::kafka::reader::KafkaReader;

use crate::environment::Environment;
use crate::error::OperatorError;
use crate::terminal::say;

pub use self::change::{Change, Severity};
pub use self::compare::{Documents, compare};
pub use self::source::SourceError;

/// Checks the contracts in CONTRACTS_DIR, or the built-in contracts.
#[derive(Debug, Args)]
pub struct Contracts {
    #[command(subcommand)]
    command: ContractsCommand,
}

#[derive(Debug, Subcommand)]
enum ContractsCommand {
    Check(Check),
}

/// Compares the contracts with older versions, and checks real events against the contracts.
///
/// Prints one line per change: safe, stricter (an event that was accepted may be rejected) or breaking. Exits with
/// status 1 if a change is breaking. A stricter change that rejects real events is breaking.
#[derive(Debug, Args)]
struct Check {
    /// The older contracts: a folder, or a commit, branch or tag of the repository that holds the contracts.
    #[arg(long, value_name = "FOLDER|GIT-REF")]
    against: Option<String>,
    /// Checks the last N records of each topic against the contracts, and counts the records that each change affects.
    /// Reads Kafka without joining a consumer group.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replay: Option<u32>,
}

impl Contracts {
    /// Runs the command.
    ///
    /// # Errors
    /// The old contracts, the new contracts or Kafka cannot be read.
    pub async fn run(self) -> Result<ExitCode, OperatorError> {
        match self.command {
            ContractsCommand::Check(check) => check.run().await,
        }
    }
}

impl Check {
    async fn run(self) -> Result<ExitCode, OperatorError> {
        let environment = Environment::default();
        let contracts_dir = environment.contracts_dir();
        let registry = Registry::load(contracts_dir.as_deref())?;
        let mut new: Documents =
            registry.contracts().map(|contract| (contract.stream.clone(), contract.document.clone())).collect();
        let folder = contracts_dir.unwrap_or_else(built_in);
        let old = self.against.as_deref().map(|against| source::read(against, &folder)).transpose()?;
        // If the older folder has no contract for the stream `login`, Sluice used the built-in contract. The stream is
        // therefore not new, and is left out of the comparison.
        if old.as_ref().is_some_and(|old| !old.contains_key(Contract::LOGIN)) {
            new.remove(Contract::LOGIN);
        }
        let mut changes = old.as_ref().map(|old| compare(old, &new)).unwrap_or_default();
        let mut checked = None;
        if let Some(most) = self.replay {
            let kafka = environment.kafka()?.look_up(&Aws::default()).await?;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            checked = Some(replay::replay(&KafkaReader::new(kafka), most, old.as_ref(), &new, &mut changes).await?);
        }
        changes.iter().for_each(say);
        match (&old, checked) {
            (None, None) => say(
                "the contracts are valid: `--against` compares them with older contracts, and `--replay` checks real \
                 events against them",
            ),
            (None, Some(0)) => say("no event was checked, because the topics are missing or empty"),
            (None, Some(checked)) if changes.is_empty() => {
                say(format_args!("the contracts accept all of the {checked} events that were checked"));
            }
            (Some(_), _) | (None, Some(_)) => say(summary(&changes)),
        }
        let is_breaking = changes.iter().any(|change| change.severity == Severity::Breaking);
        Ok(if is_breaking { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Returns the folder of the built-in contracts.
fn built_in() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/contracts"))
}

fn summary(changes: &[Change]) -> String {
    let count = |severity| changes.iter().filter(|change| change.severity == severity).count();
    let [breaking, stricter, safe] = [Severity::Breaking, Severity::Stricter, Severity::Safe].map(count);
    match changes.len() {
        0 => "no changes".to_owned(),
        1 => format!("1 change: {breaking} breaking, {stricter} stricter, {safe} safe"),
        all => format!("{all} changes: {breaking} breaking, {stricter} stricter, {safe} safe"),
    }
}
