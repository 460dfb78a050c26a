//! What Sluice's functions share. There is one folder per role. A role uses only roles above it in this list, which
//! `cargo test -p local --test import_cycles` checks.
//!
//! - [`process`]: clock, settings from environment variables, schedules, logs
//! - [`metrics`]: counters, for CloudWatch and Prometheus
//! - [`network`]: what connections to any server need
//! - [`contract`]: one JSON Schema per stream, and what it says about Kafka and PostgreSQL
//! - [`record`]: what the headers of records say: ids, senders, replays
//! - [`aws`]: looks up secrets, brokers and credentials at AWS
//! - [`kafka`]: settings, producer, reader, topics
//! - [`database`]: the pool, its login, kinds of errors, and the migrations
//! - [`drift`]: compares contracts with the tables that their events land in
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
