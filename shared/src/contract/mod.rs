//! Contracts: one JSON Schema (2020-12) file per stream. Its `x-sluice` block says on which topic the stream's events
//! travel and how they land. Everything else is derived from the file: the events that `ingest` accepts, the rows that
//! `consume` writes, the OpenAPI document, and the events of the crate `random-events`.

pub mod canonical;
mod changes;
pub mod column;
mod composed;
mod decimal;
mod decode;
mod definition;
pub mod json;
mod limits;
mod metadata;
mod number_text;
mod pattern;
pub mod pointer;
mod reach;
mod record_key;
mod registry;
mod role;
pub mod schema;
mod validator;
mod violation;

pub use changes::{Changes, NotAllowed, WrongTableName};
pub use column::ColumnType;
pub use composed::composed;
pub use decimal::Decimal;
pub use json::NotJson;
pub use metadata::{Meta, Metadata, Source, Unsent, trace_id};
pub use pointer::Pointer;
pub use registry::{ContractError, Registry};
pub use role::Role;
pub use validator::Part;

use std::borrow::Cow;
use std::collections::BTreeSet;

use jsonschema::Validator;
use memchr::memmem;
use serde::Serialize;
use serde_json::Value;

use self::column::Unfit;
use self::reach::Strings;

/// A stream's contract, compiled.
#[derive(Debug)]
pub struct Contract {
    /// The stream's name: the name of the file without `.json`.
    pub stream: String,
    /// The Kafka topic of its events.
    pub topic: String,
    /// The number of partitions that the topic is created with.
    pub partitions: i32,
    /// The pointers to the values that decide an event's partition. If there are none, any partition is used.
    pub key: Vec<Pointer>,
    /// The roles that may post the stream's events. If empty, only service keys may post them.
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
        /// The landing table.
        landing: Landing,
        /// The column with the event's own id. An event whose id already exists in the table is not written.
        dedupe: Option<usize>,
    },
    /// A row per key, which later events replace.
    Upsert {
        /// The landing table.
        landing: Landing,
        /// The columns that are the key.
        key: Vec<usize>,
        /// The column that decides which event wins. Without it, the later event wins.
        version: Option<usize>,
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

/// A column of a landing table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub from: Source,
    /// Its type.
    pub ty: ColumnType,
    /// Whether its texts are stored [`composed`]. Those of entities' keys and parents are.
    pub is_composed: bool,
    /// How the column takes strings: as its type says, or as numbers.
    strings: Strings,
}

/// A table's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name within the schema.
    pub name: String,
}

/// The settings of mode `entity`.
#[derive(Debug)]
pub struct Entity {
    /// The landing table.
    pub landing: Landing,
    /// The columns that identify an entity.
    pub key: Vec<usize>,
    /// The parent that the entity belongs to.
    pub parent: Option<Parent>,
    /// The column that decides whether a command still applies. Without it, the later command wins.
    pub version: Option<usize>,
}

/// An entity's parent.
#[derive(Debug)]
pub struct Parent {
    /// The parent's stream.
    pub stream: String,
    /// The column that holds the parent's key.
    pub column: usize,
}

/// A contract violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The JSON pointer of the wrong value.
    pub pointer: String,
    /// What is wrong, without the value itself.
    pub detail: String,
}

/// The maximum number of violations to list.
pub const VIOLATIONS_LISTED: usize = 100;

impl Contract {
    /// The stream of login attempts, which only Sluice itself writes.
    pub const LOGIN: &str = "login";

    /// Checks that an event conforms to the schema, and that PostgreSQL can store it.
    ///
    /// `raw` is the text that `event` was read from. `metadata` is the metadata of the event's record, if the event has
    /// a record yet. In modes with columns, the event's row is appended to `row`, as by [`Landing::encode`].
    ///
    /// # Errors
    /// The violations, up to [`VIOLATIONS_LISTED`]. The caller must then drop what was appended to `row`.
    pub fn check(
        &self,
        raw: &[u8],
        event: &Value,
        metadata: Option<&Metadata<'_>>,
        row: &mut Vec<u8>,
    ) -> Result<(), Vec<Violation>> {
        if !self.validator.is_valid(event) {
            let violations = self.validator.iter_errors(event).take(VIOLATIONS_LISTED);
            return Err(violations
                .map(|error| Violation {
                    pointer: error.instance_path().to_string(),
                    detail: violation::detail(&error),
                })
                .collect());
        }
        if let (Mode::Entity(_), Some(op)) = (&self.mode, event.get("op"))
            && !matches!(op.as_str(), Some("create" | "update" | "delete"))
        {
            let detail = "must be \"create\", \"update\" or \"delete\"".to_owned();
            return Err(vec![Violation { pointer: "/op".to_owned(), detail }]);
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
            Some(landing) => landing.encode(event, metadata, row).map_err(|violation| vec![violation]),
            None => Ok(()),
        }
    }

    /// Returns JSON pointers to the keywords of the contract that an event violates. The pointers follow references.
    pub fn violated_keywords(&self, event: &Value) -> BTreeSet<String> {
        self.validator.iter_errors(event).map(|error| error.schema_path().to_string()).collect()
    }

    /// Returns the landing table and its columns; `None` in mode `changes`.
    pub fn landing(&self) -> Option<&Landing> {
        match &self.mode {
            Mode::Append { landing, .. } | Mode::Upsert { landing, .. } => Some(landing),
            Mode::Entity(entity) => Some(&entity.landing),
            Mode::Changes(_) => None,
        }
    }

    /// Returns the columns that identify a row. Only modes in which a later event replaces or changes a row have them.
    pub fn row_key(&self) -> Option<&[usize]> {
        match &self.mode {
            Mode::Upsert { key, .. } => Some(key),
            Mode::Entity(entity) => Some(&entity.key),
            Mode::Append { .. } | Mode::Changes(_) => None,
        }
    }

    /// Returns the column that holds a row's version.
    pub fn version(&self) -> Option<usize> {
        match &self.mode {
            Mode::Upsert { version, .. } => *version,
            Mode::Entity(entity) => entity.version,
            Mode::Append { .. } | Mode::Changes(_) => None,
        }
    }

    /// Returns the write mode's name, as in the contract file.
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
    /// Appends the event's row: every column's value in PostgreSQL's binary form, preceded by its length.
    ///
    /// # Errors
    /// The first value that does not fit its column.
    pub fn encode(&self, event: &Value, metadata: Option<&Metadata<'_>>, row: &mut Vec<u8>) -> Result<(), Violation> {
        self.columns.iter().try_for_each(|column| column.encode(event, metadata, row))
    }

    /// Returns the encoded values of some columns, without a record's metadata. For the columns of a key, the bytes are
    /// equal only if the keys are.
    ///
    /// # Errors
    /// The first value that does not fit its column.
    pub fn encode_some(&self, columns: &[usize], event: &Value) -> Result<Vec<u8>, Violation> {
        let mut cells = Vec::new();
        columns.iter().try_for_each(|&column| self.columns[column].encode(event, None, &mut cells))?;
        Ok(cells)
    }

    /// Returns a value as a column holds it, encoded.
    ///
    /// # Errors
    /// The value does not fit the column.
    pub fn encode_value(&self, column: usize, value: &Value) -> Result<Vec<u8>, Violation> {
        let mut cell = Vec::new();
        let encoded = self.columns[column].encode_value(Some(value), &mut cell);
        encoded.map_err(|unfit| Violation { pointer: String::new(), detail: unfit.to_string() })?;
        Ok(cell)
    }

    fn column_from(&self, pointer: &Pointer) -> Option<usize> {
        self.columns.iter().position(|column| column.from.pointer() == Some(pointer))
    }
}

impl Column {
    fn encode(&self, event: &Value, metadata: Option<&Metadata<'_>>, row: &mut Vec<u8>) -> Result<(), Violation> {
        let (pointer, encoded) = match &self.from {
            Source::Event(pointer) => (pointer.as_str(), self.encode_value(pointer.get(event), row)),
            Source::Meta(meta) => ("", meta.encode(metadata, self.ty, row)),
        };
        encoded.map_err(|unfit| Violation { pointer: pointer.to_owned(), detail: unfit.to_string() })
    }

    /// Returns whether the column takes strings as numbers, because the schema allows only numbers in them.
    pub fn reads_strings_as_numbers(&self) -> bool {
        match self.strings {
            Strings::Numbers(_) => true,
            Strings::AsTyped => false,
        }
    }

    fn encode_value(&self, value: Option<&Value>, row: &mut Vec<u8>) -> Result<(), Unfit> {
        match (value, self.strings) {
            (Some(Value::String(text)), Strings::Numbers(form)) => self.ty.encode_number(text, form, row),
            (Some(Value::String(text)), Strings::AsTyped) if self.is_composed => match composed(text) {
                Cow::Borrowed(_) => self.ty.encode(value, row),
                Cow::Owned(text) => self.ty.encode(Some(&Value::String(text)), row),
            },
            (value, _) => self.ty.encode(value, row),
        }
    }
}

impl Table {
    /// Returns the table's name for SQL: quoted, and with its schema.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// Quotes an identifier for SQL.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Returns the pointer to a text that contains U+0000.
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
