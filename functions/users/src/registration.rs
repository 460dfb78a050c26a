//! Registers users.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use shared::http::answer;
use shared::http::edge::Origin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Caller, Role};

use crate::error::{Error, FieldError};
use crate::fields::PostedFields;
use crate::{Registration, Users};

/// The accepted field names for user name and password.
pub(crate) const USER: [&str; 2] = ["user", "username"];
pub(crate) const PASSWORD: [&str; 2] = ["pass", "password"];

/// Checks that the caller may register users. Returns the admin who sent the request, or `None` if registration is open
/// to everyone.
pub(crate) async fn must_be_allowed(
    users: &Users,
    headers: &HeaderMap,
    origin: &Origin,
) -> Result<Option<Caller>, Error> {
    match users.settings.registration {
        Registration::Open => Ok(None),
        Registration::Closed => {
            let caller = users.identity.authenticate(headers, origin).await?;
            caller.must_be_admin()?;
            Ok(Some(caller))
        }
    }
}

pub(crate) async fn register(users: &Users, admin: Option<&Caller>, posted: &PostedFields) -> Result<Response, Error> {
    let mut errors = Vec::new();
    // The field is refused. If the function ignored it, the caller would believe that the user has that role.
    if posted.has("role") {
        errors.push(FieldError::new("role", "must not be set: a new user has the role user"));
    }
    let name = posted.text(&USER, &mut errors)?;
    let password = posted.text(&PASSWORD, &mut errors)?;
    if !errors.is_empty() {
        return Err(Error::Refused(errors));
    }
    let name_field = USER.into_iter().find(|name| posted.has(name)).unwrap_or_default();
    let password_field = PASSWORD.into_iter().find(|name| posted.has(name)).unwrap_or_default();
    let name =
        UserName::parse(&name).map_err(|error| Error::Refused(vec![FieldError::new(name_field, error.to_string())]))?;
    let password = Password::new(&password, &name, users.settings.blocklist)
        .map_err(|error| Error::Refused(vec![FieldError::new(password_field, error.to_string())]))?;
    let by = admin.map_or(name.shown(), |admin| &admin.name);
    if users.identity.register(&name, password, by).await? {
        Ok(answer::json(StatusCode::CREATED, &json!({"user": name.shown(), "role": Role::User})))
    } else {
        Err(Error::Taken)
    }
}
