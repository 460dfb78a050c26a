//! A password is changed: by its user, who has to know the old one, or by an admin.

use axum::http::StatusCode;
use shared::http::edge::Origin;
use shared::identity::name::{self, UserName};
use shared::identity::password::Password;
use shared::identity::{Caller, Denied};

use crate::Users;
use crate::error::{Error, FieldError};
use crate::fields::Posted;

/// Changes the password of `user`.
pub(crate) async fn change(
    users: &Users,
    caller: &Caller,
    user: &str,
    posted: &Posted,
    origin: &Origin,
) -> Result<StatusCode, Error> {
    let is_own = caller.key == name::key(user);
    if !is_own {
        caller.must_be_admin()?;
    }
    let mut errors = Vec::new();
    let old = if is_own { Some(posted.text(&["old"], &mut errors)?) } else { None };
    let new = posted.text(&["new"], &mut errors)?;
    if !errors.is_empty() {
        return Err(Error::Refused(errors));
    }
    let name = UserName::parse(user).map_err(|_| no_such_user())?;
    let new = Password::new(&new, &name, users.settings.blocklist)
        .map_err(|error| Error::Refused(vec![FieldError::new("new", error.to_string())]))?;
    let old = old.as_deref().map(Password::given);
    match users.identity.change_password(user, old, new, origin).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(no_such_user()),
        // Who the caller is was never in doubt.
        Err(Denied::WrongPassword) => Err(Error::WrongOld),
        Err(denied) => Err(denied.into()),
    }
}

fn no_such_user() -> Error {
    Error::NotFound("There is no such user.")
}
