//! Prepares the database and the cluster for the functions. `migrate` runs inside the VPC, which a laptop cannot reach.
//!
//! - `request`: reads an invocation's request, sent by CloudFormation or by an operator (`aws lambda invoke`)
//! - `custom_resource`: handles CloudFormation's requests; `delivery` sends the answers
//! - `prepare`: creates whatever is missing: the database, schema and tables, the functions' `role`, topics
//! - `role`: the functions' login, grants and settings; `scram` keeps the role's password out of PostgreSQL's log
//!
//! `migrate` is the only function that logs in as the database's owner.

mod custom_resource;
mod delivery;
mod error;
mod function;
mod prepare;
mod request;
mod role;
mod scram;

pub use self::error::MigrateError;
pub use self::function::MigrateFunction;
