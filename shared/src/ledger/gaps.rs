//! Table `gaps`: ranges of offsets for which Kafka had no record when `consume` needed it.
//!
//! Adjacent gaps share one row. A row is exact if none of its offsets were applied. A partition keeps at most
//! [`MAX_EXACT`] exact rows. The surplus gaps of an incarnation are merged into one row that is not exact, because it
//! also spans records that were applied.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

use super::Destination;

/// The maximum number of exact gaps that a partition keeps, besides the gap before the first record that was ever
/// applied.
pub const MAX_EXACT: i64 = 1_000;

/// Why Kafka has no records in a range of offsets. If gaps with different causes are merged, the cause that comes last
/// in this list is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The record's transaction was aborted, or the offset belongs to a transaction's marker.
    Transaction,
    /// Compaction deleted the record, because a later record has the same key.
    Compaction,
    /// The topic's retention deleted the record.
    Retention,
    /// The cause is not known.
    Unknown,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Transaction, Self::Compaction, Self::Retention, Self::Unknown];

    /// Returns the cause's name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Compaction => "compaction",
            Self::Retention => "retention",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the cause that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// Returns the sentence by which a receipt explains why an event is lost.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Transaction => {
                "Kafka has no record at this offset: its transaction was aborted, or the offset is a transaction's marker"
            }
            Self::Compaction => "Kafka had compacted this record away before it was applied",
            Self::Retention => "Kafka's retention had deleted this record before it was applied",
            Self::Unknown => "Kafka no longer had this record when `consume` needed it",
        }
    }
}

/// A gap to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewGap<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The incarnation that the offsets belong to.
    pub incarnation: i32,
    /// The first offset.
    pub first_offset: i64,
    /// The last offset.
    pub last_offset: i64,
    /// Why Kafka no longer has the records.
    pub cause: Cause,
}

/// An exact gap in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The row's id.
    pub id: i64,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The incarnation that the offsets belong to.
    pub incarnation: i32,
    /// The first offset.
    pub first_offset: i64,
    /// The last offset.
    pub last_offset: i64,
}

/// A row of the table, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedGap {
    #[serde(skip)]
    id: i64,
    /// Where the records could not land.
    pub destination: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first_offset: i64,
    /// The last offset.
    pub last_offset: i64,
    /// Why Kafka no longer has the records.
    pub cause: String,
    /// Whether no record in the range was applied. A merged gap also spans applied records.
    pub is_exact: bool,
    /// When the gap was found.
    pub noted_at: Timestamp,
}

impl ListedGap {
    /// Returns the cursor of the page that begins after this gap.
    pub fn cursor(&self) -> String {
        self.id.to_string()
    }
}

/// Lists at most `limit` gaps with an id greater than `after`, oldest first.
///
/// # Errors
/// PostgreSQL's error.
pub async fn list(executor: impl PgExecutor<'_>, after: i64, limit: i64) -> Result<Vec<ListedGap>, sqlx::Error> {
    const SELECT: &str = r#"
        select id, destination, topic, "partition", first_offset, last_offset, cause, is_exact,
               (extract(epoch from noted_at) * 1000)::bigint as noted_ms
        from sluice.gaps where id > $1 order by id limit $2"#;
    let gap = |row: PgRow| {
        let noted_ms: i64 = row.try_get("noted_ms")?;
        Ok(ListedGap {
            id: row.try_get("id")?,
            destination: row.try_get("destination")?,
            topic: row.try_get("topic")?,
            partition: row.try_get("partition")?,
            first_offset: row.try_get("first_offset")?,
            last_offset: row.try_get("last_offset")?,
            cause: row.try_get("cause")?,
            is_exact: row.try_get("is_exact")?,
            noted_at: Timestamp::from_millisecond(noted_ms).unwrap_or_default(),
        })
    };
    sqlx::query(SELECT).bind(after).bind(limit).try_map(gap).fetch_all(executor).await
}

/// Stores gaps. They must lie after every offset of their incarnation that was applied or is in a stored gap. The
/// caller has locked the watermarks.
///
/// # Errors
/// PostgreSQL's error.
pub async fn note(
    connection: &mut PgConnection,
    destination: Destination,
    gaps: &[NewGap<'_>],
) -> Result<(), sqlx::Error> {
    // A new gap that begins right after a stored gap is added to that gap's row.
    const INSERT: &str = r#"
        with noted as (
            select * from unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[], $5::bigint[], $6::text[])
                as n (topic, "partition", incarnation, first_offset, last_offset, cause)
        ), extended as (
            update sluice.gaps g
            set last_offset = n.last_offset, cause = c.names[greatest(array_position(c.names, g.cause),
                                                                      array_position(c.names, n.cause))]
            from noted n, (select $7::text[] as names) c
            where g.destination = $8 and g.topic = n.topic and g."partition" = n."partition"
                  and g.incarnation = n.incarnation and g.is_exact and g.last_offset = n.first_offset - 1
            returning n.topic, n."partition", n.incarnation, n.first_offset
        )
        insert into sluice.gaps (destination, topic, "partition", incarnation, first_offset, last_offset, cause)
        select $8, topic, "partition", incarnation, first_offset, last_offset, cause
        from noted n
        where not exists (
            select from extended e
            where e.topic = n.topic and e."partition" = n."partition" and e.incarnation = n.incarnation
                  and e.first_offset = n.first_offset)"#;
    if gaps.is_empty() {
        return Ok(());
    }
    let gaps = coalesced(gaps);
    let causes: Vec<&str> = Cause::ALL.into_iter().map(Cause::name).collect();
    sqlx::query(INSERT)
        .bind(gaps.iter().map(|g| g.topic).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.partition).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.incarnation).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.first_offset).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.last_offset).collect::<Vec<_>>())
        .bind(gaps.iter().map(|g| g.cause.name()).collect::<Vec<_>>())
        .bind(&causes)
        .bind(destination.name())
        .execute(&mut *connection)
        .await?;
    let mut partitions: Vec<(&str, i32)> = gaps.iter().map(|gap| (gap.topic, gap.partition)).collect();
    partitions.dedup();
    merge_oldest(connection, destination, &partitions, &causes).await
}

/// Merges the oldest gaps of partitions that have too many.
async fn merge_oldest(
    connection: &mut PgConnection,
    destination: Destination,
    partitions: &[(&str, i32)],
    causes: &[&str],
) -> Result<(), sqlx::Error> {
    // Gaps that are due to compaction or transactions are merged first, because they rarely contain an event for which
    // somebody has a receipt. The gap before the first record that was ever applied is never merged: `consume` began to
    // read after this gap, so Kafka may still have the gap's records.
    const MERGE: &str = r#"
        with numbered as (
            select id, count(*) over of_partition as total,
                   row_number() over (of_partition order by cause in ('retention', 'unknown'), incarnation, first_offset)
                       as number
            from sluice.gaps
            where destination = $5 and is_exact
                  and (topic, "partition") in (select * from unnest($1::text[], $2::integer[]))
                  and not (cause = 'unknown' and incarnation = 1 and first_offset = 0)
            window of_partition as (partition by topic, "partition")
        ), merged as (
            delete from sluice.gaps g using numbered n
            where g.id = n.id and n.number <= n.total - $4
            returning g.*
        )
        insert into sluice.gaps as g
            (destination, topic, "partition", incarnation, first_offset, last_offset, cause, is_exact, noted_at)
        select $5, topic, "partition", incarnation, min(first_offset), max(last_offset),
               ($3::text[])[max(array_position($3::text[], cause))], false, max(noted_at)
        from merged
        group by topic, "partition", incarnation
        on conflict (topic, "partition", incarnation, destination) where not is_exact do update
        set first_offset = least(g.first_offset, excluded.first_offset),
            last_offset = greatest(g.last_offset, excluded.last_offset),
            cause = ($3::text[])[greatest(array_position($3::text[], g.cause), array_position($3::text[], excluded.cause))],
            noted_at = excluded.noted_at"#;
    let (topics, numbers): (Vec<&str>, Vec<i32>) = partitions.iter().copied().unzip();
    sqlx::query(MERGE)
        .bind(topics)
        .bind(numbers)
        .bind(causes)
        .bind(MAX_EXACT)
        .bind(destination.name())
        .execute(connection)
        .await?;
    Ok(())
}

/// Merges gaps that follow each other without an offset between them.
fn coalesced<'a>(gaps: &[NewGap<'a>]) -> Vec<NewGap<'a>> {
    let mut merged: Vec<NewGap<'a>> = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let of = |gap: &NewGap<'a>| (gap.topic, gap.partition, gap.incarnation);
        match merged.last_mut() {
            Some(last) if of(last) == of(gap) && last.last_offset + 1 == gap.first_offset => {
                last.last_offset = gap.last_offset;
                last.cause = last.cause.max(gap.cause);
            }
            Some(_) | None => merged.push(*gap),
        }
    }
    merged
}

/// Returns, for each of these records of a topic, whether it lies in an exact gap of its partition's current
/// incarnation. Each record is given as its partition and offset.
///
/// # Errors
/// PostgreSQL's error.
pub async fn hold(
    connection: &mut PgConnection,
    topic: &str,
    records: &[(i32, i64)],
) -> Result<Vec<bool>, sqlx::Error> {
    const SELECT: &str = r#"
        select exists (
            select from sluice.gaps g join sluice.watermarks w using (topic, "partition", incarnation, destination)
            where g.topic = $1 and g."partition" = r."partition" and g.destination = 'postgresql' and g.is_exact
                  and r."offset" between g.first_offset and g.last_offset)
        from unnest($2::integer[], $3::bigint[]) with ordinality as r ("partition", "offset", position)
        order by r.position"#;
    let (partitions, offsets): (Vec<i32>, Vec<i64>) = records.iter().copied().unzip();
    sqlx::query_scalar(SELECT).bind(topic).bind(partitions).bind(offsets).fetch_all(connection).await
}

/// Finds the exact gaps that overlap these ranges of offsets, given as topic, partition, and first and last offset.
///
/// # Errors
/// PostgreSQL's error.
pub async fn overlapping(
    connection: &mut PgConnection,
    destination: Destination,
    ranges: &[(&str, i32, i64, i64)],
) -> Result<Vec<Gap>, sqlx::Error> {
    const SELECT: &str = r#"
        select g.id, g.topic, g."partition", g.incarnation, g.first_offset, g.last_offset
        from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])
            as r (topic, "partition", first_offset, last_offset)
        join sluice.gaps g
            on g.topic = r.topic and g."partition" = r."partition" and g.destination = $5 and g.is_exact
               and g.first_offset <= r.last_offset and g.last_offset >= r.first_offset
        order by g.topic collate "C", g."partition", g.incarnation, g.first_offset"#;
    sqlx::query(SELECT)
        .bind(ranges.iter().map(|r| r.0).collect::<Vec<_>>())
        .bind(ranges.iter().map(|r| r.1).collect::<Vec<_>>())
        .bind(ranges.iter().map(|r| r.2).collect::<Vec<_>>())
        .bind(ranges.iter().map(|r| r.3).collect::<Vec<_>>())
        .bind(destination.name())
        .try_map(|row: PgRow| {
            Ok(Gap {
                id: row.try_get("id")?,
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                incarnation: row.try_get("incarnation")?,
                first_offset: row.try_get("first_offset")?,
                last_offset: row.try_get("last_offset")?,
            })
        })
        .fetch_all(connection)
        .await
}

/// Removes offsets from a gap, because their records arrived after all and were applied. `applied` is sorted.
///
/// # Errors
/// PostgreSQL's error.
pub async fn fill(connection: &mut PgConnection, gap: &Gap, applied: &[i64]) -> Result<(), sqlx::Error> {
    const SPLIT: &str = r#"
        with filled as (delete from sluice.gaps where id = $1 returning *)
        insert into sluice.gaps
            (destination, topic, "partition", incarnation, first_offset, last_offset, cause, is_exact, noted_at)
        select destination, topic, "partition", incarnation, r.first_offset, r.last_offset, cause, is_exact, noted_at
        from filled, unnest($2::bigint[], $3::bigint[]) as r (first_offset, last_offset)"#;
    let (first, last): (Vec<i64>, Vec<i64>) = rest(gap.first_offset, gap.last_offset, applied).into_iter().unzip();
    sqlx::query(SPLIT).bind(gap.id).bind(first).bind(last).execute(connection).await?;
    Ok(())
}

/// Removes offsets from a range, and returns the remaining ranges. `without` is sorted.
fn rest(first_offset: i64, last_offset: i64, without: &[i64]) -> Vec<(i64, i64)> {
    let mut ranges = Vec::new();
    let mut next = first_offset;
    for &offset in without.iter().chain([&(last_offset + 1)]) {
        if offset > next {
            ranges.push((next, offset - 1));
        }
        next = offset + 1;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_shrinks_to_the_offsets_of_the_records_that_did_not_arrive() {
        assert_eq!(rest(3, 9, &[3, 4, 7]), [(5, 6), (8, 9)]);
        assert_eq!(rest(3, 9, &[9]), [(3, 8)]);
        assert_eq!(rest(3, 4, &[3, 4]), []);
    }

    #[test]
    fn adjacent_gaps_are_merged_under_the_cause_that_is_listed_last() {
        let gap = |first_offset, last_offset, cause| NewGap {
            topic: "t",
            partition: 0,
            incarnation: 1,
            first_offset,
            last_offset,
            cause,
        };
        let merged =
            coalesced(&[gap(0, 4, Cause::Retention), gap(5, 5, Cause::Transaction), gap(7, 7, Cause::Transaction)]);
        assert_eq!(merged, [gap(0, 5, Cause::Retention), gap(7, 7, Cause::Transaction)]);
    }
}
