//! How the ledger's tables identify a Kafka record, and how they store a whole record.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::headers;
use crate::kafka::RecordHeader;

/// Identifies a record. A partition's offsets may restart, so they are unique only within one incarnation of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The incarnation of the partition's log.
    pub incarnation: i32,
}

/// A record that is stored whole, byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct KeptRecord<'a> {
    /// Its position.
    pub position: LogPosition<'a>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub payload: &'a [u8],
    /// Its headers.
    pub headers: &'a [RecordHeader],
    /// Its time, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// The columns of a [`LogPosition`].
pub(super) const POSITION_COLUMNS: &str = r#"topic, "partition", "offset", incarnation"#;
/// The parameters that [`bind_positions`] binds.
pub(super) const POSITION_ARRAYS: &str = "$1::text[], $2::integer[], $3::bigint[], $4::integer[]";
/// The columns of a [`KeptRecord`].
pub(super) const RECORD_COLUMNS: &str =
    r#"topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms"#;
/// The parameters that [`bind_records`] binds.
pub(super) const RECORD_ARRAYS: &str = "$1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::bytea[], \
                                        $6::bytea[], $7::jsonb[], $8::bigint[]";

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// Binds the first four parameters of a query: positions, one array per column.
pub(super) fn bind_positions<'q>(
    query: PgQuery<'q>,
    positions: impl Iterator<Item = LogPosition<'q>> + Clone,
) -> PgQuery<'q> {
    query
        .bind(positions.clone().map(|position| position.topic).collect::<Vec<_>>())
        .bind(positions.clone().map(|position| position.partition).collect::<Vec<_>>())
        .bind(positions.clone().map(|position| position.offset).collect::<Vec<_>>())
        .bind(positions.map(|position| position.incarnation).collect::<Vec<_>>())
}

/// Binds the first eight parameters of a query: records, one array per column.
pub(super) fn bind_records<'q>(
    query: PgQuery<'q>,
    records: impl Iterator<Item = KeptRecord<'q>> + Clone,
) -> PgQuery<'q> {
    bind_positions(query, records.clone().map(|record| record.position))
        .bind(records.clone().map(|record| record.key).collect::<Vec<_>>())
        .bind(records.clone().map(|record| record.payload).collect::<Vec<_>>())
        .bind(records.clone().map(|record| headers::to_json(record.headers)).collect::<Vec<_>>())
        .bind(records.map(|record| record.timestamp_ms).collect::<Vec<_>>())
}
