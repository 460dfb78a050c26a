//! Registers users, logs them in, blocks them after wrong passwords, and manages service keys. This crate has the
//! routes. The rules are in `shared::identity`, which other functions use, too.

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
