//! Ids under which an event lands at most once: claimed in the landing transaction, given up if the event is rejected.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::check::EventId;

/// What became of an event's claim to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the first of its id.
    First,
    /// The same payload was there before: in this batch, at this index, or in an earlier one.
    Repeat(Option<usize>),
    /// Another payload was there before.
    Conflict,
}

/// Claims the ids of a stream's events; answered in their order, with indexes among them.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    stream: &str,
    ids: &[EventId],
    now_ms: i64,
) -> Result<Vec<Claim>, sqlx::Error> {
    // Sorted, so that two transactions claim in one order and do not deadlock.
    const INSERT: &str = "
        insert into sluice.event_ids (stream, id_hash, payload_hash, seen_at_ms)
        select $1, id_hash, payload_hash, $4 from unnest($2::uuid[], $3::bigint[]) as i (id_hash, payload_hash)
        order by id_hash
        on conflict do nothing
        returning id_hash";
    const SELECT: &str = "select id_hash, payload_hash from sluice.event_ids where stream = $1 and id_hash = any($2)";
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut first: HashMap<Uuid, usize> = HashMap::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        first.entry(id.id).or_insert(index);
    }
    let (hashes, payloads): (Vec<Uuid>, Vec<i64>) = first.values().map(|&i| (ids[i].id, ids[i].payload_hash)).unzip();
    let claimed: Vec<Uuid> = sqlx::query_scalar(INSERT)
        .bind(stream)
        .bind(&hashes)
        .bind(payloads)
        .bind(now_ms)
        .fetch_all(&mut *connection)
        .await?;
    let mut earlier: HashMap<Uuid, i64> = HashMap::new();
    if claimed.len() < hashes.len() {
        let found: Vec<(Uuid, i64)> =
            sqlx::query_as(SELECT).bind(stream).bind(&hashes).fetch_all(&mut *connection).await?;
        earlier.extend(found);
        claimed.iter().for_each(|id| {
            earlier.remove(id);
        });
    }
    Ok(ids
        .iter()
        .enumerate()
        .map(|(index, id)| match (earlier.get(&id.id), first.get(&id.id)) {
            (Some(payload), _) if *payload == id.payload_hash => Claim::Repeat(None),
            (Some(_), _) => Claim::Conflict,
            (None, Some(&first)) if first != index && ids[first].payload_hash == id.payload_hash => {
                Claim::Repeat(Some(first))
            }
            (None, Some(&first)) if first != index => Claim::Conflict,
            (None, _) => Claim::First,
        })
        .collect())
}

/// Gives up ids whose events were rejected: sent again, they are new.
pub(crate) async fn give_up(connection: &mut PgConnection, stream: &str, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if !ids.is_empty() {
        sqlx::query("delete from sluice.event_ids where stream = $1 and id_hash = any($2)")
            .bind(stream)
            .bind(ids)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Notes events that repeat others, given as topic, partition, offset and incarnation.
pub(crate) async fn note_duplicates(
    connection: &mut PgConnection,
    records: &[(&str, i32, i64, i32)],
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.duplicates (topic, "partition", "offset", incarnation, seen_at_ms)
        select *, $5 from unnest($1::text[], $2::integer[], $3::bigint[], $4::integer[])"#;
    if records.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(records.iter().map(|record| record.0).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.1).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.2).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.3).collect::<Vec<_>>())
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets ids and duplicates that were seen before `before_ms`.
pub(crate) async fn forget(pool: &sqlx::PgPool, before_ms: i64) -> Result<(), sqlx::Error> {
    for delete in
        ["delete from sluice.event_ids where seen_at_ms < $1", "delete from sluice.duplicates where seen_at_ms < $1"]
    {
        sqlx::query(delete).bind(before_ms).execute(pool).await?;
    }
    Ok(())
}
