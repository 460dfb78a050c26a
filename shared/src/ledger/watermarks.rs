//! Table `watermarks`: for each topic and partition, the next offset to apply. A landing transaction locks its
//! watermarks at the start and advances them at the end, so that a batch lands once even if it is delivered twice, or
//! to two processes at once.

use std::sync::LazyLock;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _};

use super::Destination;
use super::activity::{self, Activity, MINUTE};
use super::destination::PerDestination;

/// A partition's watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to apply. Everything below it is decided: applied, or in a gap.
    pub next_offset: i64,
    /// The offset at which each incarnation of the partition's log begins. The first incarnation begins at 0. A log
    /// that is recreated or truncated begins a new incarnation.
    pub starts: Vec<i64>,
    /// Facts about the applied records. When an incarnation begins, all facts are forgotten if the log has lost the
    /// first applied record. Otherwise, only those about the last applied record are forgotten.
    pub applied: Option<Applied>,
}

/// Facts about the applied records, by which `consume` recognises their log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The largest record time, milliseconds since the Unix epoch.
    pub max_timestamp_ms: i64,
    /// The offset of the first record.
    pub first_offset: i64,
    /// The first record's hash.
    pub first_hash: i64,
    /// The offset of the last record.
    pub last_offset: i64,
    /// The last record's hash.
    pub last_hash: i64,
}

/// Where the offsets of a log restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The first offset of the new incarnation.
    pub start: i64,
    /// Whether the log still has the first record that was applied, because it was truncated instead of recreated.
    pub keeps_first: bool,
}

/// Consecutive records that begin at a partition's watermark. All of them are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The incarnation of the partition's log.
    pub incarnation: i32,
    /// The offset of the first record, where the watermark must be.
    pub first_offset: i64,
    /// The offset of the last record.
    pub last_offset: i64,
    /// The last record's hash.
    pub last_hash: i64,
    /// The largest record time, milliseconds since the Unix epoch.
    pub newest_ms: i64,
    /// The smallest record time.
    pub oldest_ms: i64,
}

/// Watermarks that a transaction has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The watermarks, in the order of the caller's partitions.
    pub watermarks: Vec<Watermark>,
    /// When the database's server started, microseconds since the Unix epoch. This time changes if the server is
    /// restored, or if another server takes over.
    pub server_started_us: i64,
    /// The partitions whose latest minute of activity is over.
    pub over: Vec<(String, i32)>,
}

/// When the database's server started.
const SERVER_STARTED_US: &str = "(extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint";

impl Watermark {
    /// Creates the watermark of a partition from which nothing was applied.
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition, next_offset: 0, starts: vec![0], applied: None }
    }

    /// Returns the number of the current incarnation: how often the offsets have restarted, plus one.
    pub fn incarnation(&self) -> i32 {
        i32::try_from(self.starts.len()).unwrap_or(i32::MAX)
    }

    /// Returns the incarnation that an offset belongs to: the latest one that begins at or before the offset.
    pub fn incarnation_at(&self, offset: i64) -> i32 {
        let latest = self.starts.iter().rposition(|start| *start <= offset);
        latest.map_or(1, |index| i32::try_from(index + 1).unwrap_or(i32::MAX))
    }

    /// Begins a new incarnation, from which nothing was applied yet.
    pub fn restart(&mut self, restart: Restart) {
        self.starts.push(restart.start);
        self.next_offset = restart.start;
        // Of the applied records, only the first is known to be still in the log. It counts as the last applied record
        // until the next one is applied.
        self.applied = self.applied.filter(|_| restart.keeps_first).map(|applied| Applied {
            last_offset: applied.first_offset,
            last_hash: applied.first_hash,
            ..applied
        });
    }
}

/// Locks the watermarks of these partitions in sorted order, so that two transactions cannot deadlock. The locks are
/// held until the transaction ends. Creates missing watermarks. Returns the watermarks in the order of `partitions`,
/// which must be sorted and without duplicates.
///
/// # Errors
/// PostgreSQL's error.
pub async fn lock(
    connection: &mut PgConnection,
    destination: Destination,
    partitions: &[(String, i32)],
) -> Result<Locked, sqlx::Error> {
    let mut found = select_for_update(connection, destination, partitions).await?;
    if found.watermarks.len() < partitions.len() {
        create_missing(connection, destination, partitions).await?;
        found = select_for_update(connection, destination, partitions).await?;
    }
    Ok(found)
}

async fn select_for_update(
    connection: &mut PgConnection,
    destination: Destination,
    partitions: &[(String, i32)],
) -> Result<Locked, sqlx::Error> {
    static SELECT: LazyLock<PerDestination> = LazyLock::new(|| {
        PerDestination::new(|destination| {
            format!(
                r#"
        select w.topic, w."partition", w.next_offset, w.incarnation_starts, w.max_timestamp_ms, w.first_offset,
               w.first_hash, w.last_offset, w.last_hash, coalesce(w.minute <> {MINUTE}, false) as is_over,
               {SERVER_STARTED_US} as server_started_us
        from sluice.watermarks w
        join unnest($1::text[], $2::integer[]) as p (topic, "partition") using (topic, "partition")
        where w.destination = {destination}
        order by w.topic collate "C", w."partition"
        for update of w"#
            )
        })
    });
    let (topics, numbers) = columns(partitions);
    let rows = sqlx::query(SELECT.get(destination)).bind(topics).bind(numbers).fetch_all(connection).await?;
    let mut locked = read(&rows)?;
    for row in &rows {
        if row.try_get("is_over")? {
            locked.over.push((row.try_get("topic")?, row.try_get("partition")?));
        }
    }
    Ok(locked)
}

/// Moves the counts of these partitions' latest minute from the watermarks to that minute's row in `activity`. The
/// watermarks must be locked.
async fn close_minutes(
    connection: &mut PgConnection,
    destination: Destination,
    partitions: &[(String, i32)],
) -> Result<(), sqlx::Error> {
    static MOVE: LazyLock<PerDestination> = LazyLock::new(|| {
        PerDestination::new(|destination| {
            let relation = format!(
                r#"(select w.topic, w."partition", w.incarnation, w.minute, w.written, w.duplicates, w.superseded, w.waiting,
                       w.released, w.rejected, w.tombstones, w.replays, w.max_lag_ms,
                       nullif(w.last_offset, -1) as last_offset, w.next_offset as end_offset
                from sluice.watermarks w
                join unnest($1::text[], $2::integer[]) as p (topic, "partition") using (topic, "partition")
                where w.destination = {destination} and w.minute is not null) as over"#
            );
            activity::note_from(destination, &relation)
        })
    });
    const RESET: &str = r#"
        update sluice.watermarks w
        set minute = null, written = 0, duplicates = 0, superseded = 0, waiting = 0, released = 0, rejected = 0,
            tombstones = 0, replays = 0, max_lag_ms = null
        from unnest($1::text[], $2::integer[]) as p (topic, "partition")
        where w.topic = p.topic and w."partition" = p."partition" and w.destination = $3"#;
    if partitions.is_empty() {
        return Ok(());
    }
    let (topics, numbers) = columns(partitions);
    sqlx::query(MOVE.get(destination)).bind(&topics).bind(&numbers).execute(&mut *connection).await?;
    sqlx::query(RESET).bind(topics).bind(numbers).bind(destination.name()).execute(connection).await?;
    Ok(())
}

/// Reads all watermarks of destination `postgresql`, without locking them.
///
/// # Errors
/// PostgreSQL's error.
pub async fn all(connection: &mut PgConnection) -> Result<Locked, sqlx::Error> {
    // The query returns at least one row, so that the server's start time is returned even if there are no watermarks.
    let select = format!(
        r#"
        select w.topic, w."partition", w.next_offset, w.incarnation_starts, w.max_timestamp_ms, w.first_offset,
               w.first_hash, w.last_offset, w.last_hash, {SERVER_STARTED_US} as server_started_us
        from (select) as one
        left join sluice.watermarks w on w.destination = 'postgresql'"#
    );
    read(&sqlx::query(&select).fetch_all(connection).await?)
}

fn read(rows: &[PgRow]) -> Result<Locked, sqlx::Error> {
    let server_started_us = rows.first().map_or(Ok(0), |row| row.try_get("server_started_us"))?;
    let mut watermarks = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(topic) = row.try_get("topic")? else { continue };
        let last_offset: i64 = row.try_get("last_offset")?;
        let applied = Applied {
            max_timestamp_ms: row.try_get("max_timestamp_ms")?,
            first_offset: row.try_get("first_offset")?,
            first_hash: row.try_get("first_hash")?,
            last_offset,
            last_hash: row.try_get("last_hash")?,
        };
        watermarks.push(Watermark {
            topic,
            partition: row.try_get("partition")?,
            next_offset: row.try_get("next_offset")?,
            starts: row.try_get("incarnation_starts")?,
            applied: (last_offset >= 0).then_some(applied),
        });
    }
    Ok(Locked { watermarks, server_started_us, over: Vec::new() })
}

/// Creates the missing watermarks. Other transactions do not see them before this transaction has committed.
async fn create_missing(
    connection: &mut PgConnection,
    destination: Destination,
    partitions: &[(String, i32)],
) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.watermarks
            (destination, topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_hash)
        select $3, topic, "partition", 0, 0, 0, 0, 0
        from unnest($1::text[], $2::integer[]) as p (topic, "partition")
        order by topic collate "C", "partition"
        on conflict do nothing"#;
    let (topics, numbers) = columns(partitions);
    sqlx::query(INSERT).bind(topics).bind(numbers).bind(destination.name()).execute(connection).await?;
    Ok(())
}

/// Stores watermarks that this transaction has locked, and counts what the transaction landed. Each watermark may have
/// begun at most one incarnation since it was locked. `over` lists the partitions whose latest minute is over, or whose
/// incarnation has ended. Before the watermarks are stored, the counts that these partitions have for their latest
/// minute are moved to `activity`. Call this last in the transaction, because other transactions may wait for these
/// rows.
///
/// # Errors
/// PostgreSQL's error.
pub async fn advance<'w>(
    connection: &mut PgConnection,
    destination: Destination,
    watermarks: impl IntoIterator<Item = &'w Watermark>,
    over: &[(String, i32)],
    landed: Activity,
) -> Result<(), sqlx::Error> {
    close_minutes(connection, destination, over).await?;
    let watermarks: Vec<&Watermark> = watermarks.into_iter().collect();
    // Usually, `landed` has counts only for the partitions of `watermarks`. It also has counts for another partition if
    // waiting events of that partition were released or rejected in this transaction.
    let (landed, others) = landed.split_off(|log| {
        let is_it =
            |w: &&Watermark| (w.partition, w.incarnation()) == (log.partition, log.incarnation) && w.topic == log.topic;
        watermarks.iter().any(is_it)
    });
    let nothing = Applied { max_timestamp_ms: 0, first_offset: 0, first_hash: 0, last_offset: -1, last_hash: 0 };
    let applied: Vec<Applied> = watermarks.iter().map(|watermark| watermark.applied.unwrap_or(nothing)).collect();
    let numbers = |number: fn(&Applied) -> i64| applied.iter().map(number).collect::<Vec<_>>();
    let advance = sqlx::query(ADVANCE.get(destination))
        .bind(watermarks.iter().map(|w| w.topic.as_str()).collect::<Vec<_>>())
        .bind(watermarks.iter().map(|w| w.partition).collect::<Vec<_>>())
        .bind(watermarks.iter().map(|w| w.next_offset).collect::<Vec<_>>())
        .bind(numbers(|a| a.max_timestamp_ms))
        .bind(numbers(|a| a.first_offset))
        .bind(numbers(|a| a.first_hash))
        .bind(numbers(|a| a.last_offset))
        .bind(numbers(|a| a.last_hash))
        .bind(watermarks.iter().map(|w| w.incarnation()).collect::<Vec<_>>())
        .bind(watermarks.iter().map(|w| w.starts.last().copied().unwrap_or(0)).collect::<Vec<_>>());
    activity::bind(advance, &landed).execute(&mut *connection).await?;
    activity::note(connection, destination, &others).await
}

static ADVANCE: LazyLock<PerDestination> = LazyLock::new(|| PerDestination::new(advance_statement));

/// Returns the statement of [`advance`] for a destination, which is given as an SQL literal.
fn advance_statement(destination: &str) -> String {
    let (minute, lag_ms, arrays, counted) = (MINUTE, activity::LAG_MS, activity::arrays(11), activity::COLUMNS);
    let count = |name: &str| format!("{name} = w.{name} + coalesce(n.{name}, 0)");
    let counts = ["written", "duplicates", "superseded", "waiting", "released", "rejected", "tombstones", "replays"];
    let counts = counts.map(count).join(", ");
    format!(
        r#"
        update sluice.watermarks w
        set next_offset = a.next_offset, max_timestamp_ms = a.max_timestamp_ms, first_offset = a.first_offset,
            first_hash = a.first_hash, last_offset = a.last_offset, last_hash = a.last_hash,
            incarnation = a.incarnation,
            incarnation_starts = case when a.incarnation > w.incarnation then w.incarnation_starts || a.start
                                      else w.incarnation_starts end,
            updated_at = clock_timestamp(),
            minute = case when n.topic is null then w.minute else {minute} end,
            max_lag_ms = greatest(w.max_lag_ms, {lag_ms}), {counts}
        from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                    $8::bigint[], $9::integer[], $10::bigint[])
            as a (topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_offset, last_hash,
                  incarnation, start)
        left join unnest({arrays}) as n ({counted}) on n.topic = a.topic and n."partition" = a."partition"
        where w.topic = a.topic and w."partition" = a."partition" and w.destination = {destination}"#
    )
}

/// Returns the beginning of a statement: a WITH query `advanced` that advances watermarks, counts what landed, and has
/// a row for each advanced watermark. [`bind_steps`] binds the steps. The numbers of the parameters begin at `first`.
///
/// Either all watermarks of the steps are advanced, or none. They are advanced only if the server has not been
/// restarted, and if for each step
/// - the watermark is where the step begins, in the same incarnation,
/// - the watermark has a last applied record, and
/// - the watermark's latest minute is not over.
///
/// These statements cannot deadlock with each other or with landing transactions, because all of them lock the
/// watermarks in sorted order. While the statement waits for a lock, the holder of the lock may move the watermark.
/// PostgreSQL then checks the conditions again.
pub fn advance_steps(first: usize) -> String {
    let (minute, lag_ms) = (MINUTE, activity::LAG_MS);
    let types = ["text", "integer", "integer"].into_iter().chain(["bigint"; 5]);
    let arrays: Vec<String> = types.zip(first..).map(|(of, number)| format!("${number}::{of}[]")).collect();
    let (arrays, server_started_us) = (arrays.join(", "), first + arrays.len());
    format!(
        r#"
        with step as (
            select * from unnest({arrays})
                as s (topic, "partition", incarnation, first_offset, last_offset, last_hash, newest_ms, oldest_ms)
        ), locked as (
            select from sluice.watermarks w join step s using (topic, "partition")
            where w.destination = 'postgresql' and w.next_offset = s.first_offset and w.incarnation = s.incarnation
                  and w.last_offset >= 0 and coalesce(w.minute = {minute}, true)
                  and {SERVER_STARTED_US} = ${server_started_us}
            order by w.topic collate "C", w."partition"
            for update of w
        ), advanced as (
            update sluice.watermarks w
            set next_offset = s.last_offset + 1, max_timestamp_ms = greatest(w.max_timestamp_ms, s.newest_ms),
                last_offset = s.last_offset, last_hash = s.last_hash, updated_at = clock_timestamp(), minute = {minute},
                written = w.written + s.last_offset + 1 - s.first_offset,
                max_lag_ms = greatest(w.max_lag_ms, {lag_ms})
            from step s
            where w.topic = s.topic and w."partition" = s."partition" and w.destination = 'postgresql'
                  and (select count(*) from locked) = (select count(*) from step)
            returning w.topic
        )"#
    )
}

/// Binds the parameters of [`advance_steps`]. `server_started_us` is the start time that the server had when the
/// process last saw the watermarks.
pub fn bind_steps<'q>(
    query: Query<'q, Postgres, PgArguments>,
    steps: &[Step<'q>],
    server_started_us: i64,
) -> Query<'q, Postgres, PgArguments> {
    let numbers = |number: fn(&Step<'q>) -> i64| steps.iter().map(number).collect::<Vec<_>>();
    query
        .bind(steps.iter().map(|step| step.topic).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.partition).collect::<Vec<_>>())
        .bind(steps.iter().map(|step| step.incarnation).collect::<Vec<_>>())
        .bind(numbers(|step| step.first_offset))
        .bind(numbers(|step| step.last_offset))
        .bind(numbers(|step| step.last_hash))
        .bind(numbers(|step| step.newest_ms))
        .bind(numbers(|step| step.oldest_ms))
        .bind(server_started_us)
}

fn columns(partitions: &[(String, i32)]) -> (Vec<&str>, Vec<i32>) {
    partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)).unzip()
}
