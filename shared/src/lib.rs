//! What Sluice's functions share.
//!
//! - [`contract`]: one JSON Schema per stream and what it says of Kafka and PostgreSQL
//! - [`kafka`]: settings, producer, topics
//! - [`database`]: the pool and the migrations
//! - [`watermark`], [`dead_letter`], [`receipt`]: the ledger of what became of every event
//! - [`event_id`]: under which an event lands at most once
//! - [`http`]: what the functions that answer HTTP have in common
//! - [`identity`]: users: who a caller is, what they may do, and who is blocked
//! - [`aws`]: what is looked up there
//! - [`start`]: a function's start
//! - [`settings`], [`pem`], [`clock`], [`telemetry`], [`metrics`]: what a function is started with

pub mod aws;
pub mod clock;
pub mod contract;
pub mod database;
pub mod dead_letter;
pub mod event_id;
pub mod http;
pub mod identity;
pub mod kafka;
pub mod metrics;
pub mod pem;
pub mod receipt;
pub mod settings;
pub mod start;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod watermark;
