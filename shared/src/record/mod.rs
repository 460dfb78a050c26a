//! What records say about themselves in their headers. `ingest` and `console` write the headers and `consume` reads
//! them, so their names and meaning are defined here.

pub mod event_id;
pub mod headers;
pub mod place;
pub mod replay;
