//! Tests the function's routes against a real Apache Kafka and a real PostgreSQL: run by
//! `cargo local with-servers -- cargo test`. The tests themselves write into the ledger what `consume` would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails where its setup fails")]

mod counts;
mod dry_runs;
mod entities;
mod events;
mod outages;
mod receipts;
mod request_lines;
mod service;
mod support;
mod waiting;
