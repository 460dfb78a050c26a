//! Tests a database that was restored to an earlier state, and consumer groups that were moved. Events that are missing
//! from the database land once if Kafka still has them; otherwise, they are reported as lost.

mod comparison;
mod data_folder;
mod dead_letters;
mod positions;
