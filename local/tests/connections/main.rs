//! Clusters and databases that let nobody in unknown: TLS, SCRAM, tokens, secrets that rotate, and what is said when a
//! connection is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where its ground gives way")]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod aws;
mod certificates;
mod command;
mod rotation;
mod scram;
mod tokens;
