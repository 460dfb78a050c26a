//! Looks up the tables and types that a change set names, except built-in types. Nothing is cached between calls,
//! because rolling back a rejected set also removes the tables and columns that it created.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::type_name::{self, Given, Other, Parsed};
use super::types::Type;

/// A name that a change set uses for a table, and what the catalogue has under that name.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) columns: Vec<Column>,
    pub(super) by_name: HashMap<String, usize>,
    /// The table to which columns are added: for a partition, the partitioned table at the root, and otherwise the
    /// relation itself. `None` if a composite type fixes the columns, or if the root is in another schema.
    pub(super) extended: Option<String>,
    /// Whether the relation is a partitioned table, whose rows are stored in its partitions.
    pub(super) partitioned: bool,
    /// Whether our role may alter the relation and create indexes on it.
    pub(super) owned: bool,
    /// Whether the relation has triggers or foreign keys, for which the order of operations matters.
    pub(super) triggers: bool,
    /// Whether the database publishes updates or deletes of some table, perhaps of this one.
    pub(super) publishing: bool,
    /// The tables that hold the relation's rows and are published without a replica identity. A partitioned table's
    /// rows are in its partitions. PostgreSQL refuses to update or delete the rows of the listed tables.
    pub(super) unidentified: Vec<Unidentified>,
}

/// A table that is published without a replica identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unidentified {
    /// The table's name with its schema, both quoted.
    pub(super) table: String,
    /// True if our role owns the table and `replica identity full` would allow changes to the table's rows.
    pub(super) ours: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    There,
    /// The table will exist when the plan's tables have been created.
    Planned,
    Missing,
    /// The name belongs to a view, a sequence, a type…
    Taken,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Type,
    /// The column's type as messages show it.
    pub(super) shown: String,
    pub(super) state: ColumnState,
    pub(super) access: Access,
    pub(super) nullable: bool,
    /// Whether an index starts with this column, or with its first characters.
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
    /// `generated always as identity`: PostgreSQL accepts a value in an insert, but not in an update.
    Identity,
    /// `generated always as (…)`: PostgreSQL accepts no value.
    Generated,
}

/// An existing type that a change set names.
#[derive(Debug, Clone)]
pub(super) struct KnownType {
    pub(super) given: Given,
    /// Whether a column of this type may be created.
    pub(super) storable: bool,
}

/// The existing types that are named in the change sets. The key is the text that names the type.
pub(super) type Types<'d> = HashMap<&'d str, KnownType>;

impl Relation {
    pub(super) fn missing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Missing,
            columns: Vec::new(),
            by_name: HashMap::new(),
            extended: Some(name.to_owned()),
            partitioned: false,
            owned: true,
            triggers: false,
            publishing: false,
            unidentified: Vec::new(),
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

// These statements take their arrays from a subquery, `(select $2)`, which hides the arrays' length from the planner. A
// generic plan then costs no more than a custom plan, so PostgreSQL keeps the generic plan after five calls. A custom
// plan for each call would take about 2 ms of planning, eight times as long as running the statement.
const RELATIONS: &str = include_str!("relations.sql");

/// Looks up the relations with these names in the schema. Names that do not exist are missing from the result.
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
                extended: row.try_get("extended")?,
                partitioned: row.try_get("partitioned")?,
                owned: row.try_get("owned")?,
                triggers: row.try_get("triggers")?,
                publishing: row.try_get("publishing")?,
                ..Relation::missing(&name)
            });
        }
        if let (Some(relation), Some(column)) = (relations.last_mut(), column(&row)?) {
            relation.push(column);
        }
    }
    Ok(relations)
}

const IDENTITIES: &str = include_str!("identities.sql");

/// Fills in, for each relation, which of its tables are published without a replica identity.
pub(super) async fn note_unidentified(
    connection: &mut PgConnection,
    schema: &str,
    relations: &mut [Relation],
) -> Result<(), sqlx::Error> {
    if !relations.iter().any(|relation| relation.publishing) {
        return Ok(());
    }
    let names: Vec<String> = relations.iter().map(|relation| relation.name.clone()).collect();
    for row in sqlx::query(IDENTITIES).bind(schema).bind(&names).fetch_all(connection).await? {
        let name: String = row.try_get("relation")?;
        let unidentified = Unidentified { table: row.try_get("target")?, ours: row.try_get("ours")? };
        if let Some(relation) = relations.iter_mut().find(|relation| relation.name == name) {
            relation.unidentified.push(unidentified);
        }
    }
    Ok(())
}

fn column(row: &PgRow) -> Result<Option<Column>, sqlx::Error> {
    let Some(name) = row.try_get("column_name")? else {
        return Ok(None);
    };
    let shown: String = row.try_get("shown")?;
    let modifiers = match type_name::parse(&shown) {
        Some(Parsed::BuiltIn(given)) => given.ty.modifiers,
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
        integer: row.try_get("type_integer")?,
    })
}

const TYPES: &str = include_str!("types.sql");

/// Looks up the types that the given texts mean. Built-in types need no query.
pub(super) async fn types<'d>(
    connection: &mut PgConnection,
    schema: &str,
    given: impl Iterator<Item = &'d str>,
) -> Result<Types<'d>, sqlx::Error> {
    let mut types = Types::new();
    let mut others: Vec<(&str, Other)> = Vec::new();
    for text in given {
        match type_name::parse(text) {
            Some(Parsed::BuiltIn(given)) => drop(types.insert(text, KnownType { given, storable: true })),
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
        // A built-in type with valid modifiers would have been recognised by `parse` above. So if the query finds a
        // built-in type and the text has modifiers, these modifiers are invalid.
        if !other.modifiers.is_empty() && (ty.is_built_in() || !row.try_get::<bool, _>("takes_modifiers")?) {
            continue;
        }
        types.insert(text, KnownType { given: Given { ty, or: None }, storable: row.try_get("storable")? });
    }
    Ok(types)
}
