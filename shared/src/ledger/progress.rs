//! How far landing has come, for metrics: watermarks, stalls and open dead letters at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

use super::{POSTGRESQL, letter_counts};

/// How far landing has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The progress of each partition, by topic and partition. Partitions from which nothing has landed are missing.
    pub applied: BTreeMap<(String, i32), PartitionProgress>,
    /// How many partitions are stalled, by topic.
    pub stalled: BTreeMap<String, u64>,
    /// How many dead letters are open, by topic.
    pub open_dead_letters: BTreeMap<String, u64>,
}

impl Progress {
    /// Returns the next offset to apply, by topic and partition.
    pub fn next_offsets(&self) -> BTreeMap<(String, i32), i64> {
        self.applied.iter().map(|(key, applied)| (key.clone(), applied.next_offset)).collect()
    }
}

/// How far one partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The next offset to apply.
    pub next_offset: i64,
    /// How long ago the partition last landed something.
    pub success_age: Duration,
}

/// Reads the progress of all partitions.
///
/// # Errors
/// PostgreSQL's error.
pub async fn read(pool: &PgPool) -> Result<Progress, sqlx::Error> {
    const APPLIED: &str = r#"
        select topic, "partition", next_offset,
               greatest((extract(epoch from clock_timestamp() - updated_at) * 1000)::bigint, 0) as success_age_ms
        from sluice.watermarks
        where destination = $1"#;
    const STALLED: &str = "select topic, count(*) from sluice.stalled where destination = $1 group by topic";
    let mut connection = pool.acquire().await?;
    let applied = |row: PgRow| {
        let key = (row.try_get("topic")?, row.try_get("partition")?);
        let success_age = Duration::from_millis(row.try_get::<i64, _>("success_age_ms")?.unsigned_abs());
        Ok((key, PartitionProgress { next_offset: row.try_get("next_offset")?, success_age }))
    };
    let applied = sqlx::query(APPLIED).bind(POSTGRESQL).try_map(applied).fetch_all(&mut *connection).await?;
    let stalled: Vec<(String, i64)> = sqlx::query_as(STALLED).bind(POSTGRESQL).fetch_all(&mut *connection).await?;
    let open = letter_counts::open_by_topic(&mut *connection, POSTGRESQL).await?;
    let counts = |found: Vec<(String, i64)>| found.into_iter().map(|(topic, n)| (topic, n.unsigned_abs())).collect();
    Ok(Progress { applied: applied.into_iter().collect(), stalled: counts(stalled), open_dead_letters: counts(open) })
}
