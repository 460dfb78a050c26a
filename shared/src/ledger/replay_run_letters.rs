//! Table `replay_run_letters`: the dead letters that runs of replays still have to replay.

use sqlx::{PgConnection, PgExecutor, QueryBuilder};

use super::filter::Filter;

/// Adds the letters that match the filter to a run. Returns how many were added.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert_matching(connection: &mut PgConnection, run: i64, filter: &Filter) -> Result<u64, sqlx::Error> {
    let mut query = QueryBuilder::new("insert into sluice.replay_run_letters (run_id, letter_id) select ");
    query.push_bind(run).push(", id from sluice.dead_letters");
    filter.push_where(&mut query);
    Ok(query.build().execute(connection).await?.rows_affected())
}

/// Returns the next letters of a run, ordered by id: at most `limit`, and fewer if their payloads together would exceed
/// `max_bytes`, but at least one.
///
/// # Errors
/// PostgreSQL's error.
pub async fn next(
    connection: &mut PgConnection,
    run: i64,
    limit: i64,
    max_bytes: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    const SELECT: &str = "
        select letter_id from (
            select letter_id, row_number() over (order by letter_id) as position,
                   sum(coalesce(octet_length(d.payload), 0)) over (order by letter_id) as bytes
            from (select letter_id from sluice.replay_run_letters where run_id = $1 order by letter_id limit $2) as l
            left join sluice.dead_letters d on d.id = l.letter_id
        ) as counted
        where bytes <= $3 or position = 1
        order by letter_id";
    sqlx::query_scalar(SELECT).bind(run).bind(limit).bind(max_bytes).fetch_all(connection).await
}

/// Removes letters that the run has replayed or skipped.
///
/// # Errors
/// PostgreSQL's error.
pub async fn remove(connection: &mut PgConnection, run: i64, letters: &[i64]) -> Result<(), sqlx::Error> {
    const DELETE: &str = "delete from sluice.replay_run_letters where run_id = $1 and letter_id = any($2)";
    sqlx::query(DELETE).bind(run).bind(letters).execute(connection).await?;
    Ok(())
}

/// Removes the letters of cancelled runs.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget_cancelled(executor: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    const DELETE: &str = "
        delete from sluice.replay_run_letters l using sluice.replay_runs r where r.id = l.run_id and r.status = 'cancelled'";
    sqlx::query(DELETE).execute(executor).await?;
    Ok(())
}
