//! Table `superseded`: events that changed nothing because their rows had higher versions. They are stored as ranges of
//! consecutive offsets.

use sqlx::PgConnection;

use super::records::LogPosition;

/// Consecutive offsets of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run<'a> {
    topic: &'a str,
    partition: i32,
    incarnation: i32,
    first: i64,
    last: i64,
}

/// Stores superseded events.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(connection: &mut PgConnection, events: &[LogPosition<'_>], now_ms: i64) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.superseded (topic, "partition", incarnation, first_offset, last_offset, seen_at_ms)
        select *, $6 from unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[], $5::bigint[])"#;
    let runs = runs(events);
    if runs.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(runs.iter().map(|run| run.topic).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.partition).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.incarnation).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.first).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.last).collect::<Vec<_>>())
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

fn runs<'a>(events: &[LogPosition<'a>]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = events
        .iter()
        .map(|&LogPosition { topic, partition, offset, incarnation }| Run {
            topic,
            partition,
            incarnation,
            first: offset,
            last: offset,
        })
        .collect();
    runs.sort_unstable_by_key(|run| (run.topic, run.partition, run.incarnation, run.first));
    runs.dedup_by(|next, run| {
        let place = |run: &Run<'_>| (run.partition, run.incarnation);
        let is_next = next.topic == run.topic && place(next) == place(run) && next.first == run.last + 1;
        if is_next {
            run.last = next.last;
        }
        is_next
    });
    runs
}

/// Deletes events that were superseded before `before_ms`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from sluice.superseded where seen_at_ms < $1").bind(before_ms).execute(connection).await?;
    Ok(())
}
