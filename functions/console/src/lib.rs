//! The routes and pages with which operators find, discard and replay dead letters, and follow events.
//!
//! A replay is sent like any other event, through the library of `ingest`, which provides the connections, the receipts
//! and `Prefer: wait`. The pages also use the routes of `ingest` and `users`. Neither of these two crates depends on
//! this one.
//!
//! - `activity` shows each stream's activity and lag
//! - `dead_letters` lists letters, `groups` groups them by reason, and `discard` discards them
//! - `replay` sends a letter's event, as it is or edited, to its topic again; `not_replayable` says why it cannot
//! - `runs` replays all letters that match a filter
//! - `audit_log` lists who did what
//! - `follow` finds events in Kafka, with the outcome of each
//! - `pages` offers all of this in a browser, through the routes
//! - `schedule` does the work that is due every minute
//! - `invocation` handles both kinds of invocation: requests, which API Gateway sends, and the schedule's events
//!
//! All modules may use `error`, `state`, `filter` (reads filters of dead letters) and `body` (reads request bodies).

// The module `runs` contains deeply nested futures, and the compiler computes their layout recursively.
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
mod not_replayable;
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
