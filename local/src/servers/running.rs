//! Starts the requested broker and database.

use std::future::pending;
use std::str::FromStr;

use shared::database::DatabaseSource;
use shared::kafka::KafkaSettings;

use super::{Compose, DataFolder, Kafka, Postgres, PostgresOptions, ServerError, Service};

/// Selects the Kafka to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerChoice {
    /// A private Kafka as a child process.
    Embedded,
    /// A Kafka in a container.
    Docker,
    /// An existing Kafka at `host:port`.
    Existing(String),
}

impl FromStr for BrokerChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "docker" => Ok(Self::Docker),
            servers if servers.split(',').all(is_host_and_port) => Ok(Self::Existing(servers.to_owned())),
            _ => Err("should be embedded, docker or HOST:PORT"),
        }
    }
}

fn is_host_and_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Selects the PostgreSQL to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseChoice {
    /// A private PostgreSQL as a child process.
    Embedded,
    /// A PostgreSQL in a container.
    Docker,
    /// An existing PostgreSQL at `postgres://…`.
    Existing(String),
}

impl FromStr for DatabaseChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "docker" => Ok(Self::Docker),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Self::Existing(url.to_owned()))
            }
            _ => Err("should be embedded, docker or postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
        }
    }
}

/// Checks that the names of existing servers resolve, before anything is started.
async fn refuse_unresolved(broker: &BrokerChoice, database: &DatabaseChoice) -> Result<(), ServerError> {
    let unresolved = |flag, host: &str| Err(ServerError::Unresolved { flag, host: host.to_owned() });
    if let BrokerChoice::Existing(servers) = broker
        && let Some(servers) = KafkaSettings::plaintext(servers).unresolved_servers().await
    {
        return unresolved("--broker", servers);
    }
    if let DatabaseChoice::Existing(url) = database
        // Other mistakes in the address are reported later, when the settings are read.
        && let Ok(source) = DatabaseSource::from_url(url)
        && let Some(host) = source.unresolved_host().await
    {
        return unresolved("--database", &host);
    }
    Ok(())
}

/// The running servers. Those that this process started can be stopped.
#[derive(Debug)]
pub struct RunningServers {
    /// The value for `KAFKA_BOOTSTRAP_SERVERS`.
    pub bootstrap_servers: String,
    /// The value for `DATABASE_URL`.
    pub database_url: String,
    kafka: Option<Kafka>,
    postgres: Option<Postgres>,
    compose: Option<Compose>,
}

impl RunningServers {
    /// Starts the servers concurrently, with their files in `data`. Dropping the future stops the child processes that
    /// were started, but not the containers. [`super::wait_for_dropped_servers`] waits until the child processes have
    /// stopped.
    ///
    /// # Errors
    /// A server does not start. The child processes that did start are stopped. If the server that does not start is a
    /// child process, the containers are not stopped.
    pub async fn start(
        broker: &BrokerChoice,
        database: &DatabaseChoice,
        data: &DataFolder,
        options: PostgresOptions,
    ) -> Result<Self, ServerError> {
        refuse_unresolved(broker, database).await?;
        let mut services = Vec::new();
        if *broker == BrokerChoice::Docker {
            services.push(Service::Kafka);
        }
        if *database == DatabaseChoice::Docker {
            services.push(Service::Postgres);
        }
        let (kafka, postgres, compose) = tokio::try_join!(
            async {
                match broker {
                    BrokerChoice::Embedded => Kafka::start(data).await.map(Some),
                    BrokerChoice::Docker | BrokerChoice::Existing(_) => Ok(None),
                }
            },
            async {
                match database {
                    DatabaseChoice::Embedded => Postgres::start(data, options).await.map(Some),
                    DatabaseChoice::Docker | DatabaseChoice::Existing(_) => Ok(None),
                }
            },
            async {
                if services.is_empty() {
                    return Ok(None);
                }
                Compose::start(&services, data).await.map(Some)
            },
        )?;
        let bootstrap_servers = match broker {
            BrokerChoice::Existing(servers) => servers.clone(),
            BrokerChoice::Embedded | BrokerChoice::Docker => {
                let in_container = compose.as_ref().and_then(|compose| compose.address(Service::Kafka));
                kafka.as_ref().map(Kafka::bootstrap_servers).or(in_container).unwrap_or_default()
            }
        };
        let database_url = match database {
            DatabaseChoice::Existing(url) => url.clone(),
            DatabaseChoice::Embedded | DatabaseChoice::Docker => {
                let in_container = compose.as_ref().and_then(Compose::database_url);
                postgres.as_ref().map(Postgres::database_url).or(in_container).unwrap_or_default()
            }
        };
        Ok(Self { bootstrap_servers, database_url, kafka, postgres, compose })
    }

    /// Waits until a child process ends on its own, and returns how it ended.
    pub async fn died(&self) -> ServerError {
        let kafka = async {
            match &self.kafka {
                Some(kafka) => kafka.died().await,
                None => pending().await,
            }
        };
        let postgres = async {
            match &self.postgres {
                Some(postgres) => postgres.died().await,
                None => pending().await,
            }
        };
        tokio::select! {
            died = kafka => died,
            died = postgres => died,
        }
    }

    /// Stops the servers that were started, concurrently.
    pub async fn stop(self) {
        self.stop_or_kill(pending()).await;
    }

    /// Stops the servers that were started, concurrently. Once `hurry` completes, kills the child processes.
    pub async fn stop_or_kill(mut self, hurry: impl Future<Output = ()>) {
        let is_hurried = tokio::select! {
            () = self.end() => false,
            () = hurry => true,
        };
        if is_hurried {
            if let Some(kafka) = &mut self.kafka {
                kafka.kill9().await;
            }
            if let Some(postgres) = &mut self.postgres {
                postgres.kill9().await;
            }
        }
    }

    async fn end(&mut self) {
        tokio::join!(
            async {
                if let Some(kafka) = &mut self.kafka {
                    kafka.stop().await;
                }
            },
            async {
                if let Some(postgres) = &mut self.postgres {
                    postgres.stop().await;
                }
            },
            async {
                if let Some(compose) = &self.compose {
                    compose.stop().await;
                }
            },
        );
    }
}
