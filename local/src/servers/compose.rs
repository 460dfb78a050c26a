//! Runs Apache Kafka and PostgreSQL in containers, as `local/compose.yaml` describes them.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::data_folder::DataFolder;
use super::process::output;
use super::{ServerError, port};

/// A service of `local/compose.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Apache Kafka.
    Kafka,
    /// PostgreSQL.
    Postgres,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }

    /// The variable that passes the service's port on this machine to `compose.yaml`.
    fn port_variable(self) -> &'static str {
        match self {
            Self::Kafka => "SLUICE_KAFKA_PORT",
            Self::Postgres => "SLUICE_POSTGRES_PORT",
        }
    }
}

/// Running containers.
#[derive(Debug)]
pub struct Compose {
    project: String,
    ports: Vec<(Service, u16)>,
    keeps_data: bool,
}

impl Compose {
    /// Starts the services and waits until they are healthy. If `data` is permanent, the services' volumes and ports
    /// are kept, too.
    ///
    /// # Errors
    /// No container engine is available, or a container does not start.
    pub async fn start(services: &[Service], data: &DataFolder) -> Result<Self, ServerError> {
        let keeps_data = !data.is_temporary();
        let mut ports = Vec::with_capacity(services.len());
        for service in services {
            let file = data.path().join(format!("{}-container.port", service.name()));
            let port = port::remembered_or_free(&file).ok_or(ServerError::NoFreePort { name: service.name() })?;
            port::remember(&file, port)?;
            ports.push((*service, port));
        }
        let compose = Self {
            // The names of the volumes contain the project name, so permanent data needs a constant project name.
            // Temporary containers get a project name of their own, so that two sets of containers can run at once.
            project: if keeps_data { "sluice".to_owned() } else { format!("sluice-{}", std::process::id()) },
            ports,
            keeps_data,
        };
        engine_answers().await?;
        let mut arguments = vec!["up", "--detach", "--wait", "--quiet-pull"];
        arguments.extend(services.iter().map(|service| service.name()));
        let started = compose.run(&arguments).await;
        if started.is_err() {
            compose.stop().await;
        }
        started.map(|()| compose)
    }

    /// Returns the `host:port` of a service, if it was started.
    pub fn address(&self, service: Service) -> Option<String> {
        let (_, port) = self.ports.iter().find(|(running, _)| *running == service)?;
        Some(format!("127.0.0.1:{port}"))
    }

    /// Returns the address of the database `sluice`, if PostgreSQL was started. The password is public, because
    /// `compose.yaml` contains it, but the port is open on loopback only.
    pub fn database_url(&self) -> Option<String> {
        let address = self.address(Service::Postgres)?;
        Some(format!("postgres://postgres:sluice@{address}/sluice"))
    }

    /// Stops and removes the containers.
    pub async fn stop(&self) {
        let mut arguments = vec!["down", "--timeout", "20"];
        if !self.keeps_data {
            arguments.push("--volumes");
        }
        if let Err(error) = self.run(&arguments).await {
            tracing::warn!("{error}");
        }
    }

    async fn run(&self, arguments: &[&str]) -> Result<(), ServerError> {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", &self.project, "--file"])
            .arg(file())
            .args(arguments)
            .envs(self.ports.iter().map(|(service, port)| (service.port_variable(), port.to_string())));
        let output = output(command).await.map_err(|source| ServerError::Docker(source.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(ServerError::Docker(last_line(&output.stderr)))
    }
}

/// Checks that a container engine answers, and that it has the plugin that reads compose files.
async fn engine_answers() -> Result<(), ServerError> {
    for (arguments, lacking) in [
        (["version", "--format", "{{.Server.Version}}"].as_slice(), "the engine does not answer"),
        (["compose", "version"].as_slice(), "`docker compose` is missing"),
    ] {
        let output = docker(arguments).await.map_err(|source| {
            let is_missing = source.kind() == std::io::ErrorKind::NotFound;
            ServerError::Docker(if is_missing { "it is not installed".to_owned() } else { source.to_string() })
        })?;
        if !output.status.success() {
            return Err(ServerError::Docker(format!("{lacking}: {}", last_line(&output.stderr))));
        }
    }
    Ok(())
}

async fn docker(arguments: &[&str]) -> std::io::Result<std::process::Output> {
    let mut command = Command::new("docker");
    command.args(arguments);
    output(command).await
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compose.yaml")
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output").trim().to_owned()
}
