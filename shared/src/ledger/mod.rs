//! The ledger: what happened to every event, without a row per event. Each of its tables is in schema `sluice` and has
//! a file of the same name, with one exception: the tables `dead_letter_counts` and `dead_letter_group_counts` share
//! the file `letter_counts`. The statements that change a table are only in the table's own file, although other files
//! may execute them.
//!
//! - [`watermarks`]: each partition's next offset to apply
//! - [`activity`]: what landed from each partition, minute by minute
//! - [`gaps`]: offsets for which Kafka had no record
//! - [`dead_letters`]: events that could not be written
//! - [`event_ids`], [`duplicates`]: ids under which events land at most once, and events that repeat another event
//! - [`bigquery_streams`], [`bigquery_event_ids`], [`bigquery_duplicates`]: for events that land in BigQuery, each
//!   partition's write stream, the events' ids, and the duplicates
//! - [`superseded`]: events that changed nothing because their rows had higher versions
//! - [`deleted_versions`]: versions of deleted rows
//! - [`waiting`]: commands of mode `entity` whose parent has not arrived
//! - [`login_attempts`]: attempts to log in
//! - [`stalls`]: partitions whose batches fail
//! - [`replay_runs`], [`replay_run_letters`]: replays of all dead letters that match a filter
//! - [`audit`]: who did what
//! - [`receipts`], [`minutes`], [`landing_minutes`], [`progress`]: lookups across those tables
//! - [`lag`]: how far landing is behind Kafka
//! - [`filter`], [`matching`]: the filter that selects dead letters, and the queries that list, count and group them
//! - `letter_counts`: how many dead letters there are
//! - [`Destination`]: where events land
//! - [`records`], [`headers`], [`Rejection`]: how tables keep a record, its headers, and why it was rejected
//!
//! The ledger uses `record`, `kafka` and `metrics`, and the caller's connection. The functions decide what is written.
//! `consume` writes the ledger, mostly in the landing transaction. `ingest` reads it for receipts. `console` reads dead
//! letters, marks them as replayed, and discards them. All three reject events that have waited too long. `local` reads
//! the ledger for metrics.

pub mod activity;
pub mod audit;
pub mod bigquery_duplicates;
pub mod bigquery_event_ids;
pub mod bigquery_streams;
pub mod dead_letters;
pub mod deleted_versions;
mod destination;
pub mod duplicates;
pub mod event_ids;
pub mod filter;
pub mod gaps;
pub mod headers;
pub mod lag;
pub mod landing_minutes;
mod letter_counts;
pub mod login_attempts;
pub mod matching;
pub mod minutes;
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

pub use destination::Destination;
pub use rejection::Rejection;

/// Several tables have a column `destination`. This is its value in rows about events that land in PostgreSQL.
pub const POSTGRESQL: &str = Destination::Postgresql.name();
