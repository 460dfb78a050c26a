//! Tests a database that was restored to an earlier state, and consumer groups that were moved: missing events that
//! Kafka still has land once, and events that Kafka no longer has are reported as lost.

mod comparison;
mod data_folder;
mod dead_letters;
mod positions;
