//! Table `dead_letters`: events that could not be written, stored with the reason, and replayed on request.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, QueryBuilder, Row as _};

use super::filter::{Filter, LetterStatus};
use super::records::{KeptRecord, RECORD_ARRAYS, RECORD_COLUMNS, bind_records};
use super::{Destination, Rejection};
use crate::record::place::Place;

/// A dead letter to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewDeadLetter<'a> {
    /// The record.
    pub record: KeptRecord<'a>,
    /// Why the event could not be written.
    pub rejection: &'a Rejection,
}

/// A stored dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The dead letter's id.
    pub id: i64,
    /// Where the event could not be written.
    pub destination: Destination,
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub payload: Vec<u8>,
    /// Its headers, as [`headers::to_json`](super::headers::to_json) returns them.
    pub headers: Value,
    /// The record's time, milliseconds since the Unix epoch.
    pub record_timestamp_ms: i64,
    /// Why the event could not be written.
    pub rejection: Rejection,
    /// What has become of the dead letter.
    pub status: LetterStatus,
    /// The place of the dead letter's replay, if it is known.
    pub replayed_as: Option<Place>,
    /// How often this dead letter's event was replayed, including replays of the event's earlier dead letters.
    pub replays: i32,
    /// The id of the dead letter that was replayed, if this dead letter is itself a rejected replay.
    pub replay_of: Option<i64>,
    /// The note of the operator who discarded the dead letter.
    pub note: Option<String>,
    /// When the event became a dead letter.
    pub rejected_at: Timestamp,
}

/// Stores dead letters.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(
    connection: &mut PgConnection,
    destination: Destination,
    letters: &[NewDeadLetter<'_>],
) -> Result<(), sqlx::Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let relation = format!(
        "unnest({RECORD_ARRAYS}, $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
             as n ({RECORD_COLUMNS}, {REJECTION_COLUMNS})"
    );
    let insert = insert_from(&format!("'{}'", destination.name()), &relation);
    bind_records(sqlx::query(&insert), letters.iter().map(|letter| letter.record))
        .bind(letters.iter().map(|letter| letter.rejection.reason.as_str()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.rejection.code.as_str()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.rejection.constraint.as_deref()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.rejection.table.as_deref()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.rejection.column.as_deref()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.rejection.pointer.as_deref()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

const REJECTION_COLUMNS: &str = r#"reason, error_code, "constraint", "table", "column", pointer"#;

/// Returns the statement that stores each row of a relation as a dead letter. The relation has a record's and a
/// rejection's columns. `destination` is an SQL literal.
pub(super) fn insert_from(destination: &str, relation: &str) -> String {
    format!(
        "insert into sluice.dead_letters (destination, {RECORD_COLUMNS}, {REJECTION_COLUMNS})
         select {destination}, {RECORD_COLUMNS}, {REJECTION_COLUMNS} from {relation}"
    )
}

pub(super) const COLUMNS: &str = r#"id, destination, topic, "partition", "offset", key, payload, headers, record_timestamp_ms, reason,
    error_code, "constraint", "table", "column", pointer, status, replayed_partition, replayed_offset,
    replayed_timestamp_ms, replays, replay_of, note, (extract(epoch from created_at) * 1000000)::bigint as created_us"#;

/// Reads a row of [`COLUMNS`].
pub(super) fn read(row: &PgRow) -> Result<DeadLetter, sqlx::Error> {
    let name = |column: &str| row.try_get::<Option<String>, _>(column).map(|name| name.map(String::into_boxed_str));
    let destination: String = row.try_get("destination")?;
    let destination = Destination::from_name(&destination)
        .ok_or_else(|| sqlx::Error::Decode(format!("an unknown destination: {destination}").into()))?;
    Ok(DeadLetter {
        id: row.try_get("id")?,
        destination,
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        key: row.try_get("key")?,
        payload: row.try_get("payload")?,
        headers: row.try_get("headers")?,
        record_timestamp_ms: row.try_get("record_timestamp_ms")?,
        rejection: Rejection {
            code: row.try_get("error_code")?,
            reason: row.try_get("reason")?,
            constraint: name("constraint")?,
            table: name("table")?,
            column: name("column")?,
            pointer: name("pointer")?,
        },
        status: status(row)?,
        replayed_as: replayed_as(row)?,
        replays: row.try_get("replays")?,
        replay_of: row.try_get("replay_of")?,
        note: row.try_get("note")?,
        rejected_at: Timestamp::from_microsecond(row.try_get("created_us")?).unwrap_or_default(),
    })
}

fn status(row: &PgRow) -> Result<LetterStatus, sqlx::Error> {
    let name: String = row.try_get("status")?;
    LetterStatus::from_name(&name).ok_or_else(|| sqlx::Error::Decode(format!("an unknown status: {name}").into()))
}

/// Returns the place of a row's replay, if it is known. The row has the columns `topic`, `replayed_partition`,
/// `replayed_offset` and `replayed_timestamp_ms`.
///
/// # Errors
/// A column is missing.
pub fn replayed_as(row: &PgRow) -> Result<Option<Place>, sqlx::Error> {
    let (partition, offset) = (row.try_get("replayed_partition")?, row.try_get("replayed_offset")?);
    let (Some(partition), Some(offset)) = (partition, offset) else { return Ok(None) };
    let (topic, timestamp_ms) = (row.try_get("topic")?, row.try_get("replayed_timestamp_ms")?);
    Ok(Some(Place { topic, partition, offset, timestamp_ms }))
}

/// Returns one dead letter.
///
/// # Errors
/// PostgreSQL's error.
pub async fn find(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<DeadLetter>, sqlx::Error> {
    let select = format!("select {COLUMNS} from sluice.dead_letters where id = $1");
    sqlx::query(&select).bind(id).try_map(|row| read(&row)).fetch_optional(executor).await
}

/// Returns one dead letter, and locks it until the transaction ends, so that only one caller at a time replays it.
///
/// # Errors
/// PostgreSQL's error.
pub async fn lock(connection: &mut PgConnection, id: i64) -> Result<Option<DeadLetter>, sqlx::Error> {
    let select = format!("select {COLUMNS} from sluice.dead_letters where id = $1 for update");
    sqlx::query(&select).bind(id).try_map(|row| read(&row)).fetch_optional(connection).await
}

/// Returns several dead letters, and locks them like [`lock`]. Leaves out letters that another transaction has locked.
///
/// # Errors
/// PostgreSQL's error.
pub async fn lock_free(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let select =
        format!("select {COLUMNS} from sluice.dead_letters where id = any($1) order by id for update skip locked");
    sqlx::query(&select).bind(ids).try_map(|row| read(&row)).fetch_all(connection).await
}

/// Returns which of these letters exist.
///
/// # Errors
/// PostgreSQL's error.
pub async fn existing(executor: impl PgExecutor<'_>, ids: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("select id from sluice.dead_letters where id = any($1)").bind(ids).fetch_all(executor).await
}

/// Marks locked dead letters as replayed, with the replays' places.
///
/// # Errors
/// PostgreSQL's error.
pub async fn mark_replayed(connection: &mut PgConnection, replays: &[(i64, Place)]) -> Result<(), sqlx::Error> {
    const UPDATE: &str = r#"
        update sluice.dead_letters d
        set status = 'replayed', replayed_at = now(), replayed_partition = r."partition", replayed_offset = r."offset",
            replayed_timestamp_ms = r.timestamp_ms
        from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[]) as r (id, "partition", "offset", timestamp_ms)
        where d.id = r.id"#;
    sqlx::query(UPDATE)
        .bind(replays.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(replays.iter().map(|(_, place)| place.partition).collect::<Vec<_>>())
        .bind(replays.iter().map(|(_, place)| place.offset).collect::<Vec<_>>())
        .bind(replays.iter().map(|(_, place)| place.timestamp_ms).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Discards at most `limit` of the open letters that match the filter, and stores the operator's note with them.
/// Returns how many letters were discarded. Letters that are being replayed at this moment are left out.
///
/// # Errors
/// PostgreSQL's error.
pub async fn discard(
    connection: &mut PgConnection,
    filter: &Filter,
    note: &str,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let mut query = QueryBuilder::new("update sluice.dead_letters set status = 'discarded', note = ");
    query.push_bind(note).push(" where id = any(array(select id from sluice.dead_letters");
    filter.push_where(&mut query);
    query.push(" and status = 'open' order by created_at, id limit ").push_bind(limit);
    query.push(" for update skip locked))");
    Ok(query.build().execute(connection).await?.rows_affected())
}

/// A replay that was read from its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadReplay {
    /// The place of the dead letter's record.
    pub letter: Place,
    /// The replay's own place.
    pub place: Place,
}

/// Marks the letters of these replays, which were read from Kafka, as replayed. No letter may occur twice. Returns the
/// places of the letters that the table has.
///
/// If a letter already has a replay's place, the letter keeps that place. Usually, this is the place of the replay that
/// was just read, because `console` has already stored it. It is the place of a different replay only if the letter was
/// replayed twice.
///
/// # Errors
/// PostgreSQL's error.
pub async fn mark_read(connection: &mut PgConnection, replays: &[ReadReplay]) -> Result<Vec<Place>, sqlx::Error> {
    const UPDATE: &str = r#"
        update sluice.dead_letters d
        set status = 'replayed', replayed_at = coalesce(d.replayed_at, now()),
            replayed_partition = coalesce(d.replayed_partition, r.as_partition),
            replayed_offset = coalesce(d.replayed_offset, r.as_offset),
            replayed_timestamp_ms = coalesce(d.replayed_timestamp_ms, r.as_timestamp_ms)
        from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[], $6::bigint[], $7::bigint[])
             as r (topic, "partition", "offset", timestamp_ms, as_partition, as_offset, as_timestamp_ms)
        where d.topic = r.topic and d."partition" = r."partition" and d."offset" = r."offset"
              and d.record_timestamp_ms = r.timestamp_ms and d.destination = 'postgresql'
        returning d.topic, d."partition", d."offset", d.record_timestamp_ms"#;
    sqlx::query(UPDATE)
        .bind(replays.iter().map(|replay| replay.letter.topic.as_str()).collect::<Vec<_>>())
        .bind(replays.iter().map(|replay| replay.letter.partition).collect::<Vec<_>>())
        .bind(replays.iter().map(|replay| replay.letter.offset).collect::<Vec<_>>())
        .bind(replays.iter().map(|replay| replay.letter.timestamp_ms).collect::<Vec<_>>())
        .bind(replays.iter().map(|replay| replay.place.partition).collect::<Vec<_>>())
        .bind(replays.iter().map(|replay| replay.place.offset).collect::<Vec<_>>())
        .bind(replays.iter().map(|replay| replay.place.timestamp_ms).collect::<Vec<_>>())
        .try_map(|row: PgRow| {
            let (topic, partition, offset) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(Place { topic, partition, offset, timestamp_ms: row.try_get(3)? })
        })
        .fetch_all(connection)
        .await
}

/// Like [`mark_read`], but for a replay that names its dead letter by id. A dead letter with that id but another key or
/// payload is not marked, because it is a different letter: a restored database can assign an id again.
///
/// # Errors
/// PostgreSQL's error.
pub async fn mark_read_by_number(
    connection: &mut PgConnection,
    id: i64,
    key: Option<&[u8]>,
    payload: &[u8],
    place: &Place,
) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "
        update sluice.dead_letters
        set status = 'replayed', replayed_at = coalesce(replayed_at, now()),
            replayed_partition = coalesce(replayed_partition, $5), replayed_offset = coalesce(replayed_offset, $6),
            replayed_timestamp_ms = coalesce(replayed_timestamp_ms, $7)
        where id = $1 and topic = $2 and destination = 'postgresql' and key is not distinct from $3 and payload = $4";
    sqlx::query(UPDATE)
        .bind(id)
        .bind(&place.topic)
        .bind(key)
        .bind(payload)
        .bind(place.partition)
        .bind(place.offset)
        .bind(place.timestamp_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Erases the key, headers and payload of dead letters that are older than the given number of days: at most `limit`
/// letters, the oldest first. Returns how many were erased. The letters' places and reasons stay, so their receipts do
/// not change.
///
/// # Errors
/// PostgreSQL's error.
pub async fn expire(connection: &mut PgConnection, days: i32, limit: i64) -> Result<u64, sqlx::Error> {
    // A dead letter that is being replayed right now is left for the next call.
    const UPDATE: &str = "
        update sluice.dead_letters set status = 'expired', key = null, headers = '[]', payload = ''
        where id in (
            select id from sluice.dead_letters
            where status <> 'expired' and created_at < now() - make_interval(days => $1)
            order by created_at limit $2 for update skip locked
        )";
    Ok(sqlx::query(UPDATE).bind(days).bind(limit).execute(connection).await?.rows_affected())
}

/// Returns the dead letters of one topic's records. Each record is given as its partition and offset.
///
/// # Errors
/// PostgreSQL's error.
pub async fn at(
    executor: impl PgExecutor<'_>,
    topic: &str,
    records: &[(i32, i64)],
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let (partitions, offsets): (Vec<i32>, Vec<i64>) = records.iter().copied().unzip();
    let select = format!(
        r#"select {COLUMNS} from sluice.dead_letters
           where topic = $1 and ("partition", "offset") in (select * from unnest($2::integer[], $3::bigint[]))
                 and destination = 'postgresql'
           order by id desc"#
    );
    let letters = sqlx::query(&select).bind(topic).bind(partitions).bind(offsets);
    letters.try_map(|row| read(&row)).fetch_all(executor).await
}
