//! Supports integration tests: they use the servers of `cargo local with-servers`, and each test has its own database
//! and topics.

// Every test file is a separate program, and uses only a part of this module.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may panic if its setup fails"
)]

pub mod binaries;
pub mod database;
pub mod gateway;
pub mod geonames;
pub mod kafka;
pub mod process;
pub mod recorder;
pub mod secrecy;

/// Reads a variable that `cargo local with-servers` sets.
fn from_with_servers(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run ./local/test, or cargo local with-servers -- cargo test"))
}

pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
