//! Tests the function's routes against a real Apache Kafka and a real PostgreSQL. Run these tests with
//! `cargo local with-servers -- cargo test`. The tests write to the ledger themselves, in place of `consume`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails where its setup fails")]

mod activity;
mod dead_letters;
mod discard;
mod edits;
mod filters;
mod follow;
mod groups;
mod outages;
mod pages;
mod ranges;
mod runs;
mod schedule;
mod service;
mod support;
