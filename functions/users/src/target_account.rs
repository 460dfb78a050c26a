//! The account that a request names. Only admins may name an account that is not their own.

use shared::identity::Caller;
use shared::identity::name::UserName;

use crate::error::Error;

/// The `404` for a name that no user has.
pub(crate) const NO_SUCH_USER: Error = Error::NotFound("There is no such user.");

/// An account named by a caller.
#[derive(Debug)]
pub(crate) struct TargetAccount {
    /// The account's name.
    pub(crate) name: UserName,
    /// Whether the account is the caller's own.
    pub(crate) is_own: bool,
}

impl TargetAccount {
    /// Resolves the account named `user`, if the caller may act on it.
    ///
    /// # Errors
    /// The caller may not act on the account, or no user can have this name.
    pub(crate) fn resolve(caller: &Caller, user: &str) -> Result<Self, Error> {
        let name = UserName::parse_existing(user).ok();
        let is_own = name.as_ref().is_some_and(|name| name.key() == caller.key);
        if !is_own {
            caller.must_be_admin()?;
        }
        Ok(Self { name: name.ok_or(NO_SUCH_USER)?, is_own })
    }
}
