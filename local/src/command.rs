//! Parses and runs the subcommands of `cargo local`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use operator::admin::Admin;
use operator::contracts::Contracts;
use operator::dead_letters::{self, DeadLetters};
use operator::follow::{self, Follow};
use operator::schema::{Migrate, Topics};
use operator::send::{self, SendArgs};
use operator::terminal::complain;
use shared::process::telemetry;

use crate::bench::Bench;
use crate::error::CommandError;
use crate::invoke::Invoke;
use crate::poll::Poll;
use crate::up::Up;
use crate::with_aws;
use crate::with_servers::WithServers;

/// Sluice on one machine.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", version, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(Up),
    Poll(Poll),
    Invoke(Invoke),
    Send(SendArgs),
    DeadLetters(DeadLetters),
    Follow(Follow),
    Migrate(Migrate),
    Topics(Topics),
    Admin(Admin),
    Contracts(Contracts),
    WithServers(WithServers),
    Bench(Bench),
}

/// Runs the given subcommand.
pub fn run() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    main(run_command(command))
}

/// Runs a command on its own runtime, with logging. Prints an error as one line.
pub fn main(command: impl Future<Output = Result<ExitCode, CommandError>>) -> ExitCode {
    let outcome = telemetry::start().map_err(CommandError::Settings).and_then(|()| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)?;
        runtime.block_on(command)
    });
    telemetry::flush();
    match outcome {
        Ok(code) => code,
        Err(error) if error.needs_aws() => {
            complain(format_args!("error: {error}: {}", with_aws::repeat()));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run_command(command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Up(up) => up.run().await,
        Command::Send(args) => Ok(send::run(args).await),
        Command::DeadLetters(args) => Ok(dead_letters::run(args).await),
        Command::Follow(args) => Ok(follow::run(args).await),
        Command::Poll(poll) => poll.run().await.map(|()| ExitCode::SUCCESS),
        Command::Invoke(invoke) => invoke.run().await.map(|()| ExitCode::SUCCESS),
        Command::Migrate(migrate) => Ok(migrate.run().await?),
        Command::Topics(topics) => Ok(topics.run().await.map(|()| ExitCode::SUCCESS)?),
        Command::Admin(admin) => Ok(admin.run().await.map(|()| ExitCode::SUCCESS)?),
        Command::Contracts(contracts) => Ok(contracts.run().await?),
        Command::WithServers(with_servers) => with_servers.run().await,
        Command::Bench(_passed_on) => Bench::run(),
    }
}
