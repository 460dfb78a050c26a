//! Sluice on one machine: the servers it needs, its functions in one process, and what feeds them.
//!
//! - [`command`]: the subcommands of `cargo local`
//! - [`servers`]: Apache Kafka and PostgreSQL, as child processes or in containers
//! - [`event_source_mapping`]: what hands batches of records to `consume`, as Lambda does
//! - [`gateway`]: all functions in this process, behind one router
//! - [`scheduler`]: what invokes functions at the times that the template says
//! - [`mail_sink`]: takes the mails that they send
//! - [`lambda`]: Lambda as a function's process sees it, for tests and benchmarks of the real binaries
//! - [`send`]: random or given events through the HTTP API, and what became of each

mod admin;
mod bench;
pub mod command;
mod credentials;
pub mod environment;
pub mod event_source_mapping;
pub mod gateway;
pub mod interrupts;
mod invoke;
mod invoke_api;
pub mod lambda;
pub mod mail_sink;
mod poll;
pub mod scheduler;
mod schema;
pub mod send;
pub mod servers;
pub mod template;
pub mod terminal;
mod up;
mod with_servers;

pub use command::CommandError;
