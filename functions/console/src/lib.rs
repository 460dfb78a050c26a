//! The routes and pages for operators, who find, discard and replay dead letters and follow events.
//!
//! A replay is sent like any other event, through the library of `ingest`, which has the connections, the receipts and
//! `Prefer: wait`. The pages also use the routes of `ingest` and
//! `users`. Neither of these two crates depends on this one.
//!
//! - `activity` shows what happened to each stream, and how far it is behind
//! - `dead_letters` lists letters, `groups` groups them by reason, `discard` discards them,
//!   `replay` sends one to its topic again, edited if the operator wants that, and `runs` replays
//!   all letters that match a filter
//! - `audit_log` lists who did what
//! - `follow` finds events in Kafka, with the outcome of each
//! - `pages` offers all of this in a browser, through the routes
//! - `schedule` does what is due every minute
//! - `invocation` distinguishes API Gateway's requests from the schedule's events
//!
//! At the bottom are `error`, `state`, `filter` (which letters are meant) and `body`, which everything may use.

// A step of a run consists of deeply nested futures, and the compiler computes their layout recursively.
#![recursion_limit = "256"]

mod activity;
mod audit_log;
mod body;
mod dead_letters;
mod discard;
mod error;
mod filter;
mod follow;
mod groups;
mod invocation;
mod pages;
mod replay;
mod routes;
mod runs;
mod schedule;
mod state;

pub use crate::invocation::{ConsoleFunction, InvocationError, ScheduleError};
pub use crate::routes::{routes, routes_for_anyone};
pub use crate::runs::advance_forever;
pub use crate::state::Console;
