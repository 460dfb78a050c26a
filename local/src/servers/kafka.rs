//! Runs Apache Kafka as one node in KRaft mode: one process is both the broker and the controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::process::Command;
use tokio::time::Instant;

use super::data_folder::{DataFolder, Subfolder, fresh_folder};
use super::log::Log;
use super::process::{ServerProcess, StopSignal, output};
use super::restartable::{Restartable, launch_on_free_ports};
use super::secure_listener::{ListenerAccess, SecureListener, ServerCertificate};
use super::{ServerError, kafka_jars, port, secure_listener};

const NAME: &str = "Apache Kafka";
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A private Apache Kafka.
#[derive(Debug)]
pub struct Kafka {
    folder: Subfolder,
    jars: PathBuf,
    ports: Ports,
    secure: Vec<SecureListener>,
    process: Restartable,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    broker: u16,
    controller: u16,
}

const BROKER_PORT_FILE: &str = "broker.port";
const CONTROLLER_PORT_FILE: &str = "controller.port";

impl Ports {
    fn free() -> Result<Self, ServerError> {
        Self::from(port::free)
    }

    /// Returns the ports of the last run with this folder if they are free, and other ports otherwise.
    fn remembered_or_free(folder: &Path) -> Result<Self, ServerError> {
        let mut files = [BROKER_PORT_FILE, CONTROLLER_PORT_FILE].into_iter();
        Self::from(|| match files.next() {
            Some(file) => port::remembered_or_free(&folder.join(file)),
            None => port::free(),
        })
    }

    fn from(mut next: impl FnMut() -> Option<u16>) -> Result<Self, ServerError> {
        let mut next = || next().ok_or(ServerError::NoFreePort { name: NAME });
        let broker = next()?;
        let mut controller = next()?;
        while controller == broker {
            controller = next()?;
        }
        Ok(Self { broker, controller })
    }

    fn remember(self, folder: &Path) -> Result<(), ServerError> {
        port::remember(&folder.join(BROKER_PORT_FILE), self.broker)?;
        port::remember(&folder.join(CONTROLLER_PORT_FILE), self.controller)
    }
}

impl Kafka {
    /// Starts Kafka with its files in `data`, and waits until it answers. If the folder is from an earlier run, Kafka
    /// has the same topics as before and, if the ports are still free, the same ports.
    ///
    /// # Errors
    /// Java or Maven is missing, or Kafka does not start. If Kafka does not start, the error contains the log's last
    /// lines.
    pub async fn start(data: &DataFolder) -> Result<Self, ServerError> {
        Self::start_with(data, Vec::new()).await
    }

    /// Starts Kafka with further listeners, in addition to the listener that needs no authentication.
    ///
    /// # Errors
    /// The errors of [`Kafka::start`].
    pub async fn start_with(
        data: &DataFolder,
        listeners: Vec<(ListenerAccess, ServerCertificate)>,
    ) -> Result<Self, ServerError> {
        let secure = listeners.into_iter().map(SecureListener::on_free_port).collect::<Result<_, _>>()?;
        let folder = data.subfolder("kafka");
        fs::create_dir_all(&folder.path).map_err(|source| ServerError::Folder { path: folder.path.clone(), source })?;
        let (jars, ports) = (kafka_jars::folder().await?, Ports::remembered_or_free(&folder.path)?);
        let mut kafka = Self { folder, jars, ports, secure, process: Restartable::default() };
        kafka.format().await?;
        launch_on_free_ports(&mut kafka, Self::launch, |kafka| {
            kafka.ports = Ports::free()?;
            Ok(())
        })
        .await?;
        Ok(kafka)
    }

    /// Returns the broker's address as `host:port`, the form of `KAFKA_BOOTSTRAP_SERVERS`.
    pub fn bootstrap_servers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.broker)
    }

    /// Returns the addresses of the further listeners, in the order in which they were given.
    pub fn secure_bootstrap_servers(&self) -> Vec<String> {
        self.secure.iter().map(|listener| format!("localhost:{}", listener.port)).collect()
    }

    /// Waits until the process ends on its own, and returns how it ended.
    pub async fn died(&self) -> ServerError {
        self.process.died().await
    }

    /// Shuts Kafka down cleanly.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Kills Kafka with SIGKILL.
    pub async fn kill9(&mut self) {
        self.process.kill9().await;
    }

    /// Restarts Kafka after [`Kafka::stop`] or [`Kafka::kill9`], with the same files and ports.
    ///
    /// # Errors
    /// Kafka does not start.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), ServerError> {
        self.write_configuration(&self.storage())?;
        let log = Log::in_folder(&self.folder);
        let log_start = log.end();
        let mut command = self.java();
        command
            .args(["-Xms128m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
            .args(["-Dorg.slf4j.simpleLogger.showDateTime=true"])
            .args(["-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX"])
            .arg("kafka.Kafka")
            .arg(self.configuration());
        let mut process = ServerProcess::spawn(NAME, command, log.clone(), StopSignal::Terminate, &self.folder)
            .map_err(java_missing)?;

        let deadline = Instant::now() + START_PATIENCE;
        tokio::select! {
            ready = answers(self.bootstrap_servers(), deadline) => {
                if ready {
                    self.process.started(process);
                    self.ports.remember(&self.folder.path)
                } else {
                    process.kill9().await;
                    Err(ServerError::NotReady { name: NAME, patience: START_PATIENCE, log: log.tail() })
                }
            }
            died = process.died() => {
                process.kill9().await;
                if log.since(log_start).contains("Address already in use") {
                    Err(ServerError::PortTaken { name: NAME, port: self.ports.broker })
                } else {
                    Err(died)
                }
            }
        }
    }

    /// Formats the storage with a new cluster id, unless the storage exists.
    async fn format(&self) -> Result<(), ServerError> {
        let storage = self.storage();
        if storage.exists() {
            return Ok(());
        }
        // Creates the folder under another name and then moves it into place, so that an interrupted start leaves
        // nothing half done.
        let fresh = fresh_folder(&storage)?;
        self.write_configuration(&fresh)?;
        let mut command = self.java();
        command
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
            .args(["kafka.tools.StorageTool", "format", "--cluster-id"])
            .arg(cluster_id())
            .arg("--config")
            .arg(self.configuration());
        for user in self.secure.iter().filter_map(SecureListener::scram_user) {
            command.args(["--add-scram", &user]);
        }
        let output = output(command).await.map_err(|source| java_missing(ServerError::Spawn { name: NAME, source }))?;
        if output.status.success() {
            return fs::rename(&fresh, &storage).map_err(|source| ServerError::Folder { path: storage, source });
        }
        let said = [output.stdout, output.stderr].concat();
        Err(ServerError::Format(String::from_utf8_lossy(&said).trim().to_owned()))
    }

    fn java(&self) -> Command {
        let java = std::env::var_os("JAVA_HOME")
            .map(|home| Path::new(&home).join("bin/java"))
            .filter(|java| java.exists())
            .unwrap_or_else(|| PathBuf::from("java"));
        let mut command = Command::new(java);
        command.current_dir(&self.folder.path).arg("-cp").arg(self.jars.join("*"));
        command
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path.join("server.properties")
    }

    fn storage(&self) -> PathBuf {
        self.folder.path.join("storage")
    }

    fn write_configuration(&self, storage: &Path) -> Result<(), ServerError> {
        let Ports { broker, controller } = self.ports;
        let storage = storage.display();
        let [listeners, protocols, secure] = secure_listener::lines(&self.secure);
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{broker}{listeners}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             log.dirs={storage}\n\
             {secure}{SETTINGS}"
        );
        let path = self.configuration();
        fs::write(&path, text).map_err(|source| ServerError::Folder { path, source })
    }
}

/// Settings for a small single node that starts quickly. After a `kill -9`, the controller readmits the broker only
/// when the broker's old session has expired, which takes nine seconds by default, and six seconds with these settings.
/// The settings for flushing are Kafka's defaults.
const SETTINGS: &str = "\
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=2
";

/// Returns whether the broker answers with its metadata before the deadline.
async fn answers(bootstrap_servers: String, deadline: Instant) -> bool {
    const TURN: Duration = Duration::from_millis(500);
    let client: Result<BaseConsumer, _> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100")
        // Silences librdkafka's warnings: while the broker starts, nothing listens on its port.
        .set("log_level", "0")
        .create();
    let Ok(client) = client.map(std::sync::Arc::new) else {
        return false;
    };
    while Instant::now() < deadline {
        let client = std::sync::Arc::clone(&client);
        let turn = tokio::task::spawn_blocking(move || client.fetch_metadata(None, TURN));
        if matches!(turn.await, Ok(Ok(metadata)) if !metadata.brokers().is_empty()) {
            return true;
        }
    }
    false
}

fn java_missing(error: ServerError) -> ServerError {
    let is_missing =
        matches!(&error, ServerError::Spawn { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    if is_missing { ServerError::NotInstalled { what: "java (17 or newer)" } } else { error }
}

/// Returns 16 random bytes in URL-safe base64, which is Kafka's format for ids. Like Kafka's own ids, the text never
/// begins with a hyphen. A hyphen at the beginning would make the text look like an option on the command line.
fn cluster_id() -> String {
    loop {
        let id = base64_simd::URL_SAFE_NO_PAD.encode_to_string(rand::random::<[u8; 16]>());
        if !id.starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_does_not_look_like_an_option() {
        // Without the check, one id in 64 would begin with a hyphen.
        assert!((0..2_000).all(|_| !cluster_id().starts_with('-')));
    }
}
