//! Table `bigquery_streams`: each partition's write stream in BigQuery, and how many of its rows are applied.
//!
//! Every change to this table happens in a transaction that has locked the partition's watermark, so the table's rows
//! need no lock of their own.

use std::ops::RangeInclusive;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

/// A partition's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The write stream's full name. If it is `None`, the next append needs a new write stream.
    pub stream: Option<String>,
    /// The number of the write stream's rows that are applied, which is the offset of the next append.
    pub next_row: i64,
    /// The PostgreSQL server's start time, microseconds since the Unix epoch. It was noted when this row last agreed
    /// with BigQuery.
    pub server_started_us: i64,
    /// An announced append whose outcome is not stored yet.
    pub intent: Option<Intent>,
    /// The records whose rows are known to be in the BigQuery table, although the watermark has not passed the records
    /// yet.
    pub written: Written,
}

/// An append that is announced: stored in this table before it is sent to BigQuery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its id.
    pub id: Uuid,
    /// The number of its rows.
    pub rows: i64,
    /// The Kafka records of the rows.
    pub records: Written,
    /// The PostgreSQL server's start time, microseconds since the Unix epoch. It was noted when the append was
    /// announced.
    pub server_started_us: i64,
}

/// Some records of one incarnation of a partition's log, as runs of consecutive offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The incarnation.
    pub incarnation: i32,
    /// The runs, in order.
    pub runs: Vec<RangeInclusive<i64>>,
}

impl Written {
    /// Creates the runs from offsets in ascending order.
    pub fn from_offsets(incarnation: i32, offsets: impl IntoIterator<Item = i64>) -> Self {
        let mut runs: Vec<RangeInclusive<i64>> = Vec::new();
        for offset in offsets {
            match runs.last_mut() {
                Some(last) if *last.end() + 1 == offset => *last = *last.start()..=offset,
                Some(last) if last.contains(&offset) => {}
                Some(_) | None => runs.push(offset..=offset),
            }
        }
        Self { incarnation, runs }
    }

    /// Returns whether a record is in one of the runs.
    pub fn contains(&self, incarnation: i32, offset: i64) -> bool {
        let after = self.runs.partition_point(|run| *run.start() <= offset);
        self.incarnation == incarnation && after > 0 && self.runs[after - 1].contains(&offset)
    }

    /// Adds the records of `other`. If the incarnations differ, only the records of the later one are kept.
    pub fn add(&mut self, other: Self) {
        if self.incarnation != other.incarnation {
            if self.incarnation < other.incarnation {
                *self = other;
            }
            return;
        }
        self.runs.extend(other.runs);
        self.runs.sort_by_key(|run| *run.start());
        let mut merged: Vec<RangeInclusive<i64>> = Vec::with_capacity(self.runs.len());
        for run in self.runs.drain(..) {
            match merged.last_mut() {
                Some(last) if *run.start() <= *last.end() + 1 => *last = *last.start()..=*last.end().max(run.end()),
                Some(_) | None => merged.push(run),
            }
        }
        self.runs = merged;
    }

    /// Removes the records of a range.
    pub fn remove(&mut self, range: RangeInclusive<i64>) {
        let without = |run: RangeInclusive<i64>| {
            let before = *run.start()..=(*range.start() - 1).min(*run.end());
            let after = (*range.end() + 1).max(*run.start())..=*run.end();
            [before, after].into_iter().filter(|rest| !rest.is_empty())
        };
        self.runs = std::mem::take(&mut self.runs).into_iter().flat_map(without).collect();
    }

    fn from_columns(incarnation: i32, offsets: &[i64]) -> Self {
        Self { incarnation, runs: offsets.chunks_exact(2).map(|run| run[0]..=run[1]).collect() }
    }

    fn offsets(&self) -> Vec<i64> {
        self.runs.iter().flat_map(|run| [*run.start(), *run.end()]).collect()
    }
}

impl StreamState {
    /// Creates the state of a partition from which nothing was appended to BigQuery.
    pub fn new(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            stream: None,
            next_row: 0,
            server_started_us: 0,
            intent: None,
            written: Written::default(),
        }
    }
}

/// Reads the states of these partitions, in the order of `partitions`. The caller has locked their watermarks.
///
/// # Errors
/// PostgreSQL's error.
pub async fn read(
    connection: &mut PgConnection,
    partitions: &[(String, i32)],
) -> Result<Vec<StreamState>, sqlx::Error> {
    const SELECT: &str = r#"
        select s.topic, s."partition", s.stream, s.next_row, s.server_started_us, s.intent, s.intent_rows,
               s.intent_incarnation, s.intent_offsets, s.intent_server_started_us, s.written_incarnation, s.written_offsets
        from sluice.bigquery_streams s
        join unnest($1::text[], $2::integer[]) as p (topic, "partition") using (topic, "partition")"#;
    let (topics, numbers): (Vec<&str>, Vec<i32>) =
        partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)).unzip();
    let select = sqlx::query(SELECT).bind(topics).bind(numbers);
    let found = select.try_map(|row| state(&row)).fetch_all(connection).await?;
    let state = |(topic, partition): &(String, i32)| {
        let is_it = |state: &&StreamState| state.partition == *partition && state.topic == *topic;
        found.iter().find(is_it).cloned().unwrap_or_else(|| StreamState::new(topic, *partition))
    };
    Ok(partitions.iter().map(state).collect())
}

fn state(row: &PgRow) -> Result<StreamState, sqlx::Error> {
    let id: Option<Uuid> = row.try_get("intent")?;
    let intent = match id {
        Some(id) => {
            let offsets: Vec<i64> = row.try_get("intent_offsets")?;
            let records = Written::from_columns(row.try_get("intent_incarnation")?, &offsets);
            let server_started_us = row.try_get("intent_server_started_us")?;
            Some(Intent { id, rows: row.try_get("intent_rows")?, records, server_started_us })
        }
        None => None,
    };
    let offsets: Vec<i64> = row.try_get("written_offsets")?;
    Ok(StreamState {
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        stream: row.try_get("stream")?,
        next_row: row.try_get("next_row")?,
        server_started_us: row.try_get("server_started_us")?,
        intent,
        written: Written::from_columns(row.try_get("written_incarnation")?, &offsets),
    })
}

/// Stores states of partitions. The caller has locked their watermarks.
///
/// # Errors
/// PostgreSQL's error.
pub async fn store(connection: &mut PgConnection, states: &[StreamState]) -> Result<(), sqlx::Error> {
    const UPSERT: &str = r#"
        insert into sluice.bigquery_streams
            (topic, "partition", stream, next_row, server_started_us, intent, intent_rows, intent_incarnation,
             intent_offsets, intent_server_started_us, written_incarnation, written_offsets)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        on conflict (topic, "partition") do update
        set stream = excluded.stream, next_row = excluded.next_row, server_started_us = excluded.server_started_us,
            intent = excluded.intent, intent_rows = excluded.intent_rows,
            intent_incarnation = excluded.intent_incarnation, intent_offsets = excluded.intent_offsets,
            intent_server_started_us = excluded.intent_server_started_us,
            written_incarnation = excluded.written_incarnation, written_offsets = excluded.written_offsets,
            updated_at = now()"#;
    // A parameter cannot be an array of arrays of different lengths, so each state needs its own statement.
    for state in states {
        let StreamState { topic, partition, stream, next_row, server_started_us, intent, written } = state;
        sqlx::query(UPSERT)
            .bind(topic)
            .bind(partition)
            .bind(stream)
            .bind(next_row)
            .bind(server_started_us)
            .bind(intent.as_ref().map(|intent| intent.id))
            .bind(intent.as_ref().map(|intent| intent.rows))
            .bind(intent.as_ref().map(|intent| intent.records.incarnation))
            .bind(intent.as_ref().map(|intent| intent.records.offsets()))
            .bind(intent.as_ref().map(|intent| intent.server_started_us))
            .bind(written.incarnation)
            .bind(written.offsets())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_kept_as_runs() {
        let mut written = Written::from_offsets(1, [3, 4, 5, 9, 10, 12]);
        assert_eq!(written.runs, [3..=5, 9..=10, 12..=12]);
        assert_eq!(Written::from_columns(1, &written.offsets()), written);
        let found: Vec<i64> = (0..15).filter(|offset| written.contains(1, *offset)).collect();
        assert_eq!(found, [3, 4, 5, 9, 10, 12]);
        assert!(!written.contains(2, 3));
        written.add(Written::from_offsets(1, [1, 6, 7, 8, 20]));
        assert_eq!(written.runs, [1..=1, 3..=10, 12..=12, 20..=20]);
        written.remove(0..=4);
        assert_eq!(written.runs, [5..=10, 12..=12, 20..=20]);
        written.remove(7..=12);
        assert_eq!(written.runs, [5..=6, 20..=20]);
        written.add(Written::from_offsets(2, [0]));
        assert_eq!(written, Written::from_offsets(2, [0]));
        written.add(Written::from_offsets(1, [7]));
        assert_eq!(written, Written::from_offsets(2, [0]));
    }
}
