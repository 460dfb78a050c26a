//! The caller of a request, and what a caller may do.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::Denied;
use super::grant::Grant;
use crate::contract::{Contract, Role};
use crate::http::edge::note_user;

/// The user who sent a request, or whose service key was used to send it. A handler can take a `Caller` as a parameter
/// if its route is behind [`super::authenticated`] or [`super::authenticated_or_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's number, which is never reused.
    pub id: i64,
    /// The name as it was registered.
    pub name: String,
    /// The name in the form in which names are compared.
    pub key: String,
    /// What the user may do.
    pub role: Role,
    /// The grant of the service key that sent the request; `None` if the user sent it.
    pub grant: Option<Arc<Grant>>,
}

impl Caller {
    /// Checks that the caller may post events of a contract's stream.
    ///
    /// # Errors
    /// The caller may not post them.
    pub fn may_post(&self, contract: &Contract) -> Result<(), Denied> {
        if contract.stream == Contract::LOGIN && contract.roles.is_empty() {
            return Err(Denied::OwnStream);
        }
        let with_key = match &self.grant {
            Some(grant) if grant.includes(contract) => true,
            Some(_) => return Err(Denied::OtherStream),
            None => false,
        };
        match (contract.roles.as_slice(), self.role) {
            ([], _) if with_key => Ok(()),
            ([], _) => Err(Denied::KeysOnly),
            (_, Role::Admin) => Ok(()),
            (roles, role) if roles.contains(&role) => Ok(()),
            (_, Role::User) => Err(Denied::Forbidden),
        }
    }

    /// Checks that the caller is a user, and not a service key.
    ///
    /// # Errors
    /// The request was sent with a service key.
    pub fn must_be_user(&self) -> Result<(), Denied> {
        match self.grant {
            None => Ok(()),
            Some(_) => Err(Denied::UsersOnly),
        }
    }

    /// Checks that the caller is an admin.
    ///
    /// # Errors
    /// The caller is not an admin.
    pub fn must_be_admin(&self) -> Result<(), Denied> {
        self.must_be_user()?;
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

/// An admin. A handler that takes an `Admin` as a parameter answers `403` to every other [`Caller`].
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

/// Treats every request as an admin's. This is for measuring the cost of authentication, and for tests of other parts.
pub async fn anyone(mut request: Request, next: Next) -> Response {
    let caller = Caller { id: 0, name: "anyone".to_owned(), key: "anyone".to_owned(), role: Role::Admin, grant: None };
    note_user(&caller.name);
    request.extensions_mut().insert(caller);
    next.run(request).await
}
