//! Table `stalls`: partitions whose records cannot land, why, and since when.
//!
//! A stall ends when the partition's watermark advances after the latest failure. The stall's row may stay for a while.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, PgExecutor, Row as _};

use super::{Destination, POSTGRESQL};

/// The maximum number of stalls that are listed.
const LISTED: i64 = 1_000;

/// The number of days for which a stall is kept after the last delivery of its batch. A batch that is no longer
/// delivered may belong to a topic or mapping that is gone.
const KEPT_DAYS: i32 = 7;

/// Who has to act before a failed batch can land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator: retrying alone will not help.
    Operator,
    /// Nobody: the batch lands once the environment recovers.
    Environment,
}

/// How a stall was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// A batch that failed. The stall ends when the partition lands something.
    Batch,
    /// A comparison of watermarks with Kafka, or of contracts with their tables. The stall also ends when a later
    /// comparison finds no fault.
    Comparison,
}

/// Why a batch failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence. It names stream, table, column and SQLSTATE as far as they are known. It contains no value of an
    /// event.
    pub reason: String,
    /// The failed invocation's error type.
    pub error_type: &'static str,
    /// PostgreSQL's error code, if PostgreSQL rejected the batch.
    pub sqlstate: Option<String>,
    /// Who has to act.
    pub fault: Fault,
}

/// A partition that cannot land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where it cannot land.
    pub destination: String,
    /// Why it cannot land.
    pub reason: String,
    /// When the partition's batches began to fail. None has landed since.
    pub since: Timestamp,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Environment => "environment",
        }
    }
}

impl FoundBy {
    fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Comparison => "comparison",
        }
    }
}

/// Stores a stall for each of these partitions. A comparison does not replace the current stall of a failed batch.
///
/// The failed transaction must have ended. The cause of the failure may be that transactions are read-only by default,
/// so this function begins a transaction that is explicitly writable.
///
/// # Errors
/// PostgreSQL's error.
pub async fn record(
    connection: &mut PgConnection,
    destination: Destination,
    partitions: &[(&str, i32)],
    failure: &Failure,
    found_by: FoundBy,
) -> Result<(), sqlx::Error> {
    const UPSERT: &str = r#"
        insert into sluice.stalls as s
            (destination, topic, "partition", reason, error_type, sqlstate, fault, found_by, since, last_failed_at)
        select $1, p.topic, p."partition", $4, $5, $6, $7, $8, clock_timestamp(), clock_timestamp()
        from unnest($2::text[], $3::integer[]) as p (topic, "partition")
        order by p.topic collate "C", p."partition"
        on conflict (destination, topic, "partition") do update
        set reason = excluded.reason, error_type = excluded.error_type, sqlstate = excluded.sqlstate,
            fault = excluded.fault, found_by = excluded.found_by, last_failed_at = excluded.last_failed_at,
            since = case when exists (
                select from sluice.watermarks w
                where w.destination = s.destination and w.topic = s.topic and w."partition" = s."partition"
                      and w.updated_at >= s.last_failed_at
            ) then excluded.since else s.since end
        where s.found_by = excluded.found_by or excluded.found_by = 'batch' or exists (
            select from sluice.watermarks w
            where w.destination = s.destination and w.topic = s.topic and w."partition" = s."partition"
                  and w.updated_at >= s.last_failed_at
        )"#;
    let (topics, numbers): (Vec<&str>, Vec<i32>) = partitions.iter().copied().unzip();
    let mut transaction = connection.begin_with("begin read write").await?;
    sqlx::query(UPSERT)
        .bind(destination.name())
        .bind(topics)
        .bind(numbers)
        .bind(&failure.reason)
        .bind(failure.error_type)
        .bind(&failure.sqlstate)
        .bind(failure.fault.name())
        .bind(found_by.name())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Deletes the stalls of partitions whose batch turned out to have been applied before. Such a batch succeeds without
/// advancing the watermark, so the stall would not end by itself.
///
/// # Errors
/// PostgreSQL's error.
pub async fn clear(
    executor: impl PgExecutor<'_>,
    destination: Destination,
    partitions: &[(&str, i32)],
) -> Result<(), sqlx::Error> {
    const DELETE: &str = r#"
        delete from sluice.stalls s using unnest($2::text[], $3::integer[]) as p (topic, "partition")
        where s.destination = $1 and s.topic = p.topic and s."partition" = p."partition""#;
    let (topics, numbers): (Vec<&str>, Vec<i32>) = partitions.iter().copied().unzip();
    sqlx::query(DELETE).bind(destination.name()).bind(topics).bind(numbers).execute(executor).await?;
    Ok(())
}

/// Deletes the stalls that earlier comparisons recorded for these partitions, because the latest comparison found no
/// fault.
///
/// # Errors
/// PostgreSQL's error.
pub async fn clear_compared(
    executor: impl PgExecutor<'_>,
    destination: Destination,
    partitions: &[(&str, i32)],
) -> Result<(), sqlx::Error> {
    const DELETE: &str = r#"
        delete from sluice.stalls s using unnest($2::text[], $3::integer[]) as p (topic, "partition")
        where s.destination = $1 and s.topic = p.topic and s."partition" = p."partition" and s.found_by = 'comparison'"#;
    let (topics, numbers): (Vec<&str>, Vec<i32>) = partitions.iter().copied().unzip();
    sqlx::query(DELETE).bind(destination.name()).bind(topics).bind(numbers).execute(executor).await?;
    Ok(())
}

/// Deletes, for all destinations, the stalls that have ended, and the stalls whose batch has not failed again for a
/// week.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    const DELETE: &str = r#"
        delete from sluice.stalls s
        where s.last_failed_at < now() - make_interval(days => $1)
           or exists (select from sluice.watermarks w
                      where w.destination = s.destination and w.topic = s.topic and w."partition" = s."partition"
                            and w.updated_at >= s.last_failed_at)"#;
    sqlx::query(DELETE).bind(KEPT_DAYS).execute(executor).await?;
    Ok(())
}

/// Lists the current stalls, the oldest first.
///
/// # Errors
/// PostgreSQL's error.
pub async fn list(executor: impl PgExecutor<'_>) -> Result<Vec<Stall>, sqlx::Error> {
    const SELECT: &str = r#"
        select topic, "partition", destination, reason, (extract(epoch from since) * 1000)::bigint as since_ms
        from sluice.stalled
        order by since, topic collate "C", "partition", destination
        limit $1"#;
    let stall = |row: PgRow| {
        let since_ms: i64 = row.try_get("since_ms")?;
        Ok(Stall {
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            destination: row.try_get("destination")?,
            reason: row.try_get("reason")?,
            since: Timestamp::from_millisecond(since_ms).unwrap_or_default(),
        })
    };
    sqlx::query(SELECT).bind(LISTED).try_map(stall).fetch_all(executor).await
}

/// Looks up why a topic's partitions cannot land, by partition. Partitions that can land are left out.
///
/// # Errors
/// PostgreSQL's error.
pub async fn reasons(executor: impl PgExecutor<'_>, topic: &str) -> Result<BTreeMap<i32, String>, sqlx::Error> {
    const SELECT: &str = r#"select "partition", reason from sluice.stalled where destination = $1 and topic = $2"#;
    let found: Vec<(i32, String)> = sqlx::query_as(SELECT).bind(POSTGRESQL).bind(topic).fetch_all(executor).await?;
    Ok(found.into_iter().collect())
}
