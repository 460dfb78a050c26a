//! Commands whose parent is not there yet: they queue in the database and are taken out when the parent lands.

use std::collections::HashMap;

use shared::dead_letter;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use crate::batch::Header;
use crate::candidate::Candidate;
use crate::check::EventId;

/// What waiters of one stream have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue<'a> {
    pub(super) stream: &'a str,
    pub(super) parent_stream: &'a str,
    pub(super) now_ms: i64,
}

/// A command that is to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter<'a> {
    pub(super) candidate: &'a Candidate<'a>,
    pub(super) entity_key: &'a str,
    pub(super) parent_key: &'a str,
}

/// A command taken out of the queue.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) incarnation: i32,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Vec<Header>,
    pub(crate) since_ms: i64,
}

impl Released {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(header, _)| header == name)?.1.as_deref()
    }
}

/// For which of these entities commands are waiting, with the parent that they wait for.
pub(super) async fn queued(
    connection: &mut PgConnection,
    stream: &str,
    entity_keys: &[&str],
) -> Result<HashMap<String, String>, sqlx::Error> {
    const SELECT: &str = "
        select distinct entity_key, parent_key from sluice.waiting
        where stream = $1 and entity_key = any($2)";
    let found: Vec<(String, String)> =
        sqlx::query_as(SELECT).bind(stream).bind(entity_keys).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

pub(super) async fn enqueue(
    connection: &mut PgConnection,
    queue: Queue<'_>,
    waiters: Vec<Waiter<'_>>,
) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.waiting
            (stream, parent_stream, topic, "partition", "offset", incarnation, entity_key, parent_key, key, payload,
             headers, record_timestamp_ms, since_ms, event_id)
        select $1, $2, * from unnest($3::text[], $4::integer[], $5::bigint[], $6::integer[], $7::text[], $8::text[],
                                     $9::bytea[], $10::bytea[], $11::jsonb[], $12::bigint[], $13::bigint[], $14::uuid[])"#;
    if waiters.is_empty() {
        return Ok(());
    }
    let candidates = || waiters.iter().map(|waiter| waiter.candidate);
    sqlx::query(INSERT)
        .bind(queue.stream)
        .bind(queue.parent_stream)
        .bind(candidates().map(|c| c.topic).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.partition).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.offset).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.incarnation).collect::<Vec<_>>())
        .bind(waiters.iter().map(|waiter| waiter.entity_key).collect::<Vec<_>>())
        .bind(waiters.iter().map(|waiter| waiter.parent_key).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.key).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.payload).collect::<Vec<_>>())
        .bind(candidates().map(Candidate::headers_json).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.timestamp_ms).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.waiting_since_ms.unwrap_or(queue.now_ms)).collect::<Vec<_>>())
        .bind(candidates().map(|c| c.id.map(|EventId { id, .. }| id)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes out the commands of a stream that wait for these parents, in the order of their offsets.
pub(crate) async fn release(
    connection: &mut PgConnection,
    stream: &str,
    parent_keys: &[String],
) -> Result<Vec<Released>, sqlx::Error> {
    const DELETE: &str = r#"
        with released as (
            delete from sluice.waiting where stream = $1 and parent_key = any($2)
            returning topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms, since_ms
        )
        select * from released order by topic, incarnation, "partition", "offset""#;
    sqlx::query(DELETE)
        .bind(stream)
        .bind(parent_keys)
        .try_map(|row: PgRow| {
            Ok(Released {
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                offset: row.try_get("offset")?,
                incarnation: row.try_get("incarnation")?,
                timestamp_ms: row.try_get("record_timestamp_ms")?,
                key: row.try_get("key")?,
                payload: row.try_get("payload")?,
                headers: dead_letter::headers_from_json(&row.try_get("headers")?),
                since_ms: row.try_get("since_ms")?,
            })
        })
        .fetch_all(connection)
        .await
}
