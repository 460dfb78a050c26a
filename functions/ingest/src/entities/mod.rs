//! Routes of entities, derived from the contracts. `/{stream}` shows one entity and accepts commands. The HTTP method
//! determines a command's operation. `/{table}` lists the entities. `routes` serves these routes, and `openapi`
//! describes them.
//!
//! - `operation`: the operation of a command, which follows from the method
//! - `rows`: reads entities from their tables

mod operation;
mod rows;

use std::borrow::Cow;
use std::sync::Arc;

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use serde_json::value::RawValue;
use shared::contract::{Column, Contract, Entity, Mode, Registry, composed};
use shared::http::answer::List;
use shared::http::database::in_time;
use shared::http::fields::{Fields, PAGE};

pub(crate) use self::operation::Operation;
use crate::Ingest;
use crate::error::Error;

/// What the name in an entity's route stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EntityRoute<'r> {
    /// A stream of entities.
    Stream(&'r Contract, &'r Entity),
    /// The table of such a stream.
    Table(&'r Entity),
}

impl EntityRoute<'_> {
    /// Returns the methods of the route.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Self::Stream(..) => "GET, HEAD, POST, PUT, DELETE",
            Self::Table(_) => "GET, HEAD",
        }
    }
}

/// Returns the entity contracts.
pub(crate) fn all(registry: &Registry) -> impl Iterator<Item = (&Arc<Contract>, &Entity)> {
    registry.contracts().filter_map(|contract| match &contract.mode {
        Mode::Entity(entity) => Some((contract, entity)),
        Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => None,
    })
}

/// Resolves the name in a route.
pub(crate) fn resolve<'i>(ingest: &'i Ingest, name: &str) -> Result<EntityRoute<'i>, Error> {
    let stream = all(&ingest.registry).find(|(contract, _)| contract.stream == name);
    let table = || all(&ingest.registry).find(|(_, entity)| entity.landing.table.name == name);
    match (stream, table) {
        (Some((contract, entity)), _) => Ok(EntityRoute::Stream(contract, entity)),
        (None, table) => match table() {
            Some((_, entity)) => Ok(EntityRoute::Table(entity)),
            None => Err(Error::not_found("This route does not exist. `/openapi.json` lists the routes.")),
        },
    }
}

/// Returns the entity whose key has the values that the query gives. The query must give all fields of the key.
pub(crate) async fn find(ingest: &Ingest, entity: &Entity, query: &Fields) -> Result<Box<RawValue>, Error> {
    let key = key_columns(entity);
    let value = |column: &&Column| query.require(parameter(column)).map(|value| as_stored(column, value));
    let values = key.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let found = in_time(rows::find(&ingest.pool, &entity.landing.table, &key, &values)).await?;
    found.ok_or_else(|| Error::not_found("This entity does not exist."))
}

/// Lists entities in the order of their keys. If the query names a parent, lists only its children.
pub(crate) async fn list(ingest: &Ingest, entity: &Entity, query: &Fields) -> Result<List<Box<RawValue>>, Error> {
    let key = key_columns(entity);
    let parent = match &entity.parent {
        Some(parent) => {
            let column = &entity.landing.columns[parent.column];
            query.get(parameter(column))?.map(|value| (column, as_stored(column, value)))
        }
        None => None,
    };
    let after = query.get("after")?.map(|cursor| from_cursor(cursor, key.len())).transpose()?;
    let limit = query.limit()?;
    let parent = parent.as_ref().map(|(column, value)| (*column, value.as_ref()));
    let page = rows::Page { parent, after: after.as_deref(), limit: i64::from(limit) + 1 };
    let mut rows = in_time(rows::list(&ingest.pool, &entity.landing.table, &key, page)).await?;
    let more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let next = rows.last().filter(|_| more).map(|row| to_cursor(&row.key));
    Ok(List { items: rows.into_iter().map(|row| row.json).collect(), next })
}

/// Returns the query parameters of a route. A stream's route takes the fields of the key. A table's route takes the
/// parent, if the entities have one, and the parameters that every list has.
pub(crate) fn parameters(route: EntityRoute<'_>) -> Vec<&str> {
    match route {
        EntityRoute::Stream(_, entity) => key_columns(entity).into_iter().map(parameter).collect(),
        EntityRoute::Table(entity) => {
            let parent = entity.parent.as_ref().map(|parent| parameter(&entity.landing.columns[parent.column]));
            parent.into_iter().chain(PAGE).collect()
        }
    }
}

fn key_columns(entity: &Entity) -> Vec<&Column> {
    entity.key.iter().map(|index| &entity.landing.columns[*index]).collect()
}

/// Returns a value in the form in which its column stores it.
fn as_stored<'v>(column: &Column, value: &'v str) -> Cow<'v, str> {
    if column.is_composed { composed(value) } else { Cow::Borrowed(value) }
}

/// Returns the query parameter for a column: the name of the event's top-level member that fills the column, or the
/// column's own name if no top-level member fills the column.
pub(crate) fn parameter(column: &Column) -> &str {
    match column.from.pointer().and_then(|pointer| pointer.as_str().strip_prefix('/')) {
        Some(member) if !member.is_empty() && !member.contains(['/', '~']) => member,
        _ => &column.name,
    }
}

/// Encodes the key of the last row of a page as a cursor.
fn to_cursor(key: &[String]) -> String {
    BASE64.encode_to_string(serde_json::json!(key).to_string())
}

fn from_cursor(cursor: &str, columns: usize) -> Result<Vec<String>, Error> {
    let key = BASE64.decode_to_vec(cursor).ok().and_then(|text| serde_json::from_slice::<Vec<String>>(&text).ok());
    key.filter(|key| key.len() == columns && !key.iter().any(|value| value.contains('\0')))
        .ok_or_else(|| Error::malformed("`after` must be a cursor from `next`."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_decoded_to_its_key_and_any_other_text_is_rejected() {
        let key = ["Côte d'Ivoire".to_owned(), "Bouaké \"1\"".to_owned()];
        assert_eq!(from_cursor(&to_cursor(&key), 2).ok(), Some(key.to_vec()));
        assert!(from_cursor(&to_cursor(&key), 1).is_err());
        assert!(from_cursor("Bouaké", 1).is_err());
        assert!(from_cursor(&to_cursor(&["\0".to_owned()]), 1).is_err());
    }
}
