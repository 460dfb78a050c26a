//! Tests a database that was restored to an earlier state, and consumer groups that were moved: missing events that
//! Kafka still has land once, and events that Kafka no longer has are reported as lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic if its setup fails")]

mod comparison;
mod data_folder;
mod dead_letters;
mod positions;
#[path = "../support/mod.rs"]
mod support;
