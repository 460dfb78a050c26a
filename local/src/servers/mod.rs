//! The servers that Sluice runs on: real ones, as child processes or in containers.

mod account;
mod compose;
mod data_folder;
mod kafka;
mod kafka_jars;
mod lambda_watch;
mod port;
mod postgres;
mod postgres_programs;
mod process;
mod running;
mod secure_listener;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

pub use compose::{Compose, Service};
pub use data_folder::DataFolder;
pub use kafka::Kafka;
pub use lambda_watch::LambdaWatch;
pub use postgres::{Postgres, PostgresOptions};
pub use process::{LogTail, all_let_go_have_ended};
pub use running::{BrokerChoice, DatabaseChoice, RunningServers};
pub use secure_listener::{ListenerAccess, ServerCertificate};

/// Why a server is not there, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program that we start is not on this machine.
    #[error("{what} is not installed: ./local/up installs it")]
    NotInstalled {
        /// The program.
        what: &'static str,
    },
    /// The child process could not be started.
    #[error("{name} could not be started: {source}")]
    Spawn {
        /// The server.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file or folder of the server's could not be made.
    #[error("{}: {source}", .path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Apache Kafka's jars could not be put in place.
    #[error("the jars of Apache Kafka could not be put into cargo's target folder: {0}")]
    Jars(#[source] io::Error),
    /// Maven did not bring Apache Kafka's jars.
    #[error("Maven could not fetch Apache Kafka: {0}")]
    Maven(String),
    /// Apache Kafka's storage could not be formatted.
    #[error("Apache Kafka's storage could not be formatted: {0}")]
    Format(String),
    /// `initdb` failed.
    #[error("the PostgreSQL cluster could not be created: {0}")]
    Initdb(String),
    /// PostgreSQL answers, but not as it should.
    #[error("PostgreSQL refuses: {0}")]
    Database(#[source] sqlx::Error),
    /// There is no account to run PostgreSQL under.
    #[error("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")]
    NoAccount,
    /// Every port that was tried is taken.
    #[error("no port is free for {name}")]
    NoFreePort {
        /// The server.
        name: &'static str,
    },
    /// Somebody else listens there.
    #[error("{name} cannot listen on port {port}: it is taken")]
    PortTaken {
        /// The server.
        name: &'static str,
        /// The port.
        port: u16,
    },
    /// It runs, but does not answer.
    #[error("{name} did not answer within {} s{}", .patience.as_secs(), said(.log))]
    NotReady {
        /// The server.
        name: &'static str,
        /// How long it was waited for.
        patience: Duration,
        /// What it said.
        log: LogTail,
    },
    /// It ended although nobody stopped it.
    #[error("{name} died ({status}){}", said(.log))]
    Died {
        /// The server.
        name: &'static str,
        /// How.
        status: ExitStatus,
        /// What it said.
        log: LogTail,
    },
    /// The functions cannot be built; cargo has said why.
    #[error("the functions cannot be built")]
    Build,
    /// Containers are asked for, and there is no engine, or it refuses.
    #[error("docker: {0}")]
    Docker(String),
}

/// One line: the log's last one, and where the rest is.
fn said(log: &LogTail) -> String {
    let last = log.last_lines.last().map(|line| format!("; its log ends: {line}"));
    let path = log.path.as_ref().map(|path| format!(" (all of it: {})", path.display()));
    [last, path].into_iter().flatten().collect()
}
