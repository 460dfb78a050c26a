//! The landing against a real PostgreSQL: `DATABASE_URL` points at the server, each test has a database of its own.

#![expect(clippy::expect_used, reason = "a test that meets what it does not expect has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the model is of the tests' own enums")]

mod change_sets;
mod counts;
mod entities;
mod exactly_once;
mod faults;
mod model;
mod seventh_stream;
mod support;
mod wal2json_source;
