//! Why a subcommand of `cargo local` ended early.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use operator::OperatorError;
use operator::environment::EnvironmentError;
use rdkafka::error::KafkaError;
use shared::aws::LookUpError;
use shared::contract::ContractError;
use shared::database::DatabaseError;
use shared::process::settings::SettingsError;

use crate::event_source_mapping::configuration::ConfigurationError;
use crate::event_source_mapping::function::{EndpointError, FunctionError};
use crate::lambda::LambdaError;
use crate::scheduler::ScheduleError;
use crate::servers::ServerError;
use crate::template::TemplateError;

/// Why a subcommand ended early. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Ctrl-C or SIGTERM arrived while the servers or functions were starting.
    #[error("interrupted")]
    Interrupted,
    /// The runtime could not be started.
    #[error("the runtime could not be started: {0}")]
    Runtime(#[source] io::Error),
    /// Signal handlers cannot be installed.
    #[error("signal handlers cannot be installed: {0}")]
    Signals(#[source] io::Error),
    /// The data folder cannot be created, read or written.
    #[error("the data folder cannot be used: {0}")]
    Data(#[source] io::Error),
    /// A program, such as the command of `with-servers`, cannot be started.
    #[error("{}: {source}", .program.display())]
    Command {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The command's exit status could not be read.
    #[error("the command's exit status could not be read: {0}")]
    Wait(#[source] io::Error),
    /// The address to serve on is taken or not permitted.
    #[error("{0}")]
    Listen(String),
    /// The server stopped serving requests.
    #[error("the server stopped serving requests: {0}")]
    Serve(#[source] io::Error),
    /// A Kafka client could not be set up.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// No broker's name resolves.
    #[error("KAFKA_BOOTSTRAP_SERVERS: cannot connect to {0}: the name does not resolve to an address")]
    UnresolvedBrokers(String),
    /// A server is unavailable.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The file of variables is invalid.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A variable is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A resource was not found on AWS, although the environment names it.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// A contract is invalid.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The database is not ready.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A command for operators ended early.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The template cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A mapping in the template is invalid.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A schedule is invalid.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The mail settings cannot be used.
    #[error(transparent)]
    Mail(#[from] report::MailError),
    /// The mail sink did not start.
    #[error("the mail sink did not start: {0}")]
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
    /// A function's binary cannot be built or run.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// A benchmark failed.
    #[error("{0}")]
    Bench(String),
    /// The functions' address is invalid.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl CommandError {
    /// Returns whether the command failed because it needs the AWS SDK, which this build does not contain.
    pub(crate) fn needs_aws(&self) -> bool {
        matches!(
            self,
            Self::Mail(report::MailError::NotBuiltIn)
                | Self::LookUp(LookUpError::NotBuiltIn { .. })
                | Self::Database(DatabaseError::LookUp(LookUpError::NotBuiltIn { .. }))
                | Self::Operator(
                    OperatorError::LookUp(LookUpError::NotBuiltIn { .. })
                        | OperatorError::Database(DatabaseError::LookUp(LookUpError::NotBuiltIn { .. }))
                )
        )
    }
}
