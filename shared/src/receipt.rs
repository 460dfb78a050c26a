//! Receipts: what became of an event, told from its partition's watermark and from what did not go its plain way.

use serde::Serialize;
use sqlx::{PgExecutor, Row as _};

use crate::dead_letter::Rejection;
use crate::metrics::{Counter, Metrics};

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not decided yet.
    Pending,
    /// Its parent is not there yet.
    Waiting {
        /// Since when, milliseconds since the Unix epoch.
        since_ms: i64,
    },
    /// It is in its table.
    Written,
    /// It repeats an event that has landed already.
    Duplicate,
    /// It is in the dead letters, or repeats an event that is.
    Rejected(Rejection),
}

/// The outcome's name, as receipts show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not decided yet.
    Pending,
    /// Its parent is not there yet.
    Waiting,
    /// It is in its table.
    Written,
    /// It repeats an event that has landed already.
    Duplicate,
    /// It is in the dead letters, or repeats an event that is.
    Rejected,
}

impl Outcome {
    /// Its name.
    pub fn status(&self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Waiting { .. } => Status::Waiting,
            Self::Written => Status::Written,
            Self::Duplicate => Status::Duplicate,
            Self::Rejected(_) => Status::Rejected,
        }
    }
}

/// Looks up the outcomes of one topic's records, given as partition and offset, in their order.
///
/// Offsets that a partition had before it started anew are not looked up: what counts is its present incarnation.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn look_up(
    executor: impl PgExecutor<'_>,
    topic: &str,
    records: &[(i32, i64)],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let (partitions, offsets) = records.iter().copied().unzip();
    look(executor, topic, partitions, offsets, None).await
}

/// As [`look_up`], of records that were just sent, given as partition, offset and record time in milliseconds since
/// the Unix epoch.
///
/// A record that is newer than all that was applied is not applied, whatever its offset: its partition has started
/// anew, and the watermark does not show it yet.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn look_up_sent(
    executor: impl PgExecutor<'_>,
    topic: &str,
    records: &[(i32, i64, i64)],
) -> Result<Vec<Outcome>, sqlx::Error> {
    let partitions = records.iter().map(|record| record.0).collect();
    let offsets = records.iter().map(|record| record.1).collect();
    let times_ms = records.iter().map(|record| record.2).collect();
    look(executor, topic, partitions, offsets, Some(times_ms)).await
}

async fn look(
    executor: impl PgExecutor<'_>,
    topic: &str,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    times_ms: Option<Vec<i64>>,
) -> Result<Vec<Outcome>, sqlx::Error> {
    // What lies below an incarnation's first offset is of the log that was truncated: it has kept its fate.
    const SELECT: &str = r#"
        select coalesce(r."offset" < w.next_offset and coalesce(r.time_ms <= w.max_timestamp_ms, true), false)
                   as applied,
               coalesce(d.reason, u.reason) as reason, coalesce(d.error_code, u.error_code) as error_code,
               coalesce(q.since_ms, u.since_ms) as since_ms, u.topic is not null as duplicate
        from unnest($2::integer[], $3::bigint[], $4::bigint[])
             with ordinality as r ("partition", "offset", time_ms, position)
        left join sluice.watermarks w on w.topic = $1 and w."partition" = r."partition"
        left join lateral (
            select reason, error_code from sluice.dead_letters x
            where x.topic = $1 and x."partition" = r."partition" and x."offset" = r."offset"
                  and (x.incarnation = w.incarnation or r."offset" < w.first_offset)
            order by x.incarnation desc limit 1
        ) d on true
        left join lateral (
            select since_ms from sluice.waiting x
            where x.topic = $1 and x."partition" = r."partition" and x."offset" = r."offset"
                  and (x.incarnation = w.incarnation or r."offset" < w.first_offset)
            order by x.incarnation desc limit 1
        ) q on true
        left join lateral (
            select x.topic, i.reason, i.error_code, first.since_ms from sluice.duplicates x
            left join sluice.event_ids i on i.stream = x.stream and i.id_hash = x.id_hash
            left join sluice.waiting first on first.stream = x.stream and first.event_id = x.id_hash
            where x.topic = $1 and x."partition" = r."partition" and x."offset" = r."offset"
                  and (x.incarnation = w.incarnation or r."offset" < w.first_offset)
            order by x.incarnation desc limit 1
        ) u on true
        order by r.position"#;
    sqlx::query(SELECT)
        .bind(topic)
        .bind(partitions)
        .bind(offsets)
        .bind(times_ms)
        .try_map(|row| {
            let reason: Option<String> = row.try_get("reason")?;
            let since_ms: Option<i64> = row.try_get("since_ms")?;
            Ok(if !row.try_get::<bool, _>("applied")? {
                Outcome::Pending
            } else if let Some(reason) = reason {
                let code = row.try_get("error_code")?;
                Outcome::Rejected(Rejection { code, reason })
            } else if let Some(since_ms) = since_ms {
                Outcome::Waiting { since_ms }
            } else if row.try_get("duplicate")? {
                Outcome::Duplicate
            } else {
                Outcome::Written
            })
        })
        .fetch_all(executor)
        .await
}

/// The error code of an event whose parent did not come in time.
pub const PARENT_MISSING: &str = "parent_missing";

/// Rejects the events that have waited for their parent since before `before_ms`. Counts them, and returns how many.
///
/// Sent again under the same id, they are tried anew: the parent may have come.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn reject_expired(
    executor: impl PgExecutor<'_>,
    before_ms: i64,
    metrics: &Metrics,
) -> Result<u64, sqlx::Error> {
    const REJECT: &str = r#"
        with expired as (
            delete from sluice.waiting where since_ms < $1 returning *
        ), rejected as (
            select *, 'the ' || parent_stream || ' it belongs to did not come in time' as reason, $2 as error_code
            from expired
        ), noted as (
            update sluice.event_ids i set error_code = r.error_code, reason = r.reason
            from rejected r where i.stream = r.stream and i.id_hash = r.event_id
        ), kept as (
            insert into sluice.dead_letters
                (topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms, reason, error_code)
            select topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms, reason, error_code
            from rejected
            order by topic, "partition", "offset"
        )
        select stream, count(*) from rejected group by stream"#;
    let rejected: Vec<(String, i64)> =
        sqlx::query_as(REJECT).bind(before_ms).bind(PARENT_MISSING).fetch_all(executor).await?;
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
