//! Writes actions on users and keys to the audit log.

use serde_json::json;
use shared::http::database::{self, in_time};
use shared::ledger::audit::{self, Action, NewEntry};

use crate::Users;

/// Records that `by` did something to `object`, such as `users/ann`. The action is done, so a failure to record it does
/// not fail the request.
pub(crate) async fn note(users: &Users, by: &str, action: Action, object: String) {
    let entry = NewEntry { user: by, action, object, detail: json!({}) };
    if let Err(error) = in_time(audit::insert(&users.pool, &entry)).await {
        database::log(&error);
        tracing::error!(by, ?action, object = entry.object, "cannot record this action in the audit log");
    }
}
