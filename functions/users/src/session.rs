//! Logs users in.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;
use shared::http::answer;
use shared::http::edge::Origin;
use shared::identity::Denied;
use shared::identity::name::UserName;
use shared::identity::password::Password;

use crate::Users;
use crate::error::Error;
use crate::fields::PostedFields;
use crate::registration::{PASSWORD, USER};

/// Issues a token for a correct password. The names of the answer's members are from RFC 6749, section 5.1.
pub(crate) async fn log_in(users: &Users, posted: &PostedFields, origin: &Origin) -> Result<Response, Error> {
    let mut errors = Vec::new();
    let name = posted.text(&USER, &mut errors)?;
    let password = posted.text(&PASSWORD, &mut errors)?;
    if !errors.is_empty() {
        return Err(Error::Refused(errors));
    }
    let name = UserName::parse_existing(&name).map_err(|_| Denied::WrongPassword)?;
    let (token, expires_in) = users.identity.log_in(&name, Password::given(&password), origin).await?;
    let body = json!({"success": true, "token": token, "token_type": "Bearer", "expires_in": expires_in});
    let mut response = answer::json(StatusCode::OK, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
