//! Table `bigquery_event_ids`: ids under which an event lands in BigQuery at most once.
//!
//! An id is claimed before the event's row is appended. A claim names its record, so a record that is processed again
//! after a crash is recognised as the holder of its own id.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::records::LogPosition;

/// A record's claim to an id.
#[derive(Debug, Clone, Copy)]
pub struct IdClaim<'a> {
    /// The id.
    pub id: Uuid,
    /// A hash of the event's payload.
    pub payload_hash: i64,
    /// The record.
    pub position: LogPosition<'a>,
}

/// The record that holds an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdHolder {
    /// The hash of the holder's payload.
    pub payload_hash: i64,
    /// The holder's partition, offset and incarnation.
    pub place: (i32, i64, i32),
}

/// Claims ids of a stream's events. No id may be claimed twice in one call. Returns the holder of each id: the claiming
/// record itself, unless an earlier record holds the id.
///
/// # Errors
/// PostgreSQL's error.
pub async fn claim(
    connection: &mut PgConnection,
    stream: &str,
    claims: &[IdClaim<'_>],
    now_ms: i64,
) -> Result<HashMap<Uuid, IdHolder>, sqlx::Error> {
    // The rows are sorted, so that two transactions claim ids in the same order and cannot deadlock.
    const INSERT: &str = r#"
        insert into sluice.bigquery_event_ids (stream, id_hash, payload_hash, "partition", "offset", incarnation, seen_at_ms)
        select $1, id_hash, payload_hash, "partition", "offset", incarnation, $7
        from unnest($2::uuid[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[])
            as c (id_hash, payload_hash, "partition", "offset", incarnation)
        order by id_hash
        on conflict do nothing"#;
    const SELECT: &str = r#"
        select id_hash, payload_hash, "partition", "offset", incarnation from sluice.bigquery_event_ids
        where stream = $1 and id_hash = any($2)"#;
    if claims.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.id).collect();
    sqlx::query(INSERT)
        .bind(stream)
        .bind(&ids)
        .bind(claims.iter().map(|claim| claim.payload_hash).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.position.partition).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.position.offset).collect::<Vec<_>>())
        .bind(claims.iter().map(|claim| claim.position.incarnation).collect::<Vec<_>>())
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
    let holder = |row: PgRow| {
        let place = (row.try_get("partition")?, row.try_get("offset")?, row.try_get("incarnation")?);
        Ok((row.try_get("id_hash")?, IdHolder { payload_hash: row.try_get("payload_hash")?, place }))
    };
    let found: Vec<(Uuid, IdHolder)> =
        sqlx::query(SELECT).bind(stream).bind(&ids).try_map(holder).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Deletes ids that were seen before `before_ms`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from sluice.bigquery_event_ids where seen_at_ms < $1")
        .bind(before_ms)
        .execute(connection)
        .await?;
    Ok(())
}
