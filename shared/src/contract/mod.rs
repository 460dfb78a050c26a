//! Contracts: one JSON Schema (2020-12) file per stream. Its `x-sluice` block says on which topic the stream's events
//! travel and how they land. Everything else follows from it: what `ingest` accepts, what `consume` writes, OpenAPI,
//! random events.

pub mod column;
mod decimal;
mod definition;
pub mod json;
pub mod pointer;
pub mod random;
mod registry;

pub use column::{Column, ColumnType};
pub use json::NotJson;
pub use pointer::Pointer;
pub use registry::{ContractError, Registry};

use std::borrow::Cow;
use std::collections::BTreeSet;

use jsonschema::Validator;
use memchr::memmem;
use serde::Serialize;
use serde_json::Value;

use crate::identity::Role;

/// A stream's contract, compiled.
#[derive(Debug)]
pub struct Contract {
    /// The stream's name: the file's, without `.json`.
    pub stream: String,
    /// The Kafka topic of its events.
    pub topic: String,
    /// The partitions the topic is created with.
    pub partitions: i32,
    /// What of an event decides its partition; with none, any partition will do.
    pub key: Vec<Pointer>,
    /// Who may post its events; empty: nobody, over HTTP.
    pub roles: Vec<Role>,
    /// How its events land.
    pub mode: Mode,
    /// The whole file.
    pub document: Value,
    validator: Validator,
}

/// How a stream's events land.
#[derive(Debug)]
pub enum Mode {
    /// A row per event.
    Append {
        /// Where.
        landing: Landing,
        /// The column that holds the event's own id: an id that is there already is not written again.
        dedupe: Option<usize>,
    },
    /// A row per key, which later events replace.
    Upsert {
        /// Where.
        landing: Landing,
        /// The columns that are the key.
        key: Vec<usize>,
    },
    /// Commands that create, update and delete rows.
    Entity(Entity),
    /// Changes of other databases' tables.
    Changes(Changes),
}

/// A table and the columns that are written.
#[derive(Debug, Clone)]
pub struct Landing {
    /// The table.
    pub table: Table,
    /// The columns, by name.
    pub columns: Vec<Column>,
}

/// A table's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name within the schema.
    pub name: String,
}

/// What mode `entity` needs to know.
#[derive(Debug)]
pub struct Entity {
    /// Where.
    pub landing: Landing,
    /// The columns that identify an entity.
    pub key: Vec<usize>,
    /// The entity it belongs to.
    pub parent: Option<Parent>,
}

/// An entity's parent.
#[derive(Debug)]
pub struct Parent {
    /// The parent's stream.
    pub stream: String,
    /// The column that holds the parent's key.
    pub column: usize,
}

/// What mode `changes` may write to.
#[derive(Debug)]
pub struct Changes {
    /// The one schema; a bare table name and the schema `public` mean it too.
    pub schema: String,
    /// The tables in it; none: all of them.
    pub tables: Option<BTreeSet<String>>,
    /// Whether missing tables and columns are created.
    pub evolve: bool,
}

/// What of an event breaks its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong, without the value itself.
    pub detail: String,
}

/// How many violations are listed.
pub const VIOLATIONS_LISTED: usize = 100;

impl Contract {
    /// Checks an event: against the schema, and that PostgreSQL can store what it says.
    ///
    /// `raw` is the text that `event` was read from. In modes with columns, the row is appended to `row` as
    /// [`Landing::encode`] does.
    ///
    /// # Errors
    /// What is wrong, up to [`VIOLATIONS_LISTED`]; what was appended to `row` is then to be dropped.
    pub fn check(&self, raw: &[u8], event: &Value, row: &mut Vec<u8>) -> Result<(), Vec<Violation>> {
        if !self.validator.is_valid(event) {
            let violations = self.validator.iter_errors(event).take(VIOLATIONS_LISTED);
            return Err(violations
                .map(|error| Violation {
                    pointer: error.instance_path().to_string(),
                    detail: error.masked().to_string(),
                })
                .collect());
        }
        if memmem::find(raw, b"\\u0000").is_some()
            && let Some(pointer) = nul(event)
        {
            return Err(vec![Violation {
                pointer,
                detail: "text must not contain U+0000, which PostgreSQL cannot store".to_owned(),
            }]);
        }
        match self.landing() {
            Some(landing) => landing.encode(event, row).map_err(|violation| vec![violation]),
            None => Ok(()),
        }
    }

    /// The key of an event's record: one value as its text, several as a JSON array.
    pub fn record_key<'e>(&self, event: &'e Value) -> Option<Cow<'e, str>> {
        let value = |pointer: &Pointer| pointer.get(event).unwrap_or(&Value::Null).clone();
        match self.key.as_slice() {
            [] => None,
            [pointer] => match pointer.get(event)? {
                Value::String(text) => Some(Cow::Borrowed(text)),
                Value::Null => None,
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    Some(Cow::Owned(other.to_string()))
                }
            },
            several => Some(Cow::Owned(Value::Array(several.iter().map(value).collect()).to_string())),
        }
    }

    /// The table and columns of its rows; none in mode `changes`.
    pub fn landing(&self) -> Option<&Landing> {
        match &self.mode {
            Mode::Append { landing, .. } | Mode::Upsert { landing, .. } => Some(landing),
            Mode::Entity(entity) => Some(&entity.landing),
            Mode::Changes(_) => None,
        }
    }

    /// The write mode's name, as in the contract file.
    pub fn mode_name(&self) -> &'static str {
        match &self.mode {
            Mode::Append { .. } => "append",
            Mode::Upsert { .. } => "upsert",
            Mode::Entity(_) => "entity",
            Mode::Changes(_) => "changes",
        }
    }
}

impl Landing {
    /// Appends the event's row: every column's value in PostgreSQL's binary form, its length before it.
    ///
    /// # Errors
    /// The first value that does not fit its column.
    pub fn encode(&self, event: &Value, row: &mut Vec<u8>) -> Result<(), Violation> {
        self.columns.iter().try_for_each(|column| {
            column
                .ty
                .encode(column.from.get(event), row)
                .map_err(|unfit| Violation { pointer: column.from.as_str().to_owned(), detail: unfit.to_string() })
        })
    }

    fn column_from(&self, pointer: &Pointer) -> Option<usize> {
        self.columns.iter().position(|column| column.from == *pointer)
    }
}

impl Table {
    /// Its name as SQL takes it, quoted.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// An identifier as SQL takes it, quoted.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Where in an event a text holds U+0000.
fn nul(value: &Value) -> Option<String> {
    fn within(token: &str, value: &Value) -> Option<String> {
        nul(value).map(|pointer| pointer::join([token]) + &pointer)
    }
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(elements) => {
            elements.iter().enumerate().find_map(|(index, element)| within(&index.to_string(), element))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(String::new());
            }
            within(name, member)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
