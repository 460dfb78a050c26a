//! Stops and restarts servers. Kafka and PostgreSQL share this code.

use std::time::Duration;

use super::ServerError;
use super::port::LAUNCH_ATTEMPTS;
use super::process::ServerProcess;

/// The time that a server may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The process of a server. `None` while the server is stopped.
#[derive(Debug, Default)]
pub(super) struct Restartable(Option<ServerProcess>);

impl Restartable {
    /// Keeps the process of a server that has started.
    pub(super) fn started(&mut self, process: ServerProcess) {
        self.0 = Some(process);
    }

    /// Waits until the process ends without having been stopped, and returns how it ended.
    pub(super) async fn died(&self) -> ServerError {
        match &self.0 {
            Some(process) => process.died().await,
            None => std::future::pending().await,
        }
    }

    /// Shuts the process down cleanly.
    pub(super) async fn stop(&mut self) {
        if let Some(process) = &mut self.0 {
            process.stop(STOP_PATIENCE).await;
        }
        self.0 = None;
    }

    /// Kills the process with SIGKILL.
    pub(super) async fn kill9(&mut self) {
        if let Some(process) = &mut self.0 {
            process.kill9().await;
        }
        self.0 = None;
    }
}

/// Launches a server on ports that were free a moment ago. If another process has taken one of the ports meanwhile,
/// chooses other ports and tries again.
pub(super) async fn launch_on_free_ports<S>(
    server: &mut S,
    launch: impl AsyncFn(&mut S) -> Result<(), ServerError>,
    choose_ports: impl Fn(&mut S) -> Result<(), ServerError>,
) -> Result<(), ServerError> {
    for _ in 1..LAUNCH_ATTEMPTS {
        match launch(server).await {
            Err(ServerError::PortTaken { .. }) => choose_ports(server)?,
            launched => return launched,
        }
    }
    launch(server).await
}
