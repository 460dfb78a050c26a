//! The function `consume-bigquery`, with its client of BigQuery's Storage Write API.
//!
//! `consume` decides which rows to append, so that each event lands exactly once. It reaches BigQuery through its trait
//! `Tables`, which this crate implements:
//!
//! - `client` sends the requests, `messages` defines them, and `error` translates the errors
//! - `written` uses the REST API to find out which Kafka records are in a table
//! - `credentials` authenticates the requests, and `settings` reads the environment

mod client;
mod credentials;
mod error;
mod messages;
mod settings;
mod written;

pub use client::{Bigquery, BigqueryStartError, refuse_unsupported};
pub use credentials::NoCredentials;
pub use settings::{BigquerySettings, CredentialsSource, Emulator};
