//! Accepts events over HTTP: checks them against their contracts, sends them to Kafka, and reports what became of them.
//!
//! The path of an event: `routes` → `body` (splits the body into events) → `accept` → `wait` (if the caller prefers to
//! wait). `accept` calls `check`, which validates every event. `accept` then sends the events together and returns
//! their receipts.
//!
//! With `?validate_only=true`, the path ends at `dry_run`, which also calls `check`, but sends nothing.
//!
//! Every module may use `event_error`, `receipt` and `error`. `state` has what the handlers share.
//!
//! The function `console` replays dead letters with the connections in [`Ingest`] and with [`check_event`],
//! [`send_records`], [`respond`] and [`replay_receipts`]. The console's pages use the routes. Nothing here uses
//! `console`.

mod accept;
mod body;
mod change_rows;
mod check;
mod dry_run;
mod entities;
mod error;
mod event_error;
mod event_status;
mod gaps;
mod header_value;
mod health;
mod idempotency;
mod openapi;
mod partitions;
mod prefer;
mod problems;
mod receipt;
mod routes;
mod similar_stream;
mod state;
mod streams;
mod submit;
mod wait;

pub use crate::accept::{Accepted, respond, send_records};
pub use crate::check::{CheckedEvent, check_event};
pub use crate::error::Error;
pub use crate::event_error::EventError;
pub use crate::event_status::replay_receipts;
pub use crate::prefer::Prefer;
pub use crate::receipt::Receipt;
pub use crate::routes::{post_events_without_router, posted_stream, routes, routes_for_anyone, routes_for_callers};
pub use crate::state::Ingest;
