//! Lists and deletes users, and lists and lifts the blocks of users.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use shared::http::answer::{self, List};
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::identity::account::{self, Deletion, Listed};
use shared::identity::name::UserName;
use shared::identity::{Caller, Role, lockout};

use crate::Users;
use crate::error::Error;
use crate::target_account::{NO_SUCH_USER, TargetAccount};

/// A user in a list.
#[derive(Debug, Serialize)]
struct UserItem {
    user: String,
    role: Role,
    created: String,
    blocked_until: Option<String>,
}

impl UserItem {
    fn new(listed: Listed, now_ms: i64) -> Self {
        let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default().to_string();
        Self {
            user: listed.name,
            role: listed.role,
            created: time(listed.created_ms),
            blocked_until: listed.blocked_until_ms.filter(|until_ms| *until_ms > now_ms).map(time),
        }
    }
}

/// Lists users in the order of their names.
pub(crate) async fn users(users: &Users, query: &Fields) -> Result<Response, Error> {
    let (after, limit) = (query.get("after")?.unwrap_or_default(), query.limit()?);
    let mut found: Vec<Listed> = in_time(account::list(&users.pool, after, i64::from(limit) + 1)).await?;
    let has_more = found.len() > usize::from(limit);
    found.truncate(limit.into());
    let next = found.last().filter(|_| has_more).map(|last| last.key.clone());
    let now_ms = users.clock.now_ms();
    let items: Vec<UserItem> = found.into_iter().map(|listed| UserItem::new(listed, now_ms)).collect();
    Ok(List { items, next }.into_response())
}

/// Deletes a user. Admins may delete every user except the last admin. Other users may delete only themselves.
pub(crate) async fn delete_user(users: &Users, caller: &Caller, user: &str) -> Result<StatusCode, Error> {
    let TargetAccount { name, is_own } = TargetAccount::resolve(caller, user)?;
    match users.identity.delete(&name, is_own.then_some(caller.id), &caller.name).await? {
        Deletion::Deleted => Ok(StatusCode::NO_CONTENT),
        Deletion::NotFound => Err(NO_SUCH_USER),
        Deletion::LastAdmin => Err(Error::LastAdmin),
    }
}

/// Lists blocked users.
pub(crate) async fn blocked(users: &Users) -> Result<Response, Error> {
    let blocked = in_time(lockout::blocked(&users.pool, users.clock.now_ms())).await?;
    let names: Vec<String> = blocked.into_iter().map(|blocked| blocked.name).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "users-blocked": names })))
}

/// Lifts the block of a user.
pub(crate) async fn lift_block(users: &Users, caller: &Caller, user: &str) -> Result<StatusCode, Error> {
    const NOT_BLOCKED: Error = Error::NotFound("No user of this name is blocked.");
    let name = UserName::parse_existing(user).map_err(|_| NOT_BLOCKED)?;
    if users.identity.lift_block(&name, &caller.name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(NOT_BLOCKED) }
}
