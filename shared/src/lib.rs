//! The code that Sluice's functions share. Each folder has one role, and may use only the folders that come before it
//! in this list. `cargo test -p local --test import_cycles` checks this rule.
//!
//! - [`process`]: clock, settings from environment variables, schedules, logs
//! - [`metrics`]: counters, for CloudWatch and Prometheus
//! - [`network`]: certificates, keys and host names, for connections to servers
//! - [`contract`]: a JSON Schema per stream, with the stream's topic and tables
//! - [`record`]: the headers of Kafka records: ids, senders, replays
//! - [`aws`]: looks up secrets, brokers and credentials in AWS
//! - [`kafka`]: settings, producer, reader, topics
//! - [`database`]: the connection pool, its login, kinds of errors, and the migrations
//! - [`drift`]: compares contracts with the tables that their events land in
//! - [`ledger`]: the tables of schema `sluice`, which record what happened to every event
//! - [`http`]: everything that the functions with HTTP routes share (feature `http`)
//! - [`identity`]: users: who a caller is, what they may do, and who is blocked (feature `identity`)
//! - [`start`]: starts a function: reads its settings and connects

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
