//! Everything that the functions with HTTP routes share.
//!
//! - [`edge`]: the outermost layer, which gives a request its id and its line in the log, and turns failures into
//!   problems
//! - [`cross_site`]: rejects requests that a browser sends on behalf of another site
//! - [`problem`]: errors as HTTP users see them (RFC 9457)
//! - [`problem_type`]: the types of these errors
//! - [`body`]: request bodies: media type, content coding, size limit
//! - [`answer`]: JSON responses and lists
//! - [`fields`]: query strings and forms
//! - [`accept`]: whether a caller prefers a page to JSON
//! - [`page`]: the look of all pages
//! - [`trace_context`]: the caller's trace
//! - [`lambda`]: serves routes behind API Gateway
//! - [`path`]: the paths that API Gateway passes on
//! - [`login`]: keeps the database login valid
//! - `breaker`: makes requests fail at once if the database is out of reach
//! - [`database`]: how long a request waits for the database, and the response if the database fails

pub mod accept;
pub mod answer;
pub mod body;
mod breaker;
pub mod cross_site;
pub mod database;
pub mod edge;
pub mod fields;
pub mod lambda;
pub mod login;
pub mod page;
pub mod path;
pub mod problem;
pub mod problem_type;
pub mod trace_context;
