//! Table `duplicates`: events that repeat another event.

use sqlx::PgConnection;
use uuid::Uuid;

use super::records::{LogPosition, POSITION_ARRAYS, POSITION_COLUMNS, bind_positions};
use crate::record::place::Place;

/// An event that repeats another event.
#[derive(Debug, Clone, Copy)]
pub struct NewDuplicate<'a> {
    /// The event's position.
    pub position: LogPosition<'a>,
    /// The repeated event.
    pub repeated: Repeated<'a>,
}

/// How to find the event that a duplicate repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated<'a> {
    /// By its place in the same topic.
    At(&'a Place),
    /// By its id.
    ById(Uuid),
    /// Not at all, because only its row is known.
    Unknown,
}

impl<'a> Repeated<'a> {
    fn place(self) -> Option<&'a Place> {
        match self {
            Self::At(place) => Some(place),
            Self::ById(_) | Self::Unknown => None,
        }
    }

    fn id(self) -> Option<Uuid> {
        match self {
            Self::ById(id) => Some(id),
            Self::At(_) | Self::Unknown => None,
        }
    }
}

/// Stores duplicates: events of one stream that repeat other events.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(
    connection: &mut PgConnection,
    stream: &str,
    duplicates: &[NewDuplicate<'_>],
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let insert = format!(
        "insert into sluice.duplicates
             ({POSITION_COLUMNS}, id_hash, of_partition, of_offset, of_timestamp_ms, stream, seen_at_ms)
         select *, $9, $10 from unnest({POSITION_ARRAYS}, $5::uuid[], $6::integer[], $7::bigint[], $8::bigint[])"
    );
    let places = duplicates.iter().map(|duplicate| duplicate.repeated.place());
    bind_positions(sqlx::query(&insert), duplicates.iter().map(|duplicate| duplicate.position))
        .bind(duplicates.iter().map(|duplicate| duplicate.repeated.id()).collect::<Vec<_>>())
        .bind(places.clone().map(|place| Some(place?.partition)).collect::<Vec<_>>())
        .bind(places.clone().map(|place| Some(place?.offset)).collect::<Vec<_>>())
        .bind(places.map(|place| Some(place?.timestamp_ms)).collect::<Vec<_>>())
        .bind(stream)
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes duplicates that were seen before `before_ms`. A duplicate is kept if the event that it repeats was rejected,
/// or is known by its place.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    const DELETE: &str = "
        delete from sluice.duplicates d where seen_at_ms < $1 and of_offset is null and not exists (
            select from sluice.event_ids i
            where i.stream = d.stream and i.id_hash = d.id_hash and i.error_code is not null)";
    sqlx::query(DELETE).bind(before_ms).execute(connection).await?;
    Ok(())
}
