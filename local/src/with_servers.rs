//! `cargo local with-servers`: runs a command with fresh servers.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use clap::Args;
use operator::interrupts::Interrupts;
use operator::terminal::complain;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::CommandError;
use crate::servers::{self, BrokerChoice, DataFolder, DatabaseChoice, PostgresOptions, RunningServers};

/// Starts a fresh Apache Kafka and PostgreSQL, runs a command with their addresses in KAFKA_BOOTSTRAP_SERVERS and
/// DATABASE_URL, stops the servers, and exits with the command's status.
#[derive(Debug, Args)]
pub(crate) struct WithServers {
    /// Command to run, and its arguments.
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
                let outcome = self.run_command(&servers, &mut interrupts).await;
                servers.stop().await;
                outcome
            }
        };
        servers::wait_for_dropped_servers().await;
        data.remove().await;
        outcome
    }

    async fn run_command(
        self,
        servers: &RunningServers,
        interrupts: &mut Interrupts,
    ) -> Result<ExitCode, CommandError> {
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
                // The command may also receive the signal from the terminal. The command itself decides how to react.
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
    let options = PostgresOptions { logical_replication: true, is_disposable: true, ..PostgresOptions::default() };
    let servers = RunningServers::start(&BrokerChoice::Embedded, &DatabaseChoice::Embedded, data, options).await?;
    complain(format_args!("Apache Kafka and PostgreSQL are ready after {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(servers)
}

fn terminate(child: &Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // The command may have just ended.
        let _gone = kill_process(pid, Signal::TERM);
    }
}

/// Returns the exit code by the convention of shells: 128 plus the signal's number if a signal ended the command.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
