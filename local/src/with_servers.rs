//! `cargo local with-servers`: runs a command beside fresh servers.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::CommandError;
use crate::interrupts::Interrupts;
use crate::servers::{self, BrokerChoice, DataFolder, DatabaseChoice, PostgresOptions, RunningServers};
use crate::terminal::complain;

/// Starts a fresh Apache Kafka and PostgreSQL, runs a command that finds them in KAFKA_BOOTSTRAP_SERVERS and
/// DATABASE_URL, stops them, and exits as the command did.
#[derive(Debug, Args)]
pub(crate) struct WithServers {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl WithServers {
    pub(crate) async fn run(self) -> Result<ExitCode, CommandError> {
        let mut interrupts = Interrupts::listen().map_err(CommandError::Signals)?;
        let data = DataFolder::temporary().map_err(CommandError::Data)?;
        let started = tokio::select! {
            started = start(&data) => Some(started),
            () = interrupts.next() => None,
        };
        let outcome = match started {
            None => Err(CommandError::Interrupted),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(servers)) => {
                let outcome = self.beside(&servers, &mut interrupts).await;
                servers.stop().await;
                outcome
            }
        };
        servers::all_let_go_have_ended().await;
        data.remove().await;
        outcome
    }

    async fn beside(self, servers: &RunningServers, interrupts: &mut Interrupts) -> Result<ExitCode, CommandError> {
        let mut words = self.command.into_iter();
        let program = words.next().unwrap_or_default();
        let mut child = Command::new(&program)
            .args(words)
            .env("KAFKA_BOOTSTRAP_SERVERS", &servers.bootstrap_servers)
            .env("DATABASE_URL", &servers.database_url)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| CommandError::Command { program, source })?;
        loop {
            tokio::select! {
                status = child.wait() => return status.map(exit_code).map_err(CommandError::Wait),
                // The command may have it from the terminal, too; it decides what to do.
                () = interrupts.next() => terminate(&child),
                died = servers.died() => {
                    terminate(&child);
                    let _status = child.wait().await;
                    return Err(died.into());
                }
            }
        }
    }
}

async fn start(data: &DataFolder) -> Result<RunningServers, servers::ServerError> {
    let begun = std::time::Instant::now();
    let options = PostgresOptions { logical_replication: true, ..PostgresOptions::default() };
    let servers = RunningServers::start(&BrokerChoice::Embedded, &DatabaseChoice::Embedded, data, options).await?;
    complain(format_args!("Apache Kafka and PostgreSQL are ready after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(servers)
}

fn terminate(child: &Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended this very moment.
        let _gone = kill_process(pid, Signal::TERM);
    }
}

/// As shells do: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
