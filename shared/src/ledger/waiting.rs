//! Table `waiting`: commands whose parent has not arrived. A command is taken out when its parent lands, and rejected
//! if the parent does not come in time.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use super::activity::MINUTE;
use super::records::{KeptRecord, LogPosition, RECORD_ARRAYS, RECORD_COLUMNS, bind_records};
use super::{activity, dead_letters, event_ids, headers};
use crate::kafka::RecordHeader;
use crate::metrics::{Counter, Metrics};

/// The error code of an event whose parent did not come in time.
pub const PARENT_MISSING: &str = "parent_missing";

/// What the waiting commands of one stream share.
#[derive(Debug, Clone, Copy)]
pub struct Queue<'a> {
    /// Their stream.
    pub stream: &'a str,
    /// The stream of their parents.
    pub parent_stream: &'a str,
}

/// A command to queue.
#[derive(Debug, Clone, Copy)]
pub struct Waiter<'a> {
    /// Its record.
    pub record: KeptRecord<'a>,
    /// The key of the entity that the command is about.
    pub entity_key: &'a str,
    /// The key of the parent that the command waits for.
    pub parent_key: &'a str,
    /// When it began to wait, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// The id under which the command lands at most once.
    pub event_id: Option<Uuid>,
}

/// A command that was taken out of the queue.
#[derive(Debug)]
pub struct Released {
    /// The topic of the command's record.
    pub topic: String,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The partition's incarnation.
    pub incarnation: i32,
    /// The record's time, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub payload: Vec<u8>,
    /// The record's headers.
    pub headers: Vec<RecordHeader>,
    /// When the command began to wait, milliseconds since the Unix epoch.
    pub since_ms: i64,
}

impl Released {
    /// Returns the command's record.
    pub fn record(&self) -> KeptRecord<'_> {
        let Self { topic, partition, offset, incarnation, timestamp_ms, key, payload, headers, since_ms: _ } = self;
        let (partition, offset, incarnation) = (*partition, *offset, *incarnation);
        let position = LogPosition { topic, partition, offset, incarnation };
        KeptRecord { position, key: key.as_deref(), payload, headers, timestamp_ms: *timestamp_ms }
    }
}

/// Returns which of these entities have waiting commands and, for each such entity, the key of the parent that its
/// commands wait for.
///
/// # Errors
/// PostgreSQL's error.
pub async fn queued(
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

/// Returns when the oldest waiting command of each stream began to wait, in milliseconds since the Unix epoch.
///
/// # Errors
/// PostgreSQL's error.
pub async fn oldest(executor: impl PgExecutor<'_>) -> Result<HashMap<String, i64>, sqlx::Error> {
    // The query steps from stream to stream, so it reads one index entry per stream instead of all rows.
    const SELECT: &str = "
        with recursive streams as (
            (select stream, since_ms from sluice.waiting order by stream, since_ms limit 1)
            union all
            select next.stream, next.since_ms from streams s cross join lateral (
                select w.stream, w.since_ms from sluice.waiting w
                where w.stream > s.stream order by w.stream, w.since_ms limit 1
            ) as next
        )
        select stream, since_ms from streams";
    let found: Vec<(String, i64)> = sqlx::query_as(SELECT).fetch_all(executor).await?;
    Ok(found.into_iter().collect())
}

/// Queues commands.
///
/// # Errors
/// PostgreSQL's error.
pub async fn enqueue(
    connection: &mut PgConnection,
    queue: Queue<'_>,
    waiters: &[Waiter<'_>],
) -> Result<(), sqlx::Error> {
    if waiters.is_empty() {
        return Ok(());
    }
    let insert = format!(
        "insert into sluice.waiting
             ({RECORD_COLUMNS}, entity_key, parent_key, since_ms, event_id, stream, parent_stream)
         select *, $13, $14
         from unnest({RECORD_ARRAYS}, $9::text[], $10::text[], $11::bigint[], $12::uuid[])"
    );
    bind_records(sqlx::query(&insert), waiters.iter().map(|waiter| waiter.record))
        .bind(waiters.iter().map(|waiter| waiter.entity_key).collect::<Vec<_>>())
        .bind(waiters.iter().map(|waiter| waiter.parent_key).collect::<Vec<_>>())
        .bind(waiters.iter().map(|waiter| waiter.since_ms).collect::<Vec<_>>())
        .bind(waiters.iter().map(|waiter| waiter.event_id).collect::<Vec<_>>())
        .bind(queue.stream)
        .bind(queue.parent_stream)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes out a stream's commands that wait for these entities of another stream. Returns them in the order of their
/// offsets.
///
/// # Errors
/// PostgreSQL's error.
pub async fn release(
    connection: &mut PgConnection,
    stream: &str,
    parent_stream: &str,
    parent_keys: &[String],
) -> Result<Vec<Released>, sqlx::Error> {
    const DELETE: &str = r#"
        with released as (
            delete from sluice.waiting where stream = $1 and parent_stream = $2 and parent_key = any($3)
            returning topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms, since_ms
        )
        select * from released order by topic, incarnation, "partition", "offset""#;
    sqlx::query(DELETE)
        .bind(stream)
        .bind(parent_stream)
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
                headers: headers::from_json(&row.try_get("headers")?),
                since_ms: row.try_get("since_ms")?,
            })
        })
        .fetch_all(connection)
        .await
}

/// The maximum number of events that one statement rejects. Rejecting this many takes about half a second. Rejecting a
/// million at once would exceed an invocation's time, so the statement would fail and be retried forever.
pub const EXPIRED_AT_ONCE: u64 = 10_000;

/// Rejects events that began to wait for their parent before `before_ms`: the oldest ones first, and at most
/// [`EXPIRED_AT_ONCE`]. Counts them in the metrics, and returns their number.
///
/// If a rejected event is sent again under the same id, the event is retried, because its parent may have arrived.
///
/// # Errors
/// PostgreSQL's error.
pub async fn reject_expired(
    executor: impl PgExecutor<'_>,
    before_ms: i64,
    metrics: &Metrics,
) -> Result<u64, sqlx::Error> {
    let reject = format!(
        r#"
        with expired as (
            delete from sluice.waiting where ctid = any(array(
                select ctid from sluice.waiting where since_ms < $1
                order by since_ms, topic, "partition", "offset" limit {EXPIRED_AT_ONCE} for update skip locked
            ))
            returning *
        ), rejected as (
            select *, 'the ' || parent_stream || ' it belongs to did not come in time' as reason, $2 as error_code,
                   null::text as "constraint", null::text as "table", null::text as "column", null::text as pointer
            from expired
            order by topic, "partition", "offset"
        ), noted as ({note_rejections}), kept as ({insert_dead_letters}), counted as ({note_activity})
        select stream, count(*) from rejected group by stream"#,
        note_rejections = event_ids::note_rejections_from("rejected"),
        insert_dead_letters = dead_letters::insert_from("'postgresql'", "rejected"),
        note_activity = activity::note_from(
            "'postgresql'",
            &format!(
                r#"(select topic, "partition", incarnation, {MINUTE} as minute, 0 as written, 0 as duplicates, 0 as superseded, 0 as waiting,
                       count(*) as released, count(*) as rejected, 0 as tombstones, 0 as replays,
                       null::bigint as max_lag_ms, null::bigint as last_offset, null::bigint as end_offset
                from rejected
                group by topic, "partition", incarnation) as ended"#
            )
        ),
    );
    let rejected: Vec<(String, i64)> =
        sqlx::query_as(&reject).bind(before_ms).bind(PARENT_MISSING).fetch_all(executor).await?;
    let mut events = 0;
    for (stream, rejected) in &rejected {
        metrics.count(Counter::Rejected, Some(stream), rejected.cast_unsigned());
        events += rejected.cast_unsigned();
    }
    if events > 0 {
        tracing::info!(events, "events have waited for their parents for too long");
    }
    Ok(events)
}
