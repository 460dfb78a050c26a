//! The function's routes, with a real PostgreSQL behind them: run by `cargo local with-servers -- cargo test`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground gives way")]

mod accounts;
mod credentials;
mod lockout;
mod registration;
mod support;
