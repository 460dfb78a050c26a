//! Tests clusters and databases that require TLS, SCRAM, tokens or rotating secrets, and the errors when a connection
//! is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic if its setup fails")]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod aws;
mod certificates;
mod command;
mod first_send;
#[path = "../lambda/function.rs"]
#[allow(dead_code, reason = "this program uses only a part of the module")]
mod function;
mod functions;
mod mail;
mod rotation;
mod scram;
mod throttled;
mod tokens;
mod unreachable;
