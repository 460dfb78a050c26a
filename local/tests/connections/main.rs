//! Clusters and databases that let nobody in unknown: TLS, SCRAM, tokens, secrets that rotate, and what is said when a
//! connection is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where its ground gives way")]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod aws;
mod certificates;
mod command;
mod first_send;
#[path = "../lambda/function.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod function;
mod functions;
mod mail;
mod rotation;
mod scram;
mod tokens;
