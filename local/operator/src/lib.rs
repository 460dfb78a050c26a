//! The commands of `cargo local` that an operator runs against any cluster, on this machine or elsewhere.
//!
//! - [`schema`]: prepares the database (`migrate`) and the topics (`topics`)
//! - [`admin`]: makes a user an admin
//! - [`contracts`]: compares contracts with older contracts and with real events
//! - [`dead_letters`]: lists, groups, replays and discards dead letters
//! - [`follow`]: shows what happened to an event, step by step
//! - [`send`]: sends random events, or the events of a file, through the HTTP API, and follows each event to its row
//!
//! The crate `local` parses the command line. It also uses [`environment`], [`credentials`], [`interrupts`] and
//! [`terminal`]. This crate, `operator`, does not depend on the crates of the Lambda functions.

pub mod admin;
mod client;
pub mod contracts;
pub mod credentials;
pub mod dead_letters;
pub mod environment;
mod error;
pub mod follow;
pub mod interrupts;
pub mod schema;
pub mod send;
pub mod terminal;

pub use error::OperatorError;

/// The gateway's address if `local/up` listens on its default port.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:9000";
