//! What integration tests stand on: the servers that `cargo local with-servers` gave us, a database of one's own,
//! topics of one's own.

// Every test file is a program of its own and uses a part of this.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test ends where its ground gives way"
)]

pub mod binaries;
pub mod database;
pub mod gateway;
pub mod geonames;
pub mod kafka;
pub mod process;
pub mod recorder;

/// A variable that `cargo local with-servers` sets.
fn from_with_servers(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run ./local/test, or cargo local with-servers -- cargo test"))
}

/// A name that nobody else has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
