//! Lands batches in BigQuery exactly once, in mode `append`.
//!
//! BigQuery takes no part in PostgreSQL's transactions, so rows and watermark cannot be committed together. An append
//! is therefore a step between two transactions:
//!
//! 1. `prepare`: locks the watermark, drops applied records, and commits an *intent*: the write stream, the row offset
//!    in it, the number of rows, and the Kafka offsets of the rows
//! 2. `append`: appends the rows at that row offset. BigQuery accepts an append only at the end of the stream, and only
//!    as a whole
//! 3. `settle`: advances the watermark, stores dead letters, and removes the intent
//!
//! A process that finds an open intent does not know whether the rows were appended, so it finalises the stream
//! (`recover`). Finalising returns the stream's row count. A finalised stream refuses late appends, such as one by a
//! function that was frozen after `prepare`. The next append gets a new stream.
//!
//! The module reaches BigQuery through the trait in `tables`. `consume-bigquery` implements the trait; tests implement
//! it in memory.

mod announced;
mod append;
mod apply;
mod land;
mod prepare;
mod recover;
mod settle;
mod sort;
mod step;
mod streams;
mod tables;

pub(crate) use land::land;
pub use tables::{Append, BigqueryError, RefusedRow, Tables, TablesError, WrittenQuery};
