//! Finds the minute in which each record landed. The table `activity` has a row for each partition and minute; the
//! latest minute's counts are in `watermarks`.

use sqlx::PgExecutor;

use super::POSTGRESQL;

/// The number of days for which `activity` keeps a minute.
const KEPT_DAYS: i32 = 35;

/// Returns the minute in which each of a topic's records landed: the minute's beginning, in milliseconds since the Unix
/// epoch. Records are given as partition, offset and time.
///
/// A record's result is `None` in three cases:
/// - The record has not landed.
/// - The record is so old that the minute in which it landed may no longer be kept.
/// - Some records of the partition began to wait for their parents in the minute in which `consume` processed this
///   record. This record may be one of them. If so, it landed later than in that minute, or it still waits.
///
/// # Errors
/// PostgreSQL's error.
pub async fn find(
    executor: impl PgExecutor<'_>,
    topic: &str,
    records: &[(i32, i64, i64)],
) -> Result<Vec<Option<i64>>, sqlx::Error> {
    // If a topic was recreated, several incarnations may have the offset. The query uses the latest incarnation in
    // which this offset or a higher one has landed.
    const SELECT: &str = r#"
        select (extract(epoch from m.minute) * 1000)::bigint
        from unnest($2::integer[], $3::bigint[], $4::bigint[])
             with ordinality as r ("partition", "offset", time_ms, position)
        left join lateral (
            select minute, waiting from sluice.minutes
            where destination = $5 and topic = $1 and "partition" = r."partition" and last_offset >= r."offset"
            order by incarnation desc, minute, waiting desc
            limit 1
        ) m on m.waiting = 0 and to_timestamp(r.time_ms / 1000.0) > now() - make_interval(days => $6)
        order by r.position"#;
    let column = |of: fn(&(i32, i64, i64)) -> i64| records.iter().map(of).collect::<Vec<_>>();
    sqlx::query_scalar(SELECT)
        .bind(topic)
        .bind(records.iter().map(|record| record.0).collect::<Vec<_>>())
        .bind(column(|record| record.1))
        .bind(column(|record| record.2))
        .bind(POSTGRESQL)
        .bind(KEPT_DAYS)
        .fetch_all(executor)
        .await
}
