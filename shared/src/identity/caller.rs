//! Who a request comes from, and what they may do.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Denied;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Send events and ask what became of them.
    User,
    /// Everything.
    Admin,
}

impl Role {
    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// The role of this name in the database.
    pub(super) fn named(name: &str) -> Self {
        if name == Self::Admin.name() { Self::Admin } else { Self::User }
    }
}

/// The user whom a request comes from. As a handler's parameter it is there behind [`super::authenticated`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's number, which no other account ever has.
    pub id: i64,
    /// The name as it was registered.
    pub name: String,
    /// The name as it is compared.
    pub key: String,
    /// What the user may do.
    pub role: Role,
}

impl Caller {
    /// Whether the caller may post events of a stream that these roles may post to.
    ///
    /// # Errors
    /// The caller may not.
    pub fn may_post(&self, roles: &[Role]) -> Result<(), Denied> {
        let may = roles.contains(&self.role) || (self.role == Role::Admin && !roles.is_empty());
        if may { Ok(()) } else { Err(Denied::Forbidden) }
    }

    /// Whether the caller is an admin.
    ///
    /// # Errors
    /// The caller is not.
    pub fn must_be_admin(&self) -> Result<(), Denied> {
        match self.role {
            Role::Admin => Ok(()),
            Role::User => Err(Denied::Forbidden),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Denied> {
        parts.extensions.get().cloned().ok_or(Denied::Missing)
    }
}

/// An admin. As a handler's parameter it keeps others out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin(pub Caller);

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denied> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.must_be_admin()?;
        Ok(Self(caller))
    }
}

/// Lets everyone in as an admin, where nobody is asked for a name: for measuring what asking costs, and for tests of other things.
pub async fn anyone(mut request: Request, next: Next) -> Response {
    let caller = Caller { id: 0, name: "anyone".to_owned(), key: "anyone".to_owned(), role: Role::Admin };
    request.extensions_mut().insert(caller);
    next.run(request).await
}
