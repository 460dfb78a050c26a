//! Changes passwords. Callers who change their own password must give the old one. Admins may change another user's
//! password without the old one.

use axum::http::StatusCode;
use shared::http::edge::Origin;
use shared::identity::password::Password;
use shared::identity::{Caller, Denied};

use crate::Users;
use crate::error::{Error, FieldError};
use crate::fields::PostedFields;
use crate::target_account::{NO_SUCH_USER, TargetAccount};

/// Changes the password of `user`.
pub(crate) async fn change(
    users: &Users,
    caller: &Caller,
    user: &str,
    posted: &PostedFields,
    origin: &Origin,
) -> Result<StatusCode, Error> {
    let TargetAccount { name, is_own } = TargetAccount::resolve(caller, user)?;
    let mut errors = Vec::new();
    let old = if is_own { Some(posted.text(&["old"], &mut errors)?) } else { None };
    let new = posted.text(&["new"], &mut errors)?;
    if !errors.is_empty() {
        return Err(Error::Refused(errors));
    }
    let new = Password::new(&new, &name, users.settings.blocklist)
        .map_err(|error| Error::Refused(vec![FieldError::new("new", error.to_string())]))?;
    let changed = match old {
        Some(old) => users.identity.change_password(&name, Password::given(&old), new, origin).await.map(|()| true),
        None => users.identity.reset_password(&name, new).await,
    };
    match changed {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(NO_SUCH_USER),
        // The caller is authenticated; only the old password is wrong.
        Err(Denied::WrongPassword) => Err(Error::WrongOld),
        Err(denied) => Err(denied.into()),
    }
}
