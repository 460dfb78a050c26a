//! The plan for running a function, and the errors that can occur.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A function and how to run it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The function's name.
    pub name: &'static str,
    /// The function's binary.
    pub binary: PathBuf,
    /// The function's whole environment, apart from the variables that Lambda sets.
    pub environment: Vec<(&'static str, String)>,
    /// The timeout of an invocation.
    pub timeout: Duration,
    /// Whether the function's processes are frozen (with SIGSTOP) between invocations, as on Lambda.
    pub freezes: bool,
    /// The folder for the function's logs, with one file per sandbox.
    pub folder: PathBuf,
}

/// Why a function could not be started, or why its process ended on its own.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// The build failed, no port is free, the log file cannot be opened, or the binary cannot be started.
    #[error("{name}: {source}")]
    Start {
        /// The function, or `cargo build` if the build failed.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The function's process ended on its own.
    #[error("{name} ended: {status}\n{log}")]
    Ended {
        /// The function.
        name: &'static str,
        /// The process's exit status.
        status: ExitStatus,
        /// The process's output.
        log: String,
    },
}
