//! View `minutes`: what landed from each partition in each minute. The view lists the rows of `activity` together with
//! the counts of the latest minute, which are still in `watermarks`.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::POSTGRESQL;
use super::activity::Counts;

/// What happened to a topic in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// When the minute began, milliseconds since the Unix epoch.
    pub began_ms: i64,
    /// By how much the ends of the topic's logs moved.
    pub accepted: i64,
    /// What became of the records that landed.
    pub counts: Counts,
    /// The longest time from a record's timestamp to its landing, in milliseconds. `None` if no new record landed.
    pub max_lag_ms: Option<i64>,
}

/// The number of minutes that one query reads. It limits the memory that a day's rows need if there are
/// hundreds of partitions.
const MINUTES_AT_ONCE: i32 = 360;

/// Reads what happened to each topic in the latest minutes, oldest first. `minutes` is the number of minutes, including
/// the current one. Minutes in which nothing happened are missing. `ends` has the current ends of logs, as topic,
/// partition and offset.
///
/// # Errors
/// PostgreSQL's error.
pub async fn read(
    connection: &mut PgConnection,
    minutes: i32,
    ends: impl IntoIterator<Item = (&str, i32, i64)>,
) -> Result<BTreeMap<String, Vec<Minute>>, sqlx::Error> {
    // Without a snapshot, events that land between the queries would be counted twice, or not at all.
    let mut snapshot = connection.begin_with("begin isolation level repeatable read read only").await?;
    let mut totals = Totals::default();
    let mut left = minutes;
    while left > 0 {
        let after = (left - MINUTES_AT_ONCE).max(0);
        let rows = Rows::read(&mut snapshot, left, (after > 0).then_some(after)).await?;
        totals.add(&mut snapshot, &rows).await?;
        left = after;
    }
    let mut by_topic = totals.by_topic;
    let (present_ms, grown) = grown(&mut snapshot, ends).await?;
    snapshot.commit().await?;
    for (topic, accepted) in grown {
        let of_topic = by_topic.entry(topic).or_default();
        match of_topic.last_mut().filter(|last| last.began_ms >= present_ms) {
            Some(last) => last.accepted += accepted,
            None => of_topic.push(Minute { began_ms: present_ms, accepted, ..Minute::default() }),
        }
    }
    Ok(by_topic)
}

/// Rows of the view, oldest first. A busy system has tens of thousands of rows per day. A query returns them as arrays
/// in a single row, because reading the rows one by one would take three times as long.
struct Rows {
    topics: Vec<String>,
    partitions: Vec<i32>,
    incarnations: Vec<i32>,
    minutes: Vec<Minute>,
    /// Where each row's log ended, if that is known.
    end_offsets: Vec<Option<i64>>,
}

impl Rows {
    /// Reads the rows of the last `minutes` minutes, except those of the last `except` minutes.
    async fn read(connection: &mut PgConnection, minutes: i32, except: Option<i32>) -> Result<Self, sqlx::Error> {
        const SELECT: &str = r#"
            select array_agg(topic), array_agg("partition"), array_agg(incarnation), array_agg(end_offset),
                   array_agg((extract(epoch from minute) * 1000)::bigint), array_agg(max_lag_ms),
                   array_agg(written), array_agg(duplicates), array_agg(superseded), array_agg(waiting),
                   array_agg(released), array_agg(rejected), array_agg(tombstones), array_agg(replays)
            from (
                select * from sluice.minutes
                where destination = $3
                      and minute > date_trunc('minute', now(), 'UTC') - make_interval(mins => $1)
                      and ($2::integer is null or minute <= date_trunc('minute', now(), 'UTC') - make_interval(mins => $2))
                order by minute
            ) as shown"#;
        // The statement is not kept prepared. Otherwise, PostgreSQL might switch to a generic plan, which would suit
        // only some numbers of minutes.
        let query = sqlx::query(SELECT).persistent(false).bind(minutes).bind(except).bind(POSTGRESQL);
        Self::from_arrays(&query.fetch_one(connection).await?)
    }

    fn from_arrays(row: &PgRow) -> Result<Self, sqlx::Error> {
        let numbers =
            |column: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<Vec<i64>>, _>(column)?.unwrap_or_default());
        let max_lags_ms: Vec<Option<i64>> = row.try_get::<Option<_>, _>(5)?.unwrap_or_default();
        let (written, duplicates, superseded, waiting) = (numbers(6)?, numbers(7)?, numbers(8)?, numbers(9)?);
        let (released, rejected, tombstones, replays) = (numbers(10)?, numbers(11)?, numbers(12)?, numbers(13)?);
        let minute = |(row, began_ms)| Minute {
            began_ms,
            accepted: 0,
            counts: Counts {
                written: written[row],
                duplicates: duplicates[row],
                superseded: superseded[row],
                waiting: waiting[row],
                released: released[row],
                rejected: rejected[row],
                tombstones: tombstones[row],
                replays: replays[row],
            },
            max_lag_ms: max_lags_ms[row],
        };
        Ok(Self {
            topics: row.try_get::<Option<_>, _>(0)?.unwrap_or_default(),
            partitions: row.try_get::<Option<_>, _>(1)?.unwrap_or_default(),
            incarnations: row.try_get::<Option<_>, _>(2)?.unwrap_or_default(),
            end_offsets: row.try_get::<Option<_>, _>(3)?.unwrap_or_default(),
            minutes: numbers(4)?.into_iter().enumerate().map(minute).collect(),
        })
    }
}

/// What happened in the rows that were read so far.
#[derive(Default)]
struct Totals {
    by_topic: BTreeMap<String, Vec<Minute>>,
    /// Where each log ended, by topic, and then by partition and incarnation.
    ends: HashMap<String, HashMap<(i32, i32), i64>>,
}

impl Totals {
    /// Adds rows that are newer than all rows that were added before.
    async fn add(&mut self, connection: &mut PgConnection, rows: &Rows) -> Result<(), sqlx::Error> {
        let logs = self.new_logs(rows);
        for (log, end) in logs.iter().zip(ends_before(connection, &logs).await?) {
            let of_topic = self.ends.entry(log.topic.to_owned()).or_default();
            of_topic.insert((log.partition, log.incarnation), end);
        }
        for (row, topic) in rows.topics.iter().enumerate() {
            let mut minute = rows.minutes[row];
            let log = (rows.partitions[row], rows.incarnations[row]);
            if let Some(end) = self.ends.get_mut(topic).and_then(|of_topic| of_topic.get_mut(&log)) {
                // An unknown end counts as an end that has not moved. So does an end that is lower than an earlier end,
                // as after the truncation of a log.
                let moved = rows.end_offsets[row].map_or(*end, |offset| offset.max(*end));
                minute.accepted = moved - *end;
                *end = moved;
            }
            let of_topic = self.by_topic.entry(topic.clone()).or_default();
            match of_topic.last_mut().filter(|last| last.began_ms == minute.began_ms) {
                Some(last) => last.add(minute),
                None => of_topic.push(minute),
            }
        }
        Ok(())
    }

    /// Returns the logs of these rows that no earlier rows contained.
    fn new_logs<'r>(&self, rows: &'r Rows) -> Vec<Log<'r>> {
        let (mut logs, mut seen) = (Vec::new(), HashSet::new());
        for (row, topic) in rows.topics.iter().enumerate() {
            let (partition, incarnation) = (rows.partitions[row], rows.incarnations[row]);
            let is_known = self.ends.get(topic).is_some_and(|ends| ends.contains_key(&(partition, incarnation)));
            if !is_known && seen.insert((topic, partition, incarnation)) {
                logs.push(Log { topic, partition, incarnation, first_ms: rows.minutes[row].began_ms });
            }
        }
        logs
    }
}

/// A log whose activity is shown.
struct Log<'r> {
    topic: &'r str,
    partition: i32,
    incarnation: i32,
    /// When the first minute shown began, milliseconds since the Unix epoch.
    first_ms: i64,
}

impl Minute {
    /// Adds the activity of another partition in the same minute.
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.counts.add(other.counts);
        self.max_lag_ms = self.max_lag_ms.max(other.max_lag_ms);
    }
}

/// Returns where each log ended before its first minute.
async fn ends_before(connection: &mut PgConnection, logs: &[Log<'_>]) -> Result<Vec<i64>, sqlx::Error> {
    const SELECT: &str = r#"
        select greatest(
                   coalesce(known.end_offset, w.incarnation_starts[l.incarnation], 0),
                   -- If the watermark's minute is before the first minute shown, its next offset is also an
                   -- end of the log before that minute.
                   case when w.incarnation = l.incarnation and w.minute < f.minute then w.next_offset end
               )
        from unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[]) with ordinality
            as l (topic, "partition", incarnation, first_ms, number)
        cross join lateral (select timestamptz 'epoch' + l.first_ms * interval '1 millisecond' as minute) f
        left join sluice.watermarks w on w.topic = l.topic and w."partition" = l."partition" and w.destination = $5
        left join lateral (
            select k.end_offset
            from sluice.activity k
            where k.destination = $5 and k.topic = l.topic and k."partition" = l."partition"
                  and k.incarnation = l.incarnation and k.minute < f.minute and k.end_offset is not null
            order by k.minute desc limit 1
        ) known on true
        order by l.number"#;
    sqlx::query_scalar(SELECT)
        .bind(logs.iter().map(|log| log.topic).collect::<Vec<_>>())
        .bind(logs.iter().map(|log| log.partition).collect::<Vec<_>>())
        .bind(logs.iter().map(|log| log.incarnation).collect::<Vec<_>>())
        .bind(logs.iter().map(|log| log.first_ms).collect::<Vec<_>>())
        .bind(POSTGRESQL)
        .fetch_all(connection)
        .await
}

/// Returns when the current minute began, and by how much topics' logs have grown since their ends were last stored.
async fn grown(
    connection: &mut PgConnection,
    ends: impl IntoIterator<Item = (&str, i32, i64)>,
) -> Result<(i64, Vec<(String, i64)>), sqlx::Error> {
    const PRESENT: &str = "select (extract(epoch from date_trunc('minute', clock_timestamp(), 'UTC')) * 1000)::bigint";
    const GROWN: &str = r#"
        select e.topic, sum(e.end_offset - coalesce(greatest(known.end_offset, w.next_offset), 0))::bigint
        from unnest($1::text[], $2::integer[], $3::bigint[]) as e (topic, "partition", end_offset)
        left join sluice.watermarks w on w.topic = e.topic and w."partition" = e."partition" and w.destination = $4
        left join lateral (
            select k.end_offset from sluice.activity k
            where k.destination = $4 and k.topic = e.topic and k."partition" = e."partition"
                  and k.incarnation = coalesce(w.incarnation, 1) and k.end_offset is not null
            order by k.minute desc limit 1
        ) known on true
        where e.end_offset > coalesce(greatest(known.end_offset, w.next_offset), 0)
        group by e.topic"#;
    let present_ms = sqlx::query_scalar(PRESENT).fetch_one(&mut *connection).await?;
    let (mut topics, mut partitions, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for (topic, partition, end_offset) in ends {
        topics.push(topic);
        partitions.push(partition);
        offsets.push(end_offset);
    }
    let query = sqlx::query_as(GROWN).bind(topics).bind(partitions).bind(offsets).bind(POSTGRESQL);
    Ok((present_ms, query.fetch_all(connection).await?))
}
