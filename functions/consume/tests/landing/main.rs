//! Tests the landing against a real PostgreSQL. `DATABASE_URL` names the server; each test creates its own database.

#![expect(clippy::expect_used, reason = "a test that meets anything unexpected has failed")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the model matches on enums that the tests define")]

mod activity;
mod amounts;
mod bigquery;
mod change_sets;
mod composed_names;
mod costs;
mod counts;
mod deferred;
mod drift;
mod entities;
mod exactly_once;
mod fast_path;
mod faults;
mod gaps;
mod memory_log;
mod metadata;
mod model;
mod new_stream;
mod overtaken;
mod own_stream;
mod reasons;
mod replays;
mod retention;
mod same_payload;
mod shown;
mod snapshot;
mod stalls;
mod support;
mod version_model;
mod versions;
mod wal2json_source;
