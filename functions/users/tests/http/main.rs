//! Tests the function's routes against a real PostgreSQL. Run these tests with `cargo local with-servers -- cargo
//! test`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where its setup fails")]

mod accounts;
mod bodies;
mod credentials;
mod keys;
mod lockout;
mod names;
mod registration;
mod support;
