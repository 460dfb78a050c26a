//! The tests that mostly wait for Apache Kafka and PostgreSQL. They are in one program, so that they wait at the same
//! time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic if its setup fails")]

mod broker_outage;
mod compose;
mod end_to_end;
mod event_source_mapping;
mod replays;
mod reports;
mod restore;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
