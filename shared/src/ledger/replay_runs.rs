//! Table `replay_runs`: replays of all dead letters that match a filter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row as _};

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// Who began it.
    pub created_by: String,
    /// When it began.
    pub created_at: Timestamp,
    /// Its filter, as it was given.
    pub filter: Value,
    /// Whether it also replays letters whose event was already replayed three times, and letters whose keys
    /// have, or may have, later events.
    pub is_forced: bool,
    /// How many letters matched.
    pub letters: i64,
    /// How many were replayed.
    pub replayed: i64,
    /// How many were skipped.
    pub skipped: i64,
    /// How many were skipped for each reason, by the reason's name. Letters that older versions of Sluice skipped are
    /// not among them.
    pub skip_reasons: BTreeMap<String, i64>,
    /// `running`, `done` or `cancelled`.
    pub status: String,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Why a run skips a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The letter was replayed, discarded or deleted after the run began, or it has expired.
    NotOpen,
    /// No stream uses the letter's topic any more.
    NoStream,
    /// The letter's event could not be written to BigQuery.
    OfBigquery,
    /// The letter's event was replayed so often that another replay would probably be rejected, too.
    ReplayedOften,
    /// A later event with the letter's key was written or may still be written.
    LaterEvent,
    /// A later event with the letter's key cannot be ruled out, because Kafka no longer has the letter's event or the
    /// search took too long.
    LaterEventPossible,
    /// The letter's event is too large for the broker.
    TooLarge,
}

impl SkipReason {
    const fn name(self) -> &'static str {
        match self {
            Self::NotOpen => "not_open",
            Self::NoStream => "no_stream",
            Self::OfBigquery => "of_bigquery",
            Self::ReplayedOften => "replayed_often",
            Self::LaterEvent => "later_event",
            Self::LaterEventPossible => "later_event_possible",
            Self::TooLarge => "too_large",
        }
    }
}

const COLUMNS: &str =
    "id, created_by, (extract(epoch from created_at) * 1000)::bigint as created_ms, filter, is_forced,
    letters, replayed, skipped, skip_reasons, status, (extract(epoch from finished_at) * 1000)::bigint as finished_ms";

fn read(row: &PgRow) -> Result<Run, sqlx::Error> {
    let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
    Ok(Run {
        id: row.try_get("id")?,
        created_by: row.try_get("created_by")?,
        created_at: time(row.try_get("created_ms")?),
        filter: row.try_get("filter")?,
        is_forced: row.try_get("is_forced")?,
        letters: row.try_get("letters")?,
        replayed: row.try_get("replayed")?,
        skipped: row.try_get("skipped")?,
        skip_reasons: row.try_get::<Json<_>, _>("skip_reasons")?.0,
        status: row.try_get("status")?,
        finished_at: row.try_get::<Option<i64>, _>("finished_ms")?.map(time),
    })
}

/// Stores a new run, which has no letters yet. Returns its id.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(
    connection: &mut PgConnection,
    created_by: &str,
    filter: &Value,
    is_forced: bool,
) -> Result<i64, sqlx::Error> {
    const INSERT: &str =
        "insert into sluice.replay_runs (created_by, filter, is_forced) values ($1, $2, $3) returning id";
    sqlx::query_scalar(INSERT).bind(created_by).bind(filter).bind(is_forced).fetch_one(connection).await
}

/// Stores how many letters a new run has. Returns the run, which is done at once if it has no letters.
///
/// # Errors
/// PostgreSQL's error.
pub async fn set_letters(connection: &mut PgConnection, id: i64, letters: u64) -> Result<Run, sqlx::Error> {
    let update = format!(
        "update sluice.replay_runs
         set letters = $2, status = case $2 when 0 then 'done' else 'running' end,
             finished_at = case $2 when 0 then now() end
         where id = $1 returning {COLUMNS}"
    );
    sqlx::query(&update).bind(id).bind(letters.cast_signed()).try_map(|row| read(&row)).fetch_one(connection).await
}

/// Looks up a run.
///
/// # Errors
/// PostgreSQL's error.
pub async fn find(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<Run>, sqlx::Error> {
    let select = format!("select {COLUMNS} from sluice.replay_runs where id = $1");
    sqlx::query(&select).bind(id).try_map(|row| read(&row)).fetch_optional(executor).await
}

/// Lists at most `limit` runs with an id less than `before`, newest first.
///
/// # Errors
/// PostgreSQL's error.
pub async fn list(executor: impl PgExecutor<'_>, before: i64, limit: i64) -> Result<Vec<Run>, sqlx::Error> {
    let select = format!("select {COLUMNS} from sluice.replay_runs where id < $1 order by id desc limit $2");
    sqlx::query(&select).bind(before).bind(limit).try_map(|row| read(&row)).fetch_all(executor).await
}

/// Lists the ids of the runs that are still running, oldest first.
///
/// # Errors
/// PostgreSQL's error.
pub async fn running(executor: impl PgExecutor<'_>) -> Result<Vec<i64>, sqlx::Error> {
    const SELECT: &str = "select id from sluice.replay_runs where status = 'running' order by id";
    sqlx::query_scalar(SELECT).fetch_all(executor).await
}

/// Claims a run until the transaction ends, so that only one process at a time continues it. Returns the run, or `None`
/// if another process has claimed it or if it is not running. Other processes may still read and cancel the run.
///
/// # Errors
/// PostgreSQL's error.
pub async fn claim(connection: &mut PgConnection, id: i64) -> Result<Option<Run>, sqlx::Error> {
    const LOCK: &str = "select pg_try_advisory_xact_lock(hashtextextended('sluice.replay_runs', $1))";
    let is_free: bool = sqlx::query_scalar(LOCK).bind(id).fetch_one(&mut *connection).await?;
    if !is_free {
        return Ok(None);
    }
    let run = find(&mut *connection, id).await?;
    Ok(run.filter(|run| run.status == "running"))
}

/// Adds to the numbers of a run's replayed and skipped letters, and ends the run if no letters are left. `skipped` has
/// a reason for each letter that was skipped. The caller has claimed `run`, so no other process changes these numbers.
///
/// # Errors
/// PostgreSQL's error.
pub async fn note_progress(
    connection: &mut PgConnection,
    run: Run,
    replayed: usize,
    skipped: impl Iterator<Item = SkipReason>,
) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "
        update sluice.replay_runs r
        set replayed = $2, skipped = $3, skip_reasons = $4,
            status = case when e.ends and r.status = 'running' then 'done' else r.status end,
            finished_at = case when e.ends and r.status = 'running' then now() else r.finished_at end
        from (select not exists (select from sluice.replay_run_letters where run_id = $1) as ends) e
        where r.id = $1";
    let replayed = run.replayed.saturating_add(i64::try_from(replayed).unwrap_or(i64::MAX));
    let (mut count, mut reasons) = (run.skipped, run.skip_reasons);
    for reason in skipped {
        count += 1;
        *reasons.entry(reason.name().to_owned()).or_default() += 1;
    }
    sqlx::query(UPDATE).bind(run.id).bind(replayed).bind(count).bind(Json(reasons)).execute(connection).await?;
    Ok(())
}

/// Cancels a run. Returns whether it was running.
///
/// # Errors
/// PostgreSQL's error.
pub async fn cancel(connection: &mut PgConnection, id: i64) -> Result<bool, sqlx::Error> {
    const UPDATE: &str = "
        update sluice.replay_runs set status = 'cancelled', finished_at = now() where id = $1 and status = 'running'";
    Ok(sqlx::query(UPDATE).bind(id).execute(connection).await?.rows_affected() == 1)
}
