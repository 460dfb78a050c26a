//! Table `deleted_versions`: the versions of deleted rows. If an older event is replayed after the deletion, the
//! version keeps the event from bringing the row back.
//!
//! Landing finds and remembers versions as part of statements that it executes anyway, so the table costs no extra
//! round trip.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::record::event_id::hash;

/// Returns the hashes by which the table identifies entities' keys.
pub fn hashes<'k>(keys: impl Iterator<Item = &'k str>) -> Vec<Uuid> {
    keys.map(|key| hash(&[key.as_bytes()])).collect()
}

/// Returns a query for the versions of some keys. The query has two columns: `position` is the number of the key,
/// counted from 1, and `version` is in PostgreSQL's binary format for the versions' type. The numbers of the parameters
/// begin at `first`. The parameters are the stream, the versions' type and the keys' hashes.
pub fn find(first: usize) -> String {
    format!(
        "select k.position, d.version
         from unnest(${}::uuid[]) with ordinality as k (key_hash, position)
         join sluice.deleted_versions d
           on d.stream = ${first} and d.version_type = ${} and d.key_hash = k.key_hash",
        first + 2,
        first + 1,
    )
}

/// Returns a statement that remembers versions. The numbers of the parameters begin at `first`. The parameters are the
/// stream, the versions' type, the keys' hashes, the versions and the time of the deletion.
pub fn remember(first: usize) -> String {
    format!(
        "insert into sluice.deleted_versions (stream, version_type, key_hash, version, deleted_at_ms)
         select ${first}, ${}, d.key_hash, d.version, ${}::bigint
         from unnest(${}::uuid[], ${}::bytea[]) as d (key_hash, version)
         on conflict (stream, key_hash) do update
         set version_type = excluded.version_type, version = excluded.version, deleted_at_ms = excluded.deleted_at_ms",
        first + 1,
        first + 4,
        first + 2,
        first + 3,
    )
}

/// Forgets the versions of rows that were deleted before `before_ms`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from sluice.deleted_versions where deleted_at_ms < $1")
        .bind(before_ms)
        .execute(connection)
        .await?;
    Ok(())
}
