//! What every process has: a clock, settings from its environment, schedules, and a log. All other roles of this crate use this
//! one; it uses none of them.

pub mod clock;
mod log_writer;
pub mod schedule;
pub mod settings;
pub mod telemetry;
