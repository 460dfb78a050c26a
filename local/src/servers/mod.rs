//! Runs the servers that Sluice needs: real ones, as child processes or in containers.

mod account;
mod compose;
mod data_folder;
mod error;
mod kafka;
mod kafka_jars;
mod lambda_watch;
mod log;
mod port;
mod postgres;
mod postgres_programs;
mod process;
mod restartable;
mod running;
mod secure_listener;

pub use compose::{Compose, Service};
pub use data_folder::DataFolder;
pub use error::{LogTail, ServerError};
pub use kafka::Kafka;
pub use kafka_jars::folder as kafka_jars;
pub use lambda_watch::LambdaWatch;
pub use postgres::{Postgres, PostgresOptions};
pub use process::wait_for_dropped_servers;
pub use running::{BrokerChoice, DatabaseChoice, RunningServers};
pub use secure_listener::{ListenerAccess, ServerCertificate};
