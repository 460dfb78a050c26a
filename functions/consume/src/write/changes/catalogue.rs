//! What is there: the tables that a call names, and the types that are not PostgreSQL's own. Read anew on every call,
//! since what a rejected set had created is rolled back with it.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::type_name::{self, Given, Other, Parsed};
use super::types::Type;

/// A name that change sets may write to, and what stands behind it.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) columns: Vec<Column>,
    pub(super) by_name: HashMap<String, usize>,
    /// Columns may be added: it is no partition, and of no composite type.
    pub(super) extensible: bool,
    /// Ours to index.
    pub(super) owned: bool,
    /// It has triggers of its operator's, or foreign keys, to which the order of operations matters.
    pub(super) triggers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    There,
    /// It will be, once the plan's tables are created.
    Planned,
    Missing,
    /// The name belongs to a view, a sequence, a type…
    Taken,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
    /// Its type for people.
    pub(super) shown: String,
    pub(super) state: ColumnState,
    pub(super) access: Access,
    pub(super) nullable: bool,
    /// An index begins with it, or with its first characters.
    pub(super) indexed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnState {
    There,
    Planned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Writable,
    /// `generated always as identity`: what is inserted may be said, but not what is updated.
    Identity,
    /// `generated always as (…) stored`.
    Generated,
}

/// A given type that exists.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) given: Given,
    /// A column of it may be created.
    pub(super) storable: bool,
}

/// The given types, by their text as given; of those that are not in it nobody knows.
pub(super) type Types<'d> = HashMap<&'d str, Known>;

impl Relation {
    pub(super) fn missing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Missing,
            columns: Vec::new(),
            by_name: HashMap::new(),
            extensible: true,
            owned: true,
            triggers: false,
        }
    }

    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn push(&mut self, column: Column) -> usize {
        let index = self.columns.len();
        self.by_name.insert(column.name.clone(), index);
        self.columns.push(column);
        index
    }

    pub(super) fn truncate(&mut self, columns: usize) {
        for column in self.columns.drain(columns..) {
            self.by_name.remove(&column.name);
        }
    }
}

const RELATIONS: &str = include_str!("relations.sql");

/// The relations of these names in the schema. Names that are not taken are missing from the answer.
pub(super) async fn relations(
    connection: &mut PgConnection,
    schema: &str,
    names: &[&str],
) -> Result<Vec<Relation>, sqlx::Error> {
    let mut relations: Vec<Relation> = Vec::new();
    for row in sqlx::query(RELATIONS).bind(schema).bind(names).fetch_all(connection).await? {
        let name: String = row.try_get("name")?;
        if relations.last().is_none_or(|last| last.name != name) {
            relations.push(Relation {
                state: if row.try_get("ordinary")? { State::There } else { State::Taken },
                extensible: row.try_get("extensible")?,
                owned: row.try_get("owned")?,
                triggers: row.try_get("triggers")?,
                ..Relation::missing(&name)
            });
        }
        if let (Some(relation), Some(column)) = (relations.last_mut(), column(&row)?) {
            relation.push(column);
        }
    }
    Ok(relations)
}

fn column(row: &PgRow) -> Result<Option<Column>, sqlx::Error> {
    let Some(name) = row.try_get("column_name")? else {
        return Ok(None);
    };
    let shown: String = row.try_get("shown")?;
    let modifiers = match type_name::parse(&shown) {
        Some(Parsed::Own(given)) => given.ty.modifiers,
        Some(Parsed::Other(other)) => other.modifiers,
        None => String::new(),
    };
    let access = match (row.try_get("generated")?, row.try_get("identity")?) {
        (true, _) => Access::Generated,
        (false, true) => Access::Identity,
        (false, false) => Access::Writable,
    };
    Ok(Some(Column {
        name,
        ty: type_of(row, modifiers)?,
        shown,
        state: ColumnState::There,
        access,
        nullable: row.try_get("nullable")?,
        indexed: row.try_get("indexed")?,
    }))
}

fn type_of(row: &PgRow, modifiers: String) -> Result<Type, sqlx::Error> {
    Ok(Type {
        schema: row.try_get("type_schema")?,
        name: row.try_get("type_name")?,
        modifiers,
        array: row.try_get("type_array")?,
        enumeration: row.try_get("type_enumeration")?,
    })
}

const TYPES: &str = include_str!("types.sql");

/// Finds out what the given texts mean. Those of PostgreSQL's own types cost no query.
pub(super) async fn types<'d>(
    connection: &mut PgConnection,
    schema: &str,
    given: impl Iterator<Item = &'d str>,
) -> Result<Types<'d>, sqlx::Error> {
    let mut types = Types::new();
    let mut others: Vec<(&str, Other)> = Vec::new();
    for text in given {
        match type_name::parse(text) {
            Some(Parsed::Own(given)) => drop(types.insert(text, Known { given, storable: true })),
            Some(Parsed::Other(other)) => others.push((text, other)),
            None => {}
        }
    }
    if others.is_empty() {
        return Ok(types);
    }
    let rows = sqlx::query(TYPES)
        .bind(others.iter().map(|(_, other)| other.schema.as_deref()).collect::<Vec<_>>())
        .bind(others.iter().map(|(_, other)| other.name.as_str()).collect::<Vec<_>>())
        .bind(schema)
        .fetch_all(connection)
        .await?;
    for row in rows {
        let position: i64 = row.try_get("position")?;
        let Some((text, other)) = usize::try_from(position - 1).ok().and_then(|index| others.get(index)) else {
            continue;
        };
        let mut ty = type_of(&row, other.modifiers.clone())?;
        ty.array |= other.array;
        // Those of PostgreSQL's own types have been read, or were none.
        if !other.modifiers.is_empty() && (ty.is_own() || !row.try_get::<bool, _>("takes_modifiers")?) {
            continue;
        }
        types.insert(text, Known { given: Given { ty, or: None }, storable: row.try_get("storable")? });
    }
    Ok(types)
}
