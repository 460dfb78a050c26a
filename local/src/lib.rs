//! Sluice on one machine: the servers it needs, its functions in one process, and what feeds them.
//!
//! - [`command`]: the subcommands of `cargo local`
//! - [`servers`]: Apache Kafka and PostgreSQL, as child processes or in containers
//! - [`event_source_mapping`]: what hands batches of records to `consume`, as Lambda does
//! - [`gateway`]: all functions in this process, behind one router
//! - [`send`]: random or given events through the HTTP API, and what became of each

mod admin;
mod bench;
pub mod command;
mod credentials;
pub mod environment;
pub mod event_source_mapping;
pub mod gateway;
pub mod interrupts;
mod invoker;
mod poll;
mod schema;
pub mod send;
pub mod servers;
pub mod terminal;
mod up;
mod with_servers;

pub use command::CommandError;
