//! What Sluice's functions share.
//!
//! - [`contract`]: one JSON Schema per stream and what it says of Kafka and PostgreSQL
//! - [`kafka`]: settings, producer, topics
//! - [`database`]: the pool and the migrations
//! - [`watermark`], [`dead_letter`], [`receipt`]: the ledger of what became of every event
//! - [`event_id`]: under which an event lands at most once
//! - [`problem`]: errors as HTTP users see them (RFC 9457)
//! - [`settings`], [`clock`], [`telemetry`]: what a function is started with

pub mod clock;
pub mod contract;
pub mod database;
pub mod dead_letter;
pub mod event_id;
pub mod kafka;
pub mod problem;
pub mod receipt;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod watermark;
