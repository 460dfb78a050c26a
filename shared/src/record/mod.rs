//! The headers of records. `ingest` and `console` write them and `consume` reads them, so their names and meaning are
//! defined here.

pub mod event_id;
pub mod headers;
pub mod place;
pub mod replay;
