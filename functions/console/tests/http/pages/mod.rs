//! Tests the pages through a browser without scripts, which follows links and redirects, and submits forms.

mod addresses;
mod browser;
mod follow;
mod headers;
mod letters;
mod overview;
mod runs;
mod sign_in;
mod streams;
mod users;
