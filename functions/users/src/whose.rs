//! Whose account a path names: the caller's own, or another's, which is an admin's affair.

use shared::identity::Caller;
use shared::identity::name::UserName;

use crate::error::Error;

/// Nobody has that name.
pub(crate) const NO_SUCH_USER: Error = Error::NotFound("There is no such user.");

/// An account, as a caller names it.
#[derive(Debug)]
pub(crate) struct Whose {
    /// Its name.
    pub(crate) name: UserName,
    /// Whether it is the caller's.
    pub(crate) is_own: bool,
}

impl Whose {
    /// The account of the name `user`, with which the caller may do something.
    ///
    /// # Errors
    /// The caller may not, or nobody can have the name.
    pub(crate) fn of(caller: &Caller, user: &str) -> Result<Self, Error> {
        let name = UserName::parse(user).ok();
        let is_own = name.as_ref().is_some_and(|name| name.key() == caller.key);
        if !is_own {
            caller.must_be_admin()?;
        }
        Ok(Self { name: name.ok_or(NO_SUCH_USER)?, is_own })
    }
}
