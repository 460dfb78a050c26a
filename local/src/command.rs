//! The subcommands of `cargo local`, and how they end.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rdkafka::error::KafkaError;
use shared::aws::LookUpError;
use shared::contract::ContractError;
use shared::database::DatabaseError;
use shared::kafka::topics::TopicError;
use shared::settings::SettingsError;

use crate::admin::Admin;
use crate::bench::Bench;
use crate::environment::EnvironmentError;
use crate::event_source_mapping::configuration::ConfigurationError;
use crate::event_source_mapping::function::EndpointError;
use crate::event_source_mapping::function::FunctionError;
use crate::invoke::Invoke;
use crate::lambda::LambdaError;
use crate::poll::Poll;
use crate::scheduler::ScheduleError;
use crate::schema::{Migrate, Topics};
use crate::send::{self, SendArgs};
use crate::servers::ServerError;
use crate::template::TemplateError;
use crate::terminal::complain;
use crate::up::Up;
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
    Migrate(Migrate),
    Topics(Topics),
    Admin(Admin),
    WithServers(WithServers),
    Bench(Bench),
}

/// Why a subcommand ended early. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Ctrl-C or SIGTERM before it had begun.
    #[error("interrupted")]
    Interrupted,
    /// The runtime could not be started.
    #[error("the runtime could not be started: {0}")]
    Runtime(#[source] io::Error),
    /// Signals cannot be listened for.
    #[error("signals cannot be listened for: {0}")]
    Signals(#[source] io::Error),
    /// The data folder cannot be made.
    #[error("the data folder cannot be made: {0}")]
    Data(#[source] io::Error),
    /// The command of `with-servers` cannot be started.
    #[error("{}: {source}", .program.display())]
    Command {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The command's end was not learned.
    #[error("the command's end was not learned: {0}")]
    Wait(#[source] io::Error),
    /// The address to serve at is taken, or may not be used.
    #[error("{0}")]
    Listen(String),
    /// Requests are no longer served.
    #[error("requests are no longer served: {0}")]
    Serve(#[source] io::Error),
    /// A Kafka client could not be set up.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// A server is not there.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The file of variables is wrong.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A variable is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What the environment names was not found at AWS.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// A contract is wrong.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The database is not ready.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The topics are not ready.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The template cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A mapping of the template is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A schedule is wrong.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The way of mail cannot be used.
    #[error(transparent)]
    Mail(#[from] report::MailError),
    /// The mail sink does not start.
    #[error("the mail sink does not start: {0}")]
    MailSink(#[source] io::Error),
    /// The event of `invoke` cannot be read.
    #[error("{}: {source}", .path.display())]
    Event {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The function failed.
    #[error("{0}")]
    Invocation(#[source] FunctionError),
    /// The password cannot be read.
    #[error("the password cannot be read: {0}")]
    Password(#[source] io::Error),
    /// No admin was made.
    #[error("{0}")]
    Admin(String),
    /// A function's binary cannot be built or run.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// A benchmark went wrong.
    #[error("{0}")]
    Bench(String),
    /// The functions' address is wrong.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let CommandLine { command } = CommandLine::parse();
    shared::telemetry::start();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)
        .and_then(|runtime| runtime.block_on(run_command(command)));
    match outcome {
        Ok(code) => code,
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
        Command::Poll(poll) => poll.run().await.map(|()| ExitCode::SUCCESS),
        Command::Invoke(invoke) => invoke.run().await.map(|()| ExitCode::SUCCESS),
        Command::Migrate(migrate) => migrate.run().await.map(|()| ExitCode::SUCCESS),
        Command::Topics(topics) => topics.run().await.map(|()| ExitCode::SUCCESS),
        Command::Admin(admin) => admin.run().await.map(|()| ExitCode::SUCCESS),
        Command::WithServers(with_servers) => with_servers.run().await,
        Command::Bench(bench) => bench.run().await,
    }
}
