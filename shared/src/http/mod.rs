//! What all functions that answer HTTP have in common.
//!
//! - [`edge`]: the outermost layer: a request's id, its line in the log, failures as problems
//! - [`problem`]: errors as HTTP users see them (RFC 9457)
//! - [`body`]: a request's body: its media type, its coding, and no more of its bytes than the limit
//! - [`answer`], [`fields`]: answers in JSON and lists; query strings and forms
//! - [`lambda`]: routes behind API Gateway
//! - [`login`]: a database that lets requests in, although passwords change
//! - [`database`]: how long the database has to answer, and what is answered when it does not

pub mod answer;
pub mod body;
pub mod database;
pub mod edge;
pub mod fields;
pub mod lambda;
pub mod login;
pub mod problem;
