//! The function's routes, with a real Apache Kafka and a real PostgreSQL behind them: run by
//! `cargo local with-servers -- cargo test`. What `consume` would write into the ledger, the tests write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends where its ground gives way"
)]

mod counts;
mod dead_letters;
mod entities;
mod events;
mod outages;
mod receipts;
mod service;
mod support;
mod waiting;
