//! Lands batches in BigQuery exactly once, in mode `append`.
//!
//! Rows cannot be committed together with the watermark, because BigQuery is not in PostgreSQL's transaction. So an append
//! takes two transactions:
//!
//! 1. `prepare`: locks the watermark, drops applied records, and commits an *intent*: write stream, row offset, number of
//!    rows, and the Kafka offsets of the rows
//! 2. `append`: appends the rows at that offset of the stream. BigQuery takes an append only at the stream's end, whole or
//!    not at all
//! 3. `settle`: advances the watermark, stores dead letters, and commits that the intent is applied
//!
//! A process that finds an open intent asks BigQuery about it (`recover`): a finalised stream says how many rows it has,
//! and refuses appends that come late, such as that of a function that was frozen after `prepare`. The next append gets a
//! new stream.
//!
//! `tables` is the trait through which this module reaches BigQuery. The function `consume-bigquery` implements it; tests
//! pass tables in memory.

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
