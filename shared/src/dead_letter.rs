//! Dead letters: events that could not be written, kept with the reason, and put back on their topic by hand.

use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

/// Why an event could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code, such as `already_exists`, or an SQLSTATE.
    pub code: String,
    /// For people, without the event's values.
    pub reason: String,
}

/// An event on its way to the dead letters.
#[derive(Debug, Clone, Copy)]
pub struct NewDeadLetter<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The partition's incarnation.
    pub incarnation: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value, byte by byte.
    pub payload: &'a [u8],
    /// Its headers, as [`headers_to_json`] has them.
    pub headers: &'a Value,
    /// Its time, milliseconds since the Unix epoch.
    pub record_timestamp_ms: i64,
    /// Why it could not be written.
    pub rejection: &'a Rejection,
}

/// A dead letter as it is kept.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its own id.
    pub id: i64,
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
    /// Its headers, as [`headers_to_json`] has them.
    pub headers: Value,
    /// Its time, milliseconds since the Unix epoch.
    pub record_timestamp_ms: i64,
    /// Why it could not be written.
    pub rejection: Rejection,
    /// `open` or `replayed`.
    pub status: String,
}

/// Stores dead letters.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn insert(connection: &mut PgConnection, letters: &[NewDeadLetter<'_>]) -> Result<(), sqlx::Error> {
    const INSERT: &str = r#"
        insert into sluice.dead_letters
            (topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms, reason, error_code)
        select * from unnest($1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::bytea[], $6::bytea[],
                             $7::jsonb[], $8::bigint[], $9::text[], $10::text[])"#;
    if letters.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT)
        .bind(letters.iter().map(|l| l.topic).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.partition).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.offset).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.incarnation).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.key).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.payload).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.headers).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.record_timestamp_ms).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.rejection.reason.as_str()).collect::<Vec<_>>())
        .bind(letters.iter().map(|l| l.rejection.code.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

const COLUMNS: &str =
    r#"id, topic, "partition", "offset", key, payload, headers, record_timestamp_ms, reason, error_code, status"#;

fn read(row: &PgRow) -> Result<DeadLetter, sqlx::Error> {
    Ok(DeadLetter {
        id: row.try_get("id")?,
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        key: row.try_get("key")?,
        payload: row.try_get("payload")?,
        headers: row.try_get("headers")?,
        record_timestamp_ms: row.try_get("record_timestamp_ms")?,
        rejection: Rejection { code: row.try_get("error_code")?, reason: row.try_get("reason")? },
        status: row.try_get("status")?,
    })
}

/// Some dead letters of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The dead letters, oldest first.
    pub letters: Vec<DeadLetter>,
    /// Whether more follow.
    pub more: bool,
}

/// Lists dead letters with an id greater than `after`, of one topic or all, oldest first: at most `limit`, and no
/// more than their payloads fit into `max_bytes`, but one at least.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn list(
    executor: impl PgExecutor<'_>,
    topic: Option<&str>,
    after: i64,
    limit: i64,
    max_bytes: i64,
) -> Result<Page, sqlx::Error> {
    let select = format!(
        "select {COLUMNS}, found from (
             select *, count(*) over () as found, row_number() over (order by id) as position,
                    sum(octet_length(payload)) over (order by id) as bytes
             from (select {COLUMNS} from sluice.dead_letters
                   where id > $1 and ($2::text is null or topic = $2) order by id limit $3 + 1) as page
         ) as counted
         where position <= $3 and (bytes <= $4 or position = 1)
         order by id"
    );
    let rows = sqlx::query(&select).bind(after).bind(topic).bind(limit).bind(max_bytes).fetch_all(executor).await?;
    let found: i64 = rows.first().map_or(Ok(0), |row| row.try_get("found"))?;
    let letters = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let more = usize::try_from(found).is_ok_and(|found| found > letters.len());
    Ok(Page { letters, more })
}

/// One dead letter.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn find(executor: impl PgExecutor<'_>, id: i64) -> Result<Option<DeadLetter>, sqlx::Error> {
    let select = format!("select {COLUMNS} from sluice.dead_letters where id = $1");
    sqlx::query(&select).bind(id).try_map(|row| read(&row)).fetch_optional(executor).await
}

/// One dead letter, locked until the transaction ends, so that it is replayed by one caller at a time.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn lock(connection: &mut PgConnection, id: i64) -> Result<Option<DeadLetter>, sqlx::Error> {
    let select = format!("select {COLUMNS} from sluice.dead_letters where id = $1 for update");
    sqlx::query(&select).bind(id).try_map(|row| read(&row)).fetch_optional(connection).await
}

/// Notes that a dead letter was put back on its topic.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn mark_replayed(connection: &mut PgConnection, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update sluice.dead_letters set status = 'replayed', replayed_at = now() where id = $1")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// A record's headers as the dead letters keep them: `[{"name", "value"}]`, bytes that are no text that PostgreSQL
/// can store as a list of numbers in `bytes`, and a header without a value with neither.
pub fn headers_to_json<'h>(headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>) -> Value {
    let header = |(name, value): (&str, Option<&[u8]>)| match value {
        None => json!({ "name": name }),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => json!({"name": name, "value": text}),
            _ => json!({"name": name, "bytes": bytes}),
        },
    };
    headers.into_iter().map(header).collect()
}

/// The headers that [`headers_to_json`] wrote.
pub fn headers_from_json(headers: &Value) -> Vec<(String, Option<Vec<u8>>)> {
    let header = |header: &Value| {
        let name = header.get("name")?.as_str()?.to_owned();
        let text = header.get("value").and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
        let bytes = || {
            let bytes = header.get("bytes")?.as_array()?.iter();
            bytes.map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
        };
        Some((name, text.or_else(bytes)))
    };
    headers.as_array().into_iter().flatten().filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_byte_by_byte_and_in_order() {
        let headers: [(&str, Option<&[u8]>); 5] =
            [("a", Some(b"text")), ("b", Some(b"\xff\x00")), ("a", Some(b"nul\0")), ("c", None), ("d", Some(b""))];
        let back = headers_from_json(&headers_to_json(headers));
        let expected: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.map(<[u8]>::to_vec))).collect();
        assert_eq!(back, expected);
    }
}
