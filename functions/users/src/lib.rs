//! Users: registration, login, lockout, service keys. `shared::identity` holds the rules, which all functions use; this crate has the
//! routes.

mod error;
mod fields;
mod keys;
mod lists;
mod passwords;
mod posted_key;
mod registration;
mod routes;
mod session;
mod settings;
mod state;
mod target_account;

pub use crate::routes::{routes, routes_for_callers};
pub use crate::settings::{Registration, UsersSettings};
pub use crate::state::Users;
