//! Creates, lists and deletes service keys. Users manage their own keys, and admins manage everyone's keys.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;
use shared::contract::{Contract, Registry};
use shared::http::answer::{self, List};
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::identity::keys::{self, ListedKey, NewKey};
use shared::identity::{Caller, Grant, Role};

use crate::Users;
use crate::error::{Error, FieldError};
use crate::fields::PostedFields;
use crate::posted_key::PostedKey;
use crate::target_account::TargetAccount;

/// A key in a response.
#[derive(Debug, Serialize)]
struct KeyItem {
    id: i64,
    /// The whole key. Only the response to `POST /keys` contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    name: String,
    user: String,
    streams: Vec<String>,
    prefix: String,
    created: String,
    expires: Option<String>,
    last_used: Option<String>,
}

impl From<ListedKey> for KeyItem {
    fn from(listed: ListedKey) -> Self {
        let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default().to_string();
        Self {
            id: listed.id,
            key: None,
            name: listed.name,
            user: listed.user,
            streams: listed.streams,
            prefix: listed.prefix,
            created: time(listed.created_at_ms),
            expires: listed.expires_at_ms.map(time),
            last_used: listed.last_used_at_ms.map(time),
        }
    }
}

/// Creates a key for the caller, or for the user that an admin names. Only this answer contains the whole key.
pub(crate) async fn create(users: &Users, caller: &Caller, posted: &PostedFields) -> Result<Response, Error> {
    let posted = PostedKey::read(posted)?;
    let owner = owner(users, caller, posted.user.as_deref()).await?;
    check_streams(&users.registry, caller, &owner, &posted.streams)?;
    let created_at_ms = users.clock.now_ms();
    let new = NewKey {
        user_id: owner.id,
        name: posted.name,
        grant: Grant::new(posted.streams, caller.role == Role::Admin),
        created_at_ms,
        expires_at_ms: posted.expires_in_seconds.map(|seconds| created_at_ms + seconds * 1_000),
    };
    let (key, listed) = users.identity.create_key(&new, &caller.name).await?.ok_or_else(no_such_user)?;
    let item = KeyItem { key: Some(key.reveal().to_owned()), ..listed.into() };
    let mut response = answer::json(StatusCode::CREATED, &item);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn no_such_user() -> Error {
    Error::Refused(vec![FieldError::new("user", "no user has this name")])
}

/// Returns the user to whom the key will belong.
async fn owner(users: &Users, caller: &Caller, user: Option<&str>) -> Result<Caller, Error> {
    let Some(user) = user else { return Ok(caller.clone()) };
    match TargetAccount::resolve(caller, user) {
        Ok(TargetAccount { is_own: true, .. }) => Ok(caller.clone()),
        Ok(TargetAccount { name, .. }) => users.identity.user(&name).await?.ok_or_else(no_such_user),
        Err(Error::NotFound(_)) => Err(no_such_user()),
        Err(error) => Err(error),
    }
}

/// Checks that the streams exist, and that the owner may post to them. Only an admin may name streams whose contracts
/// have no roles.
fn check_streams(registry: &Registry, caller: &Caller, owner: &Caller, streams: &[String]) -> Result<(), Error> {
    let (mut errors, mut forbidden) = (Vec::new(), None);
    for (index, stream) in streams.iter().enumerate().filter(|(_, stream)| *stream != Grant::ALL) {
        let mut wrong = |detail: &str| errors.push(FieldError::new(&format!("streams/{index}"), detail));
        let Some(contract) = registry.stream(stream) else {
            wrong("no stream has this name");
            continue;
        };
        if contract.stream == Contract::LOGIN {
            wrong("must not be named: only Sluice itself writes to this stream");
        } else if contract.roles.is_empty() {
            if caller.must_be_admin().is_err() {
                forbidden.get_or_insert(format!(
                    "Only admins may create keys for {stream:?}, because its contract has no roles."
                ));
            }
        } else if owner.may_post(contract).is_err() {
            if owner.id == caller.id {
                forbidden.get_or_insert(format!("Your role does not allow you to post to {stream:?}."));
            } else {
                wrong("must not be named: the role of the key's user does not allow posting to this stream");
            }
        }
    }
    match (errors.is_empty(), forbidden) {
        (false, _) => Err(Error::Refused(errors)),
        (true, Some(detail)) => Err(Error::Forbidden(detail)),
        (true, None) => Ok(()),
    }
}

/// Lists keys in the order of their creation. Admins see everyone's keys, and other users see their own.
pub(crate) async fn list(users: &Users, caller: &Caller, query: &Fields) -> Result<Response, Error> {
    let (after, limit) = (query.after_id()?, query.limit()?);
    let mut found = in_time(keys::list(&users.pool, only(caller), after, i64::from(limit) + 1)).await?;
    let has_more = found.len() > usize::from(limit);
    found.truncate(limit.into());
    let next = found.last().filter(|_| has_more).map(|last| last.id.to_string());
    let items: Vec<KeyItem> = found.into_iter().map(KeyItem::from).collect();
    Ok(List { items, next }.into_response())
}

/// Deletes a key. Admins may delete everyone's keys, and other users may delete their own.
pub(crate) async fn delete(users: &Users, caller: &Caller, id: &str) -> Result<StatusCode, Error> {
    const NO_SUCH_KEY: Error = Error::NotFound("There is no such service key.");
    let id: i64 = id.parse().map_err(|_| NO_SUCH_KEY)?;
    let is_deleted = users.identity.delete_key(id, only(caller), &caller.name).await?;
    if is_deleted { Ok(StatusCode::NO_CONTENT) } else { Err(NO_SUCH_KEY) }
}

/// Returns the caller's id if the caller may see and delete only the caller's own keys. Returns `None` for an admin.
fn only(caller: &Caller) -> Option<i64> {
    match caller.role {
        Role::Admin => None,
        Role::User => Some(caller.id),
    }
}
