//! BigQuery's side of landing: appends rows through the Storage Write API.
//!
//! `consume` decides what lands, exactly once, and reaches BigQuery through the trait that this crate implements:
//!
//! - `client` sends the requests; `messages` are theirs, and `error` says what errors mean
//! - `written` asks a table which Kafka records it has, through the REST API
//! - `credentials` authenticates, `settings` reads the environment

mod client;
mod credentials;
mod error;
mod messages;
mod settings;
mod written;

pub use client::{Bigquery, BigqueryStartError, refuse_unsupported};
pub use credentials::NoCredentials;
pub use settings::{BigquerySettings, CredentialsSource, Emulator};
