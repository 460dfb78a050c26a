//! Sessions that users have signed out of: the rows of `sluice.ended_sessions`. They are read together with accounts.

use sqlx::PgExecutor;

/// A session to end.
#[derive(Debug)]
pub(super) struct EndedSession {
    /// The number of the user's account.
    pub(super) user_id: i64,
    /// The session's number.
    pub(super) session_id: i64,
    /// The time by which the session's last token has expired.
    pub(super) kept_until_ms: i64,
}

/// Records that a session has ended, unless its user has been deleted. Also deletes the rows whose `kept_until_ms` has
/// passed.
pub(super) async fn insert(
    executor: impl PgExecutor<'_>,
    ended: &EndedSession,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    const INSERT: &str = "
        with expired as (delete from sluice.ended_sessions where kept_until_ms < $4)
        insert into sluice.ended_sessions (user_id, session_id, kept_until_ms)
        select u.id, $2, $3 from sluice.users u where u.id = $1 for key share
        on conflict (user_id, session_id) do nothing";
    let EndedSession { user_id, session_id, kept_until_ms } = ended;
    sqlx::query(INSERT).bind(user_id).bind(session_id).bind(kept_until_ms).bind(now_ms).execute(executor).await?;
    Ok(())
}
