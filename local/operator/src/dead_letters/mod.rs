//! `cargo local dead-letters`: the gateway's routes for dead letters, from a terminal.
//!
//! - `filter`: selects letters
//! - `listing`: `list` and `groups`
//! - `bulk`: `replay` and `discard`
//! - `error`: why a subcommand failed

mod bulk;
mod error;
mod filter;
mod listing;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::error::DeadLettersError;
use self::filter::FilterArgs;
use crate::client::{Client, GatewayArgs};
use crate::terminal::complain;

/// Lists, groups, replays and discards dead letters. Needs an admin's credentials.
#[derive(Debug, Args)]
pub struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the letters that match, oldest first.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// The maximum number of letters to list.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Counts the letters that match, grouped by stream, error code and reason, most frequent group first.
    Groups {
        #[command(flatten)]
        filter: FilterArgs,
        /// The maximum number of groups to list.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Sends the events of all matching open letters to their topics again, and waits until each of these events has
    /// landed or is rejected again.
    ///
    /// Exits with status 1 if any matching letter is left, including letters that were rejected again.
    Replay {
        #[command(flatten)]
        filter: FilterArgs,
        /// Also replays letters whose event was replayed three times, or whose key may have newer data.
        #[arg(long)]
        force: bool,
        /// Does not ask for confirmation.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Discards the open letters that match, permanently. Their receipts keep the status `rejected`.
    ///
    /// Exits with status 1 if any matching letter is left.
    Discard {
        #[command(flatten)]
        filter: FilterArgs,
        /// The reason, for people who look at the letters later.
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// Does not ask for confirmation.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Runs the subcommand.
pub async fn run(args: DeadLetters) -> ExitCode {
    match run_action(args.action).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the subcommand. Returns whether nothing is left to do.
async fn run_action(action: Action) -> Result<bool, DeadLettersError> {
    match action {
        Action::List { filter, limit, gateway } => {
            listing::list(&Client::new(gateway)?, &filter, limit).await?;
            Ok(true)
        }
        Action::Groups { filter, limit, gateway } => {
            listing::groups(&Client::new(gateway)?, &filter, limit).await?;
            Ok(true)
        }
        Action::Replay { filter, force, yes, gateway } => {
            bulk::replay(&Client::new(gateway)?, &filter, force, yes).await
        }
        Action::Discard { filter, note, yes, gateway } => {
            bulk::discard(&Client::new(gateway)?, &filter, &note, yes).await
        }
    }
}
