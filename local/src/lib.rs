//! Runs Sluice on one machine for developers, and parses the command line of `cargo local`.
//!
//! - [`command`]: the subcommands of `cargo local` (the crate `operator` implements the subcommands for operators; the
//!   crate `bench` implements the benchmarks)
//! - [`servers`]: Apache Kafka and PostgreSQL, as child processes or in containers
//! - [`event_source_mapping`]: hands batches of records to `consume`, as Lambda does
//! - [`gateway`]: runs the functions in this process, and passes HTTP requests to them; the module `http_server` serves
//!   the connections
//! - [`function_settings`]: the settings of those functions
//! - [`scheduler`]: invokes functions on the schedules in the template
//! - [`mail_sink`]: receives the e-mails that the functions send
//! - [`lambda`]: an emulation of Lambda, for tests and benchmarks of the real binaries

pub mod bench;
pub mod command;
mod error;
pub mod event_source_mapping;
pub mod function_settings;
pub mod gateway;
mod http_server;
mod invoke;
mod invoke_api;
pub mod lambda;
pub mod mail_sink;
mod monitor;
mod poll;
pub mod scheduler;
pub mod servers;
pub mod template;
mod up;
mod with_aws;
mod with_servers;

pub use error::CommandError;
