//! Ids under which an event lands at most once: claimed in the landing transaction. An event that is rejected keeps
//! its id, so that a batch that is sent again ends as it did: else a command that was refused might succeed after those
//! that followed it.

use std::collections::{HashMap, HashSet};

use shared::dead_letter::Rejection;
use shared::receipt::PARENT_MISSING;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::candidate::Candidate;
use crate::check::EventId;

/// What became of an event's claim to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the first of its id, or tries again what was rejected.
    First,
    /// The same payload was there before, in this batch or an earlier one, and has its fate.
    Repeat,
    /// Another payload was there before.
    Conflict,
}

/// An id that an earlier event has.
#[derive(Debug)]
struct Held {
    payload_hash: i64,
    /// Why the event was rejected, if it was.
    error_code: Option<String>,
}

impl Held {
    /// Whether an event may try again what was rejected: a dead letter that is put back, or any whose parent did not
    /// come in time and may have come since.
    fn opens_to(&self, id: &EventId) -> bool {
        let is_open = self.error_code.as_ref().is_some_and(|code| id.is_replay || code == PARENT_MISSING);
        is_open && self.payload_hash == id.payload_hash
    }
}

/// Claims the ids of a stream's events; answered in their order.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    stream: &str,
    ids: &[EventId],
    now_ms: i64,
) -> Result<Vec<Claim>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut held = insert(connection, stream, ids, now_ms).await?;
    let opening: HashSet<Uuid> =
        ids.iter().filter(|id| held.get(&id.id).is_some_and(|held| held.opens_to(id))).map(|id| id.id).collect();
    let opened = open(connection, stream, &opening, now_ms).await?;
    let claims = ids.iter().map(|id| match held.get_mut(&id.id) {
        None => {
            held.insert(id.id, Held { payload_hash: id.payload_hash, error_code: None });
            Claim::First
        }
        Some(held) if held.payload_hash != id.payload_hash => Claim::Conflict,
        Some(held) if held.opens_to(id) && opened.contains(&id.id) => {
            held.error_code = None;
            Claim::First
        }
        Some(_) => Claim::Repeat,
    });
    Ok(claims.collect())
}

/// Inserts the ids that are new; answers the others.
async fn insert(
    connection: &mut PgConnection,
    stream: &str,
    ids: &[EventId],
    now_ms: i64,
) -> Result<HashMap<Uuid, Held>, sqlx::Error> {
    // Sorted, so that two transactions claim in one order and do not deadlock.
    const INSERT: &str = "
        insert into sluice.event_ids (stream, id_hash, payload_hash, seen_at_ms)
        select $1, id_hash, payload_hash, $4 from unnest($2::uuid[], $3::bigint[]) as i (id_hash, payload_hash)
        order by id_hash
        on conflict do nothing
        returning id_hash";
    const SELECT: &str =
        "select id_hash, payload_hash, error_code from sluice.event_ids where stream = $1 and id_hash = any($2)";
    let mut first: HashMap<Uuid, i64> = HashMap::with_capacity(ids.len());
    for id in ids {
        first.entry(id.id).or_insert(id.payload_hash);
    }
    let (hashes, payloads): (Vec<Uuid>, Vec<i64>) = first.into_iter().unzip();
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
    Ok(found.into_iter().map(|(id, payload_hash, error_code)| (id, Held { payload_hash, error_code })).collect())
}

/// Takes rejections back from ids whose events are tried again; answers those that no other transaction took first.
async fn open(
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
    let opened = sqlx::query_scalar(UPDATE).bind(stream).bind(ids).bind(now_ms).fetch_all(connection).await?;
    Ok(opened.into_iter().collect())
}

/// Notes why events were rejected, under the ids that they claimed.
pub(crate) async fn note_rejections(
    connection: &mut PgConnection,
    stream: &str,
    rejected: &[(Uuid, &Rejection)],
) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "
        update sluice.event_ids i set error_code = r.error_code, reason = r.reason
        from unnest($2::uuid[], $3::text[], $4::text[]) as r (id_hash, error_code, reason)
        where i.stream = $1 and i.id_hash = r.id_hash";
    if rejected.is_empty() {
        return Ok(());
    }
    sqlx::query(UPDATE)
        .bind(stream)
        .bind(rejected.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(rejected.iter().map(|(_, rejection)| rejection.code.as_str()).collect::<Vec<_>>())
        .bind(rejected.iter().map(|(_, rejection)| rejection.reason.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes events of a stream that repeat others.
pub(crate) async fn note_duplicates(
    connection: &mut PgConnection,
    stream: &str,
    repeats: &[&Candidate<'_>],
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.duplicates (topic, "partition", "offset", incarnation, id_hash, stream, seen_at_ms)
        select *, $6, $7 from unnest($1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::uuid[])"#;
    if repeats.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(repeats.iter().map(|repeat| repeat.topic).collect::<Vec<_>>())
        .bind(repeats.iter().map(|repeat| repeat.partition).collect::<Vec<_>>())
        .bind(repeats.iter().map(|repeat| repeat.offset).collect::<Vec<_>>())
        .bind(repeats.iter().map(|repeat| repeat.incarnation).collect::<Vec<_>>())
        .bind(repeats.iter().map(|repeat| repeat.id.map(|id| id.id)).collect::<Vec<_>>())
        .bind(stream)
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets ids and duplicates that were seen before `before_ms`. Those of rejected events stay, as their dead letters
/// do: nothing else tells them from events that were written.
pub(crate) async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    const DUPLICATES: &str = "
        delete from sluice.duplicates d where seen_at_ms < $1 and not exists (
            select from sluice.event_ids i
            where i.stream = d.stream and i.id_hash = d.id_hash and i.error_code is not null)";
    const IDS: &str = "delete from sluice.event_ids where seen_at_ms < $1 and error_code is null";
    for delete in [DUPLICATES, IDS] {
        sqlx::query(delete).bind(before_ms).execute(&mut *connection).await?;
    }
    Ok(())
}
