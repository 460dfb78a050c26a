//! Watermarks: per topic and partition, the next offset to apply. Locked at the start of a landing transaction and
//! advanced at its end, so that a batch delivered twice, or by two copies at once, lands once.

use sqlx::PgConnection;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// A partition's watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What has been applied; none before the first batch.
    pub applied: Option<Applied>,
    /// How often the partition's offsets have started anew, plus one.
    pub incarnation: i32,
    /// Offsets that never came although later ones did, over all time.
    pub skipped_offsets: i64,
}

/// What has been applied of a partition's incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The next offset to apply.
    pub next_offset: i64,
    /// The largest record time, milliseconds since the Unix epoch.
    pub max_timestamp_ms: i64,
    /// The offset of the first record.
    pub first_offset: i64,
    /// The first record's hash.
    pub first_hash: i64,
    /// The last record's hash; its offset is `next_offset - 1`.
    pub last_hash: i64,
}

/// Locks the watermarks of these partitions until the transaction ends, in sorted order, so that two transactions
/// never wait for each other. Those that are missing are created. Answered in the order of `partitions`, which must
/// be sorted and without duplicates.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn lock(connection: &mut PgConnection, partitions: &[(String, i32)]) -> Result<Vec<Watermark>, sqlx::Error> {
    let mut found = select_for_update(connection, partitions).await?;
    if found.len() < partitions.len() {
        create_missing(connection, partitions).await?;
        found = select_for_update(connection, partitions).await?;
    }
    Ok(found)
}

async fn select_for_update(
    connection: &mut PgConnection,
    partitions: &[(String, i32)],
) -> Result<Vec<Watermark>, sqlx::Error> {
    const SELECT: &str = r#"
        select w.topic, w."partition", w.next_offset, w.max_timestamp_ms, w.first_offset, w.first_hash, w.last_hash,
               w.incarnation, w.skipped_offsets
        from sluice.watermarks w
        join unnest($1::text[], $2::integer[]) as p (topic, "partition") using (topic, "partition")
        order by w.topic collate "C", w."partition"
        for update of w"#;
    let (topics, numbers) = columns(partitions);
    sqlx::query(SELECT)
        .bind(topics)
        .bind(numbers)
        .try_map(|row: PgRow| {
            let next_offset: i64 = row.try_get("next_offset")?;
            let applied = Applied {
                next_offset,
                max_timestamp_ms: row.try_get("max_timestamp_ms")?,
                first_offset: row.try_get("first_offset")?,
                first_hash: row.try_get("first_hash")?,
                last_hash: row.try_get("last_hash")?,
            };
            Ok(Watermark {
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                applied: (next_offset >= 0).then_some(applied),
                incarnation: row.try_get("incarnation")?,
                skipped_offsets: row.try_get("skipped_offsets")?,
            })
        })
        .fetch_all(connection)
        .await
}

/// A watermark that was created but has nothing applied is never seen outside of its transaction.
async fn create_missing(connection: &mut PgConnection, partitions: &[(String, i32)]) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.watermarks
            (topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_hash)
        select topic, "partition", -1, 0, 0, 0, 0
        from unnest($1::text[], $2::integer[]) as p (topic, "partition")
        order by topic collate "C", "partition"
        on conflict do nothing"#;
    let (topics, numbers) = columns(partitions);
    sqlx::query(INSERT).bind(topics).bind(numbers).execute(connection).await?;
    Ok(())
}

/// Stores watermarks that this transaction has locked.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn advance(connection: &mut PgConnection, watermarks: &[Watermark]) -> Result<(), sqlx::Error> {
    const UPDATE: &str = r#"
        update sluice.watermarks w
        set next_offset = a.next_offset, max_timestamp_ms = a.max_timestamp_ms, first_offset = a.first_offset,
            first_hash = a.first_hash, last_hash = a.last_hash, incarnation = a.incarnation,
            skipped_offsets = a.skipped_offsets, updated_at = now()
        from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                    $8::integer[], $9::bigint[])
            as a (topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_hash,
                  incarnation, skipped_offsets)
        where w.topic = a.topic and w."partition" = a."partition""#;
    let applied: Vec<(&Watermark, Applied)> =
        watermarks.iter().filter_map(|watermark| Some((watermark, watermark.applied?))).collect();
    let numbers = |number: fn(&Applied) -> i64| applied.iter().map(|(_, a)| number(a)).collect::<Vec<_>>();
    sqlx::query(UPDATE)
        .bind(applied.iter().map(|(w, _)| w.topic.as_str()).collect::<Vec<_>>())
        .bind(applied.iter().map(|(w, _)| w.partition).collect::<Vec<_>>())
        .bind(numbers(|a| a.next_offset))
        .bind(numbers(|a| a.max_timestamp_ms))
        .bind(numbers(|a| a.first_offset))
        .bind(numbers(|a| a.first_hash))
        .bind(numbers(|a| a.last_hash))
        .bind(applied.iter().map(|(w, _)| w.incarnation).collect::<Vec<_>>())
        .bind(applied.iter().map(|(w, _)| w.skipped_offsets).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

fn columns(partitions: &[(String, i32)]) -> (Vec<&str>, Vec<i32>) {
    partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)).unzip()
}
