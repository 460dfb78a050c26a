//! Tests the functions' real binaries under Lambda's Runtime API. The functions are frozen between invocations.
//!
//! `SLUICE_BINARIES` names a folder with the binaries to test, such as `target/release`. By default, the tests build
//! the binaries. `SLUICE_FREEZE_SECONDS` sets for how many seconds a function is frozen while its broker and database
//! are killed and restarted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]
#![allow(clippy::print_stderr, reason = "the run prints measurements")]

#[path = "../connections/aws.rs"]
#[allow(dead_code, reason = "this program uses only a part of the module")]
mod aws;
mod black_hole;
mod deadline;
mod emulator;
mod event_source;
mod freeze;
mod function;
mod http_api;
mod init;
mod outages;
mod report;
mod shutdown;
#[path = "../migrate/stack.rs"]
#[allow(dead_code, reason = "this program uses only a part of the module")]
mod stack;
#[path = "../support/mod.rs"]
mod support;
mod throttled;
mod under_emulator;
