//! Users' roles. They are defined here, because contracts list the roles that may post events, and the module
//! `contract` must not use `identity`.

use serde::{Deserialize, Serialize};

/// A user's role, which says what the user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May send events and look up the receipts of events.
    User,
    /// May do everything.
    Admin,
}

impl Role {
    /// Returns the role's name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// Returns the role with this name in the database. Any unknown name means [`Self::User`].
    pub fn named(name: &str) -> Self {
        if name == Self::Admin.name() { Self::Admin } else { Self::User }
    }
}
