//! The ledger: what happened to every event, without a row per event. One file per table of schema `sluice`, named like
//! it; only that file changes the table, or gives another file the text that does.
//!
//! - [`watermarks`]: up to where each partition was applied
//! - [`activity`]: what landed of each partition, minute by minute
//! - [`gaps`]: offsets that Kafka no longer had
//! - [`dead_letters`]: events that could not be written
//! - [`event_ids`], [`duplicates`]: ids under which events land once, and the events that repeat one
//! - [`superseded`]: events that a higher version made void
//! - [`deleted_versions`]: versions that outlive their rows
//! - [`waiting`]: commands whose parent has not arrived
//! - [`login_attempts`]: attempts to log in
//! - [`stalls`]: partitions whose batches fail
//! - [`replay_runs`], [`replay_run_letters`]: replays of all dead letters that match a filter
//! - [`audit`]: who did what
//! - [`receipts`], [`landing_minutes`], [`progress`]: look-ups across those tables
//! - [`lag`]: how far landing is behind Kafka
//! - [`filter`], [`matching`]: which dead letters an operator means; those letters listed, counted and grouped
//! - [`records`], [`headers`], [`Rejection`]: how tables keep a record, its headers, and why it was rejected
//!
//! It uses `record`, `kafka` and `metrics`, and the caller's connection. `consume` writes it in the landing transaction;
//! `ingest` reads it for receipts; `console` reads dead letters, marks replays and discards; `local` reads it for metrics.
//! The functions decide what is written.

pub mod activity;
pub mod audit;
pub mod dead_letters;
pub mod deleted_versions;
pub mod duplicates;
pub mod event_ids;
pub mod filter;
pub mod gaps;
pub mod headers;
pub mod lag;
pub mod landing_minutes;
pub mod login_attempts;
pub mod matching;
pub mod progress;
pub mod receipts;
pub mod records;
mod rejection;
pub mod replay_run_letters;
pub mod replay_runs;
pub mod stalls;
pub mod superseded;
pub mod waiting;
pub mod watermarks;

pub use rejection::Rejection;

/// The destination of everything that lands in PostgreSQL.
pub const POSTGRESQL: &str = "postgresql";
