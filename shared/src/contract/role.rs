//! What a user may do. The type is not in `identity`, because contracts say which roles may post their events.

use serde::{Deserialize, Serialize};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send events and look up their receipts.
    User,
    /// Everything.
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

    /// Parses a role's name in the database.
    pub fn named(name: &str) -> Self {
        if name == Self::Admin.name() { Self::Admin } else { Self::User }
    }
}
