//! Table `event_ids`: ids under which an event lands at most once. The id of a rejected event stays in the table with
//! the reason, so that repeats of the event share its outcome.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::Rejection;

/// The minimum time for which the id of an event is remembered, if the event was not rejected.
pub const REMEMBERED_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// An id that belongs to an earlier event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldId {
    /// A hash of the event's payload.
    pub payload_hash: i64,
    /// Why the event was rejected, if it was.
    pub error_code: Option<String>,
}

/// Stores the ids of a stream's events, each with the hash of the event's payload. Returns the ids that belong to
/// earlier events.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(
    connection: &mut PgConnection,
    stream: &str,
    ids: impl IntoIterator<Item = (Uuid, i64)>,
    now_ms: i64,
) -> Result<HashMap<Uuid, HeldId>, sqlx::Error> {
    // The rows are sorted, so that two transactions claim ids in the same order and cannot deadlock.
    const INSERT: &str = "
        insert into sluice.event_ids (stream, id_hash, payload_hash, seen_at_ms)
        select $1, id_hash, payload_hash, $4 from unnest($2::uuid[], $3::bigint[]) as i (id_hash, payload_hash)
        order by id_hash
        on conflict do nothing
        returning id_hash";
    const SELECT: &str =
        "select id_hash, payload_hash, error_code from sluice.event_ids where stream = $1 and id_hash = any($2)";
    let (hashes, payloads): (Vec<Uuid>, Vec<i64>) = ids.into_iter().unzip();
    let inserted: HashSet<Uuid> = sqlx::query_scalar(INSERT)
        .bind(stream)
        .bind(&hashes)
        .bind(payloads)
        .bind(now_ms)
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .collect();
    if inserted.len() == hashes.len() {
        return Ok(HashMap::new());
    }
    let others: Vec<Uuid> = hashes.into_iter().filter(|id| !inserted.contains(id)).collect();
    let found: Vec<(Uuid, i64, Option<String>)> =
        sqlx::query_as(SELECT).bind(stream).bind(others).fetch_all(connection).await?;
    Ok(found.into_iter().map(|(id, payload_hash, error_code)| (id, HeldId { payload_hash, error_code })).collect())
}

/// Clears the rejections of ids whose events are retried. Returns the ids whose rejections it cleared. A passed id that
/// is not returned had no rejection left, perhaps because another transaction had already cleared it.
///
/// # Errors
/// PostgreSQL's error.
pub async fn reopen(
    connection: &mut PgConnection,
    stream: &str,
    ids: &HashSet<Uuid>,
    now_ms: i64,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    const UPDATE: &str = "
        update sluice.event_ids set error_code = null, reason = null, seen_at_ms = $3
        where stream = $1 and id_hash = any($2) and error_code is not null
        returning id_hash";
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let reopened = sqlx::query_scalar(UPDATE).bind(stream).bind(ids).bind(now_ms).fetch_all(connection).await?;
    Ok(reopened.into_iter().collect())
}

/// Stores why events of a stream were rejected, under the ids that they claimed.
///
/// # Errors
/// PostgreSQL's error.
pub async fn note_rejections(
    connection: &mut PgConnection,
    stream: &str,
    rejected: &[(Uuid, &Rejection)],
) -> Result<(), sqlx::Error> {
    if rejected.is_empty() {
        return Ok(());
    }
    let update = note_rejections_from(
        "(select $1::text as stream, * from unnest($2::uuid[], $3::text[], $4::text[])
              as n (event_id, error_code, reason))",
    );
    sqlx::query(&update)
        .bind(stream)
        .bind(rejected.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(rejected.iter().map(|(_, rejection)| rejection.code.as_str()).collect::<Vec<_>>())
        .bind(rejected.iter().map(|(_, rejection)| rejection.reason.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the statement that stores the rejections of `relation`, which has the columns `stream`, `event_id`,
/// `error_code` and `reason`.
pub(super) fn note_rejections_from(relation: &str) -> String {
    format!(
        "update sluice.event_ids i set error_code = r.error_code, reason = r.reason
         from {relation} r where i.stream = r.stream and i.id_hash = r.event_id"
    )
}

/// Deletes ids that were seen before `before_ms`. The id of a rejected event stays as long as the event's dead letter.
/// Without the id, the receipts of events that repeated the rejected event would no longer say `rejected`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    const DELETE: &str = "delete from sluice.event_ids where seen_at_ms < $1 and error_code is null";
    sqlx::query(DELETE).bind(before_ms).execute(connection).await?;
    Ok(())
}
