//! New users.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use shared::http::answer;
use shared::http::edge::Origin;
use shared::identity::Role;
use shared::identity::name::UserName;
use shared::identity::password::Password;

use crate::error::{Error, FieldError};
use crate::fields::Posted;
use crate::{Registration, Users};

/// Names under which a user's name and password are posted.
pub(crate) const USER: [&str; 2] = ["user", "username"];
pub(crate) const PASSWORD: [&str; 2] = ["pass", "password"];

/// Whether whoever asks may register users.
pub(crate) async fn must_be_allowed(users: &Users, headers: &HeaderMap, origin: &Origin) -> Result<(), Error> {
    match users.settings.registration {
        Registration::Open => Ok(()),
        Registration::Closed => Ok(users.identity.authenticate(headers, origin).await?.must_be_admin()?),
    }
}

/// Adds a user.
pub(crate) async fn register(users: &Users, posted: &Posted) -> Result<Response, Error> {
    let mut errors = Vec::new();
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
    if users.identity.register(&name, password).await? {
        Ok(answer::json(StatusCode::CREATED, &json!({"user": name.shown(), "role": Role::User})))
    } else {
        Err(Error::Taken)
    }
}
