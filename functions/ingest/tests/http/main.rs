//! Tests the function's routes against a real Apache Kafka and a real PostgreSQL. Run these tests with
//! `cargo local with-servers -- cargo test`. The tests write to the ledger themselves, in place of `consume`.
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
