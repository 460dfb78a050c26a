//! The function's routes, with a real PostgreSQL behind them: run by `cargo local with-servers -- cargo test`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground gives way")]

mod accounts;
mod bodies;
mod credentials;
mod lockout;
mod names;
mod registration;
mod support;
