//! Table `activity`: for each partition and minute, the number of records that landed, by outcome, and the log's end.
//!
//! The landing transaction updates the counts, so their sums agree with the other tables. The counts of a partition's
//! latest minute are in its watermark; the view `minutes` lists them together with the rows of this table. Minutes and
//! lags use the database's clock.

use std::sync::LazyLock;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::destination::{Destination, PerDestination};
use super::records::LogPosition;

/// The number of records with each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were written.
    pub written: i64,
    /// Records that repeated an event.
    pub duplicates: i64,
    /// Records that changed nothing, because their rows already had a higher version.
    pub superseded: i64,
    /// Records that began to wait for their parent.
    pub waiting: i64,
    /// Records that stopped waiting. They are also counted under their outcome.
    pub released: i64,
    /// Records that became dead letters.
    pub rejected: i64,
    /// Records without a value.
    pub tombstones: i64,
    /// Replays of dead letters. They are also counted under their outcome.
    pub replays: i64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        let Self { written, duplicates, superseded, waiting, released, rejected, tombstones, replays } = other;
        self.written += written;
        self.duplicates += duplicates;
        self.superseded += superseded;
        self.waiting += waiting;
        self.released += released;
        self.rejected += rejected;
        self.tombstones += tombstones;
        self.replays += replays;
    }
}

/// What a transaction landed from one incarnation of a partition's log. A log that is recreated or truncated begins a
/// new incarnation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landed {
    topic: String,
    partition: i32,
    incarnation: i32,
    /// The number of records with each outcome.
    pub counts: Counts,
    /// The time of the oldest record that the transaction applied, milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// The highest offset of the records that the transaction applied.
    pub last_offset: Option<i64>,
    /// The highest known end of the log. The log may be longer by now.
    pub end_offset: Option<i64>,
}

/// What a transaction landed, by incarnation of a partition's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity(Vec<Landed>);

impl Activity {
    /// Returns the entry for the log that this record belongs to, for the caller to update.
    pub fn of_log(&mut self, position: LogPosition<'_>) -> &mut Landed {
        let LogPosition { topic, partition, incarnation, offset: _ } = position;
        let is_it = |landed: &Landed| {
            landed.partition == partition && landed.incarnation == incarnation && landed.topic == topic
        };
        // A batch has few partitions, and its records are sorted by partition, so the record's log is usually the last
        // entry.
        let index = self.0.iter().rposition(is_it).unwrap_or_else(|| {
            self.0.push(Landed { topic: topic.to_owned(), partition, incarnation, ..Landed::default() });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// Returns the counts of the log that this record belongs to, for the caller to update.
    pub fn counts(&mut self, position: LogPosition<'_>) -> &mut Counts {
        &mut self.of_log(position).counts
    }

    /// Adds the counts of another activity.
    pub fn add(&mut self, other: &Self) {
        for landed in &other.0 {
            let Landed { topic, partition, incarnation, counts, .. } = landed;
            let (partition, incarnation) = (*partition, *incarnation);
            self.counts(LogPosition { topic, partition, incarnation, offset: 0 }).add(*counts);
        }
    }

    /// Splits the activity in two: the logs for which `is_one` holds, and all other logs.
    pub(super) fn split_off(self, is_one: impl Fn(LogPosition<'_>) -> bool) -> (Self, Self) {
        let (these, others) = self.0.into_iter().partition(|landed| {
            let Landed { topic, partition, incarnation, .. } = landed;
            is_one(LogPosition { topic, partition: *partition, incarnation: *incarnation, offset: 0 })
        });
        (Self(these), Self(others))
    }

    /// Returns the sum of all counts.
    pub fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        self.0.iter().for_each(|landed| sum.add(landed.counts));
        sum
    }
}

/// The columns that [`bind`] binds.
pub(super) const COLUMNS: &str = r#"topic, "partition", incarnation, written, duplicates, superseded, waiting, released,
    rejected, tombstones, replays, oldest_ms, last_offset, end_offset"#;
/// The minute that a transaction's counts belong to: the minute in which the transaction began.
pub(super) const MINUTE: &str = "date_trunc('minute', now(), 'UTC')";
/// The lag of a record whose time is `oldest_ms`, or null if `oldest_ms` is null. The lag is never negative, although a
/// producer's clock may be ahead of the database's.
pub(super) const LAG_MS: &str = "case when oldest_ms is not null
    then greatest((extract(epoch from clock_timestamp()) * 1000)::bigint - oldest_ms, 0) end";

/// Returns the parameters that [`bind`] binds, as arguments of `unnest`. Their numbers begin at `first`.
pub(super) fn arrays(first: usize) -> String {
    let types = ["text", "integer", "integer"].into_iter().chain(["bigint"; 11]);
    let arrays: Vec<String> = types.zip(first..).map(|(of, number)| format!("${number}::{of}[]")).collect();
    arrays.join(", ")
}

/// Binds an activity: one array per column.
pub(super) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    activity: &'q Activity,
) -> Query<'q, Postgres, PgArguments> {
    let landed = || activity.0.iter();
    let counts = |count: fn(&Counts) -> i64| landed().map(|one| count(&one.counts)).collect::<Vec<_>>();
    query
        .bind(landed().map(|one| one.topic.as_str()).collect::<Vec<_>>())
        .bind(landed().map(|one| one.partition).collect::<Vec<_>>())
        .bind(landed().map(|one| one.incarnation).collect::<Vec<_>>())
        .bind(counts(|counts| counts.written))
        .bind(counts(|counts| counts.duplicates))
        .bind(counts(|counts| counts.superseded))
        .bind(counts(|counts| counts.waiting))
        .bind(counts(|counts| counts.released))
        .bind(counts(|counts| counts.rejected))
        .bind(counts(|counts| counts.tombstones))
        .bind(counts(|counts| counts.replays))
        .bind(landed().map(|one| one.oldest_ms).collect::<Vec<_>>())
        .bind(landed().map(|one| one.last_offset).collect::<Vec<_>>())
        .bind(landed().map(|one| one.end_offset).collect::<Vec<_>>())
}

/// Returns the statement that adds the rows of a relation to the table. The relation has the table's columns except for
/// `destination`, which is given as an SQL literal.
///
/// Two transactions may release waiting events of the same partition without having locked its watermark. The rows are
/// locked in sorted order, so that the transactions cannot deadlock.
pub(super) fn note_from(destination: &str, relation: &str) -> String {
    format!(
        r#"
        insert into sluice.activity as a
            (destination, topic, "partition", incarnation, minute, written, duplicates, superseded, waiting, released,
             rejected, tombstones, replays, max_lag_ms, last_offset, end_offset)
        select {destination}, topic, "partition", incarnation, minute, written, duplicates, superseded, waiting, released, rejected,
               tombstones, replays, max_lag_ms, last_offset, end_offset
        from {relation}
        order by topic collate "C", "partition", incarnation
        on conflict (destination, topic, "partition", incarnation, minute) do update
        set written = a.written + excluded.written, duplicates = a.duplicates + excluded.duplicates,
            superseded = a.superseded + excluded.superseded, waiting = a.waiting + excluded.waiting,
            released = a.released + excluded.released, rejected = a.rejected + excluded.rejected,
            tombstones = a.tombstones + excluded.tombstones, replays = a.replays + excluded.replays,
            max_lag_ms = greatest(a.max_lag_ms, excluded.max_lag_ms),
            last_offset = greatest(a.last_offset, excluded.last_offset),
            end_offset = greatest(a.end_offset, excluded.end_offset)"#
    )
}

/// Adds an activity to the counts of the current minute.
///
/// # Errors
/// PostgreSQL's error.
pub(super) async fn note(
    connection: &mut PgConnection,
    destination: Destination,
    activity: &Activity,
) -> Result<(), sqlx::Error> {
    static NOTE: LazyLock<PerDestination> = LazyLock::new(|| {
        let arrays = arrays(1);
        let relation = format!(
            "(select *, {MINUTE} as minute, {LAG_MS} as max_lag_ms from unnest({arrays}) as n ({COLUMNS})) as landed"
        );
        PerDestination::new(|destination| note_from(destination, &relation))
    });
    if activity.0.is_empty() {
        return Ok(());
    }
    bind(sqlx::query(NOTE.get(destination)), activity).execute(connection).await?;
    Ok(())
}

/// Where a partition's log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The incarnation of the partition's log.
    pub incarnation: i32,
    /// The offset that the next record gets.
    pub end_offset: i64,
}

/// Stores where logs end, if they have grown since their ends were last stored.
///
/// # Errors
/// PostgreSQL's error.
pub async fn note_ends(connection: &mut PgConnection, ends: &[End]) -> Result<(), sqlx::Error> {
    // If a log was recreated after Kafka reported its end, the end belongs to the previous incarnation and is not
    // stored.
    static NOTE: LazyLock<String> = LazyLock::new(|| {
        note_from(
            "'postgresql'",
            &format!(
                r#"(
            select {MINUTE} as minute, e.topic, e."partition", e.incarnation, 0 as written, 0 as duplicates, 0 as superseded, 0 as waiting,
                   0 as released, 0 as rejected, 0 as tombstones, 0 as replays, null::bigint as max_lag_ms,
                   null::bigint as last_offset, e.end_offset
            from unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[])
                as e (topic, "partition", incarnation, end_offset)
            left join sluice.watermarks w
                on w.topic = e.topic and w."partition" = e."partition" and w.destination = 'postgresql'
            left join lateral (
                select k.end_offset from sluice.activity k
                where k.destination = 'postgresql' and k.topic = e.topic and k."partition" = e."partition"
                      and k.incarnation = e.incarnation and k.end_offset is not null
                order by k.minute desc limit 1
            ) known on true
            where e.incarnation = coalesce(w.incarnation, 1)
                  and e.end_offset > coalesce(greatest(known.end_offset, w.next_offset), 0)
            ) as grown"#,
            ),
        )
    });
    if ends.is_empty() {
        return Ok(());
    }
    sqlx::query(&NOTE)
        .bind(ends.iter().map(|end| end.topic.as_str()).collect::<Vec<_>>())
        .bind(ends.iter().map(|end| end.partition).collect::<Vec<_>>())
        .bind(ends.iter().map(|end| end.incarnation).collect::<Vec<_>>())
        .bind(ends.iter().map(|end| end.end_offset).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes minutes that are older than 35 days. A log's last row with a known `end_offset` is kept until the watermark
/// reaches that offset. Until then, only this row shows where the log ended, and new records are counted from there.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const DELETE: &str = r#"
        delete from sluice.activity a
        where a.minute < now() - interval '35 days'
              and (exists (
                  select from sluice.activity n
                  where n.destination = a.destination and n.topic = a.topic and n."partition" = a."partition"
                        and (n.incarnation, n.minute) > (a.incarnation, a.minute) and n.end_offset is not null
              ) or exists (
                  select from sluice.watermarks w
                  where w.destination = a.destination and w.topic = a.topic and w."partition" = a."partition"
                        and (w.incarnation > a.incarnation or w.next_offset >= coalesce(a.end_offset, 0))
              ))"#;
    sqlx::query(DELETE).execute(connection).await?;
    Ok(())
}
