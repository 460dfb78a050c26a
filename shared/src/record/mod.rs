//! What records say about themselves in their headers. `ingest` writes the headers and `consume` reads them, so their names
//! and meaning are here. Uses nothing else of this crate.

pub mod event_id;
pub mod headers;
pub mod place;
pub mod replay;
