//! Landing in BigQuery, against tables in memory.

mod cases;
mod fake;
mod model;
mod world;
