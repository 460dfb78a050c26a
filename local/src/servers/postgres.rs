//! Runs PostgreSQL as a private cluster. Clients connect over TCP on loopback, with a generated password.

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
use super::log::Log;
use super::process::{ServerProcess, StopSignal, output};
use super::restartable::{Restartable, launch_on_free_ports};
use super::secure_listener::ServerCertificate;
use super::{ServerError, port, postgres_programs};

const NAME: &str = "PostgreSQL";
// The role is not named `sluice`, because the schema `sluice` would then come first in the role's search path.
const ROLE: &str = "postgres";
const DATABASE: &str = "sluice";
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Options of a cluster.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Sets `wal_level = logical`, so that a change source such as wal2json can read from the cluster.
    pub logical_replication: bool,
    /// The certificate with which the server offers TLS, if any.
    pub certificate: Option<ServerCertificate>,
    /// Leaves flushing to the operating system. This is faster, and safe against `kill -9`, but a crash of the machine
    /// can destroy the cluster. <https://www.postgresql.org/docs/current/non-durability.html>
    pub is_disposable: bool,
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
    process: Restartable,
}

impl Postgres {
    /// Starts PostgreSQL with its files in `data`, and waits until it answers and has the database `sluice`. If the
    /// folder is from an earlier run, PostgreSQL has the same contents as before and, if the port is still free, the
    /// same port.
    ///
    /// # Errors
    /// PostgreSQL is not installed, its account cannot enter the folder, or it does not start. In the last case, the
    /// error contains the log's last lines.
    pub async fn start(data: &DataFolder, options: PostgresOptions) -> Result<Self, ServerError> {
        let account = account::to_drop_to()?;
        if let Some(account) = &account {
            account.must_enter(data.path())?;
        }
        let folder = data.subfolder("postgresql");
        let in_folder = |source| ServerError::Folder { path: folder.path.clone(), source };
        fs::create_dir_all(&folder.path).map_err(in_folder)?;
        if let Some(account) = &account {
            chown(&folder.path, Some(account.uid), Some(account.gid)).map_err(in_folder)?;
        }
        let mut postgres = Self {
            programs: postgres_programs::folder()?,
            password: password(&folder, account.as_ref()).map_err(in_folder)?,
            port: port::remembered_or_free(&folder.path.join(PORT_FILE))
                .ok_or(ServerError::NoFreePort { name: NAME })?,
            folder,
            account,
            options,
            process: Restartable::default(),
        };
        postgres.write_certificate().map_err(|source| ServerError::Folder { path: data.path().to_owned(), source })?;
        postgres.create_cluster().await?;
        launch_on_free_ports(&mut postgres, Self::launch, |postgres| {
            postgres.port = port::free().ok_or(ServerError::NoFreePort { name: NAME })?;
            Ok(())
        })
        .await?;
        Ok(postgres)
    }

    /// Returns the address of the database `sluice`, in the form of `DATABASE_URL`.
    pub fn database_url(&self) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}")
    }

    /// Waits until the process ends on its own, and returns how it ended.
    pub async fn died(&self) -> ServerError {
        self.process.died().await
    }

    /// Shuts PostgreSQL down cleanly, and disconnects its clients.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Kills the postmaster with SIGKILL.
    pub async fn kill9(&mut self) {
        self.process.kill9().await;
    }

    /// Restarts PostgreSQL after [`Postgres::stop`] or [`Postgres::kill9`], with the same files and port.
    ///
    /// # Errors
    /// PostgreSQL does not start.
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
                            self.process.started(process);
                            port::remember(&self.folder.path.join(PORT_FILE), self.port)
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
            // After a `kill -9`, the old server's backends take a moment to notice that the postmaster is gone.
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
        if self.options.is_disposable {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        if self.options.certificate.is_some() {
            let setting = |name: &str, file: &str| format!("{name}={}", self.folder.path.join(file).display());
            command.args(["-c", "ssl=on"]);
            command.args(["-c", &setting("ssl_cert_file", CERTIFICATE_FILE)]);
            command.args(["-c", &setting("ssl_key_file", KEY_FILE)]);
        }
        command
    }

    /// Waits until the server accepts connections, then creates the database if needed.
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
                // 57P03: the server is starting up.
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
        // Creates the folder under another name and then moves it into place, so that an interrupted start leaves
        // nothing half done.
        let fresh = fresh_folder(&cluster)?;
        // Text sorts by its bytes, so that the order is the same on every machine. Case and character classes follow
        // Unicode.
        let letters = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };
        let mut command = self.program("initdb");
        command
            .arg("--pgdata")
            .arg(&fresh)
            .arg("--pwfile")
            .arg(self.folder.path.join(PASSWORD_FILE))
            .args(["--username", ROLE, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--lc-ctype", letters])
            // Does not flush the new cluster to disk. A power cut shortly after `initdb` could damage the cluster.
            // Later writes are safe, because the server itself flushes them.
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
const PORT_FILE: &str = "port";
const CERTIFICATE_FILE: &str = "server.crt";
const KEY_FILE: &str = "server.key";

/// Returns the role's password: the password in the folder, or a new one.
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

/// Writes a file that only the server's account may read.
fn write_private(path: &Path, text: &str, account: Option<&Account>) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    match account {
        Some(account) => chown(path, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
}
