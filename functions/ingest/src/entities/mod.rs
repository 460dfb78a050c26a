//! Entities under their own names: `/{stream}` takes commands, with the method as the operation, and shows one;
//! `/{table}` lists them. Both are derived from the contracts.

mod operation;
mod rows;

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use serde_json::value::RawValue;
use shared::contract::{Column, Contract, Entity, Mode};

use crate::Ingest;
use crate::error::Error;
pub(crate) use operation::Operation;
use shared::http::answer::List;
use shared::http::database::in_time;
use shared::http::fields::Fields;

/// What a name means as a route.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'r> {
    /// A stream of entities.
    Stream(&'r Contract, &'r Entity),
    /// The table of one.
    Table(&'r Entity),
}

impl Named<'_> {
    /// What its route takes.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Self::Stream(..) => "GET, HEAD, POST, PUT, DELETE",
            Self::Table(_) => "GET, HEAD",
        }
    }
}

/// The entity contracts.
pub(crate) fn all(ingest: &Ingest) -> impl Iterator<Item = (&Contract, &Entity)> {
    ingest.registry.contracts().filter_map(|contract| match &contract.mode {
        Mode::Entity(entity) => Some((contract.as_ref(), entity)),
        Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => None,
    })
}

/// What `name` means as a route.
pub(crate) fn named<'i>(ingest: &'i Ingest, name: &str) -> Result<Named<'i>, Error> {
    let stream = all(ingest).find(|(contract, _)| contract.stream == name);
    let table = || all(ingest).find(|(_, entity)| entity.landing.table.name == name);
    match (stream, table) {
        (Some((contract, entity)), _) => Ok(Named::Stream(contract, entity)),
        (None, table) => match table() {
            Some((_, entity)) => Ok(Named::Table(entity)),
            None => Err(Error::not_found("There is no such route.")),
        },
    }
}

/// One entity, found by all of its key's fields.
pub(crate) async fn find(ingest: &Ingest, entity: &Entity, query: &Fields) -> Result<Box<RawValue>, Error> {
    let key = key_columns(entity);
    let values = key.iter().map(|column| query.require(parameter(column))).collect::<Result<Vec<_>, _>>()?;
    let found = in_time(rows::find(&ingest.pool, &entity.landing.table, &key, &values)).await?;
    found.ok_or_else(|| Error::not_found("There is no such entity."))
}

/// Lists entities by their keys; those of one parent, if the query names it.
pub(crate) async fn list(ingest: &Ingest, entity: &Entity, query: &Fields) -> Result<List<Box<RawValue>>, Error> {
    let key = key_columns(entity);
    let parent = match &entity.parent {
        Some(parent) => {
            let column = &entity.landing.columns[parent.column];
            query.get(parameter(column))?.map(|value| (column, value))
        }
        None => None,
    };
    let after = query.get("after")?.map(|cursor| from_cursor(cursor, key.len())).transpose()?;
    let limit = query.limit()?;
    let page = rows::Page { parent, after: after.as_deref(), limit: i64::from(limit) + 1 };
    let mut rows = in_time(rows::list(&ingest.pool, &entity.landing.table, &key, page)).await?;
    let more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let next = rows.last().filter(|_| more).map(|row| to_cursor(&row.key));
    Ok(List { items: rows.into_iter().map(|row| row.json).collect(), next })
}

fn key_columns(entity: &Entity) -> Vec<&Column> {
    entity.key.iter().map(|index| &entity.landing.columns[*index]).collect()
}

/// What a column is called in a query: as its member in the event.
pub(crate) fn parameter(column: &Column) -> &str {
    match column.from.as_str().strip_prefix('/') {
        Some(member) if !member.is_empty() && !member.contains(['/', '~']) => member,
        _ => &column.name,
    }
}

/// A list's place as a cursor: the key of the last row.
fn to_cursor(key: &[String]) -> String {
    BASE64.encode_to_string(serde_json::json!(key).to_string())
}

fn from_cursor(cursor: &str, columns: usize) -> Result<Vec<String>, Error> {
    let key = BASE64.decode_to_vec(cursor).ok().and_then(|text| serde_json::from_slice::<Vec<String>>(&text).ok());
    key.filter(|key| key.len() == columns && !key.iter().any(|value| value.contains('\0')))
        .ok_or_else(|| Error::malformed("after should be a cursor from next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_no_other_text_is_one() {
        let key = ["Côte d'Ivoire".to_owned(), "Bouaké \"1\"".to_owned()];
        assert_eq!(from_cursor(&to_cursor(&key), 2).ok(), Some(key.to_vec()));
        assert!(from_cursor(&to_cursor(&key), 1).is_err());
        assert!(from_cursor("Bouaké", 1).is_err());
        assert!(from_cursor(&to_cursor(&["\0".to_owned()]), 1).is_err());
    }
}
