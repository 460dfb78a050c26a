//! Why a server is unavailable or has stopped.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a server is unavailable or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A required program is not installed.
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
    /// A server's file or folder could not be created.
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
    /// Maven could not download Apache Kafka's jars.
    #[error("Maven could not fetch Apache Kafka: {0}")]
    Maven(String),
    /// Apache Kafka's storage could not be formatted.
    #[error("Apache Kafka's storage could not be formatted: {0}")]
    Format(String),
    /// `initdb` failed.
    #[error("the PostgreSQL cluster could not be created: {0}")]
    Initdb(String),
    /// PostgreSQL answers with an error.
    #[error("PostgreSQL reports an error: {0}")]
    Database(#[source] sqlx::Error),
    /// There is no account under which PostgreSQL could run.
    #[error("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")]
    NoAccount,
    /// The account under which PostgreSQL runs cannot enter a folder on the path to the data folder.
    #[error(
        "PostgreSQL does not run as root but as the user {user}, who cannot enter {folder}: run `chmod o+x {folder}`, \
         or choose another folder with --data",
        folder = .folder.display()
    )]
    ClosedFolder {
        /// The account's name.
        user: &'static str,
        /// The folder.
        folder: PathBuf,
    },
    /// All ports that were tried are taken.
    #[error("no port is free for {name}")]
    NoFreePort {
        /// The server.
        name: &'static str,
    },
    /// The host name in a flag's value does not resolve.
    #[error("{flag}: cannot connect to {host}: the name does not resolve to an address")]
    Unresolved {
        /// The flag.
        flag: &'static str,
        /// The host.
        host: String,
    },
    /// Another process listens on the port.
    #[error("{name} cannot listen on port {port}: it is taken")]
    PortTaken {
        /// The server.
        name: &'static str,
        /// The port.
        port: u16,
    },
    /// The server runs, but does not answer.
    #[error("{name} did not answer within {} s{}", .patience.as_secs(), said(.log))]
    NotReady {
        /// The server.
        name: &'static str,
        /// The time that the server had to answer.
        patience: Duration,
        /// The end of the server's log.
        log: LogTail,
    },
    /// The server ended on its own.
    #[error("{name} died ({status}){}", said(.log))]
    Died {
        /// The server.
        name: &'static str,
        /// The server's exit status.
        status: ExitStatus,
        /// The end of the server's log.
        log: LogTail,
    },
    /// The functions cannot be built. cargo has printed the reason.
    #[error("the functions cannot be built")]
    Build,
    /// Containers are requested, but the container engine is missing or fails.
    #[error("docker: {0}")]
    Docker(String),
}

/// Formats the log's last line and the log's path, on one line.
fn said(log: &LogTail) -> String {
    let last = log.last_lines.last().map(|line| format!("; last line of its log: {line}"));
    let path = log.path.as_ref().map(|path| format!(" (full log: {})", path.display()));
    [last, path].into_iter().flatten().collect()
}

/// The end of a server's log.
#[derive(Debug)]
pub struct LogTail {
    /// The last lines.
    pub last_lines: Vec<String>,
    /// The path of the whole log. `None` if the log is removed with the temporary folder.
    pub path: Option<PathBuf>,
}
