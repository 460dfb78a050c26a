//! The functions' login to the database. The database's owner creates this login, and the functions use it.

use crate::aws::Secret;

/// The functions' login.
#[derive(Debug, Clone)]
pub struct FunctionsLogin {
    /// The role's name.
    pub name: String,
    /// How the role authenticates.
    pub authentication: Authentication,
}

/// How a role authenticates.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// With a password; `None` if the server requires no password.
    Password(Option<Secret>),
    /// With tokens that AWS IAM signs.
    Iam,
}
