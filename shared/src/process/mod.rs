//! What every process has: a clock, settings from its environment, schedules, and a log. This module is the lowest of
//! the crate: all others may use it, and it uses none of them.

pub mod clock;
mod log_writer;
pub mod schedule;
pub mod settings;
pub mod telemetry;
