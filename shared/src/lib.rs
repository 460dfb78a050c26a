//! What Sluice's functions share: one folder per role, listed from the bottom up. Each role uses only those above it in
//! this list, and `cargo test -p local --test import_cycles` fails if one does not.
//!
//! - [`process`]: clock, settings from environment variables, schedules, logs
//! - [`metrics`]: counters, for CloudWatch and Prometheus
//! - [`network`]: what connections to any server need
//! - [`contract`]: one JSON Schema per stream, and what it says about Kafka and PostgreSQL
//! - [`record`]: what records say in their headers: ids, senders, replays
//! - [`aws`]: secrets, brokers and credentials, looked up at AWS
//! - [`kafka`]: settings, producer, reader, topics
//! - [`database`]: the pool, its login, kinds of errors, and the migrations
//! - [`drift`]: contracts compared with the tables they land in
//! - [`ledger`]: schema `sluice`, which records what happened to every event
//! - [`http`]: what all functions that answer HTTP have in common (feature `http`)
//! - [`identity`]: users: who a caller is, what they may do, and who is blocked (feature `identity`)
//! - [`start`]: how a function starts

pub mod aws;
pub mod contract;
pub mod database;
pub mod drift;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "identity")]
pub mod identity;
pub mod kafka;
pub mod ledger;
pub mod metrics;
pub mod network;
pub mod process;
pub mod record;
pub mod start;
