//! PostgreSQL: a private cluster, reached over TCP on loopback with a generated password.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::process::Command;
use tokio::time::Instant;

use super::account::{self, Account};
use super::data_folder::{DataFolder, Subfolder, fresh_folder};
use super::process::{Log, ServerProcess, StopSignal, output};
use super::secure_listener::ServerCertificate;
use super::{ServerError, port, postgres_programs};

const NAME: &str = "PostgreSQL";
// Not `sluice`: a role named like a schema would put that schema first in its search path.
const ROLE: &str = "postgres";
const DATABASE: &str = "sluice";
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What a cluster may be asked for beyond the defaults.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// `wal_level = logical`, so that a change source such as wal2json can read from it.
    pub logical_replication: bool,
    /// It offers TLS with this certificate.
    pub certificate: Option<ServerCertificate>,
}

/// A private PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    folder: Subfolder,
    programs: PathBuf,
    account: Option<Account>,
    options: PostgresOptions,
    port: u16,
    password: String,
    process: Option<ServerProcess>,
}

impl Postgres {
    /// Starts it on a free port with its files in `data`, and waits until it answers and has the database `sluice`. A
    /// folder that was used before is used again, with what is in it.
    ///
    /// # Errors
    /// It is not installed, or does not come up: the log's last lines say why.
    pub async fn start(data: &DataFolder, options: PostgresOptions) -> Result<Self, ServerError> {
        let account = account::to_drop_to()?;
        let folder = data.subfolder("postgresql");
        let in_folder = |source| ServerError::Folder { path: folder.path.clone(), source };
        fs::create_dir_all(&folder.path).map_err(in_folder)?;
        if let Some(account) = &account {
            chown(&folder.path, Some(account.uid), Some(account.gid)).map_err(in_folder)?;
        }
        let mut postgres = Self {
            programs: postgres_programs::folder()?,
            password: password(&folder, account.as_ref()).map_err(in_folder)?,
            folder,
            account,
            options,
            port: port::free().ok_or(ServerError::NoFreePort { name: NAME })?,
            process: None,
        };
        postgres.write_certificate().map_err(|source| ServerError::Folder { path: data.path().to_owned(), source })?;
        postgres.create_cluster().await?;
        // Between our look and its own, somebody else may take the port.
        for _ in 0..2 {
            match postgres.launch().await {
                Err(ServerError::PortTaken { .. }) => {
                    postgres.port = port::free().ok_or(ServerError::NoFreePort { name: NAME })?;
                }
                launched => return launched.map(|()| postgres),
            }
        }
        postgres.launch().await.map(|()| postgres)
    }

    /// The address of the database `sluice`, as `DATABASE_URL` wants it.
    pub fn database_url(&self) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}")
    }

    /// Answers when it has ended although nobody stopped it.
    pub async fn died(&self) -> ServerError {
        match &self.process {
            Some(process) => process.died().await,
            None => std::future::pending().await,
        }
    }

    /// Stops it in good order; clients are disconnected.
    pub async fn stop(&mut self) {
        if let Some(process) = &mut self.process {
            process.stop(STOP_PATIENCE).await;
        }
        self.process = None;
    }

    /// `kill -9` of the postmaster.
    pub async fn kill9(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill9().await;
        }
        self.process = None;
    }

    /// Starts it again, after [`Postgres::stop`] or [`Postgres::kill9`], with the same files and the same port.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + START_PATIENCE;
        let log = Log::in_folder(&self.folder);
        loop {
            let log_start = log.end();
            let mut process =
                ServerProcess::spawn(NAME, self.server(), log.clone(), StopSignal::Interrupt, &self.folder)?;
            let died = tokio::select! {
                ready = tokio::time::timeout_at(deadline, self.answers()) => {
                    return match ready {
                        Ok(Ok(())) => {
                            self.process = Some(process);
                            Ok(())
                        }
                        Ok(Err(source)) => {
                            process.kill9().await;
                            Err(ServerError::Database(source))
                        }
                        Err(_elapsed) => {
                            process.kill9().await;
                            Err(ServerError::NotReady { name: NAME, patience: START_PATIENCE, log: log.tail() })
                        }
                    };
                }
                died = process.died() => died,
            };
            process.kill9().await;
            let said = log.since(log_start);
            if said.contains("Address already in use") {
                return Err(ServerError::PortTaken { name: NAME, port: self.port });
            }
            // After a `kill -9` its backends need a moment to notice.
            let predecessor_lingers = said.contains("pre-existing shared memory block");
            if !predecessor_lingers || Instant::now() >= deadline {
                return Err(died);
            }
        }
    }

    fn server(&self) -> Command {
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.cluster())
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=200"])
            .args(["-c", "synchronous_commit=on"])
            .args(["-c", "timezone=UTC", "-c", "log_timezone=UTC"]);
        if self.options.logical_replication {
            command.args(["-c", "wal_level=logical"]);
        }
        if self.options.certificate.is_some() {
            let setting = |name: &str, file: &str| format!("{name}={}", self.folder.path.join(file).display());
            command.args(["-c", "ssl=on"]);
            command.args(["-c", &setting("ssl_cert_file", CERTIFICATE_FILE)]);
            command.args(["-c", &setting("ssl_key_file", KEY_FILE)]);
        }
        command
    }

    /// Waits until it takes connections; then makes sure of the database.
    async fn answers(&self) -> Result<(), sqlx::Error> {
        let options = PgConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username(ROLE)
            .password(&self.password)
            .ssl_mode(PgSslMode::Disable)
            .database("postgres");
        let mut turn = tokio::time::interval(Duration::from_millis(50));
        let mut connection = loop {
            turn.tick().await;
            match options.connect().await {
                Ok(connection) => break connection,
                Err(sqlx::Error::Io(_)) => {}
                // 57P03: it is starting up.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("57P03") => {}
                Err(other) => return Err(other),
            }
        };
        let exists: bool = sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut connection)
            .await?;
        if !exists {
            connection.execute("create database sluice").await?;
        }
        connection.close().await
    }

    async fn create_cluster(&self) -> Result<(), ServerError> {
        let cluster = self.cluster();
        if cluster.exists() {
            return Ok(());
        }
        // Made beside its place and moved there whole: an interrupted start leaves nothing half done.
        let fresh = fresh_folder(&cluster)?;
        // Text is sorted by its bytes, the same on every machine, and its letters are Unicode's.
        let letters = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };
        let mut command = self.program("initdb");
        command
            .arg("--pgdata")
            .arg(&fresh)
            .arg("--pwfile")
            .arg(self.folder.path.join(PASSWORD_FILE))
            .args(["--username", ROLE, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--lc-ctype", letters])
            // The server flushes what it writes; a cluster that a power cut leaves half made is made anew.
            .arg("--no-sync");
        let output = output(command).await.map_err(|source| ServerError::Spawn { name: NAME, source })?;
        if output.status.success() {
            return fs::rename(&fresh, &cluster).map_err(|source| ServerError::Folder { path: cluster, source });
        }
        Err(ServerError::Initdb(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn write_certificate(&self) -> io::Result<()> {
        if let Some(ServerCertificate { certificate, key, .. }) = &self.options.certificate {
            write_private(&self.folder.path.join(CERTIFICATE_FILE), certificate, self.account.as_ref())?;
            write_private(&self.folder.path.join(KEY_FILE), key, self.account.as_ref())?;
        }
        Ok(())
    }

    fn cluster(&self) -> PathBuf {
        self.folder.path.join("cluster")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder.path).env("LC_ALL", "C");
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

const PASSWORD_FILE: &str = "password";
const CERTIFICATE_FILE: &str = "server.crt";
const KEY_FILE: &str = "server.key";

/// The role's password: the one that is kept in the folder, or a new one.
fn password(folder: &Subfolder, account: Option<&Account>) -> io::Result<String> {
    let path = folder.path.join(PASSWORD_FILE);
    match fs::read_to_string(&path) {
        Ok(password) => return Ok(password.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let password = uuid::Uuid::new_v4().simple().to_string();
    write_private(&path, &password, account)?;
    Ok(password)
}

/// Writes what only the server may read.
fn write_private(path: &Path, text: &str, account: Option<&Account>) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    match account {
        Some(account) => chown(path, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
}
