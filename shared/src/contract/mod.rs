//! Contracts: one JSON Schema (2020-12) file per stream. The file's `x-sluice` block names the Kafka topic of the
//! stream's events, and says how the events land, that is, which tables and columns they are written to. Everything
//! else is derived from the file: the events that `ingest` accepts, the rows that `consume` writes, the OpenAPI
//! document, and the events that the crate `random-events` generates.

mod bigquery;
pub mod canonical;
mod changes;
pub mod column;
mod column_definition;
mod comparable;
mod composed;
mod decimal;
mod decode;
mod definition;
pub mod json;
pub mod keyword;
mod landing;
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
mod spelling;
mod uncompilable;
mod unmeetable;
mod validator;
mod violation;
mod wrong;

pub use bigquery::{BigQuery, BigQueryColumn, BigQueryTable, BigQueryType, ProtoType, Target};
pub use changes::{Changes, NotAllowed, WrongTableName};
pub use column::ColumnType;
pub use composed::composed;
pub use decimal::Decimal;
pub use json::NotJson;
pub use landing::{Column, Landing, Table, quoted};
pub use metadata::{Meta, Metadata, Source, Unsent, trace_id};
pub use pointer::Pointer;
pub use registry::{ContractError, Registry};
pub use role::Role;
pub use validator::Part;
pub use violation::Violation;

use std::collections::BTreeSet;

use jsonschema::Validator;
use memchr::memmem;
use serde_json::Value;

/// A stream's contract, compiled.
#[derive(Debug)]
pub struct Contract {
    /// The stream's name, which is the file's name without `.json`.
    pub stream: String,
    /// The Kafka topic of the stream's events.
    pub topic: String,
    /// The number of partitions that the topic is created with.
    pub partitions: i32,
    /// Pointers to the values that decide an event's partition. Without pointers, an event may go to any partition.
    pub key: Vec<Pointer>,
    /// The roles that may post the stream's events. If the list is empty, only service keys may post them. The stream
    /// [`Self::LOGIN`] is an exception: if its list is empty, no caller may post to it.
    pub roles: Vec<Role>,
    /// How the stream's events land.
    pub mode: Mode,
    /// Where in BigQuery the events land, in addition to PostgreSQL. `None` if they land only in PostgreSQL.
    pub bigquery: Option<BigQuery>,
    /// The whole contract file.
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
        /// The column that holds the event's own id. An event whose id already exists in the table is not written.
        dedupe: Option<usize>,
    },
    /// A row per key. A later event with the same key replaces the row.
    Upsert {
        /// The landing table.
        landing: Landing,
        /// The columns that make up the key.
        key: Vec<usize>,
        /// The column that holds the version. An event leaves the row unchanged if the row's version is higher than the
        /// event's version. Without a version column, the later event wins.
        version: Option<usize>,
    },
    /// Commands that create, update and delete rows.
    Entity(Entity),
    /// Changes to tables of other databases.
    Changes(Changes),
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
    /// The column that holds the version. A command changes nothing if the entity's version is higher than the
    /// command's version. Without a version column, the later command wins.
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

/// The maximum number of violations to list.
pub const VIOLATIONS_LISTED: usize = 100;

impl Contract {
    /// The stream of login attempts. Only Sluice itself writes to it.
    pub const LOGIN: &str = "login";

    /// Checks that an event conforms to the schema, and that PostgreSQL can store it.
    ///
    /// `raw` is the text that `event` was parsed from. `metadata` comes from the event's Kafka record, and is `None` if
    /// the event has no record yet. Except in mode `changes`, [`Landing::encode`] appends the event's row to `row`.
    ///
    /// # Errors
    /// Up to [`VIOLATIONS_LISTED`] violations. The caller must then discard the bytes that were appended to `row`.
    pub fn check(
        &self,
        raw: &[u8],
        event: &Value,
        metadata: Option<&Metadata<'_>>,
        row: &mut Vec<u8>,
    ) -> Result<(), Vec<Violation>> {
        self.check_schema(raw, event)?;
        match self.landing() {
            Some(landing) => landing.encode(event, metadata, row).map_err(|violation| vec![violation]),
            None => Ok(()),
        }
    }

    /// Checks that an event conforms to the schema, and that BigQuery can store it.
    ///
    /// `raw` is the text that `event` was parsed from. If the events land in a single BigQuery table, the event's row
    /// is appended to `row` as a protocol buffer.
    ///
    /// # Errors
    /// Up to [`VIOLATIONS_LISTED`] violations. The caller must then discard the bytes that were appended to `row`.
    pub fn check_for_bigquery(
        &self,
        raw: &[u8],
        event: &Value,
        metadata: &Metadata<'_>,
        row: &mut Vec<u8>,
    ) -> Result<(), Vec<Violation>> {
        self.check_schema(raw, event)?;
        match self.bigquery.as_ref().map(|bigquery| &bigquery.target) {
            Some(Target::Table { columns, .. }) => {
                let encoded = BigQueryColumn::encode_row(columns, event, Some(metadata), row);
                encoded.map_err(|violation| vec![violation])
            }
            Some(Target::Dataset { .. }) | None => Ok(()),
        }
    }

    fn check_schema(&self, raw: &[u8], event: &Value) -> Result<(), Vec<Violation>> {
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
        if let Some(pointer) = self.never_null().iter().find(|pointer| pointer.get(event).is_none_or(Value::is_null)) {
            let detail = "must not be null, because it is the key".to_owned();
            return Err(vec![Violation { pointer: pointer.as_str().to_owned(), detail }]);
        }
        if memmem::find(raw, b"\\u0000").is_some()
            && let Some(pointer) = nul(event)
        {
            return Err(vec![Violation {
                pointer,
                detail: "text must not contain U+0000, which PostgreSQL cannot store".to_owned(),
            }]);
        }
        Ok(())
    }

    /// Returns the pointers whose values must not be missing or null, whatever the schema says.
    fn never_null(&self) -> &[Pointer] {
        match &self.mode {
            // PostgreSQL considers nulls distinct, so each event without a key would add a row.
            Mode::Upsert { .. } => &self.key,
            Mode::Append { .. } | Mode::Entity(_) | Mode::Changes(_) => &[],
        }
    }

    /// Returns whether an event is refused if its value at `pointer` is missing or null, whatever the schema says.
    pub(crate) fn refuses_null(&self, pointer: &Pointer) -> bool {
        self.never_null().iter().any(|never_null| never_null.is_within(pointer))
    }

    /// Returns JSON pointers to the keywords of the contract that an event violates. A pointer gives the keyword's own
    /// place in the contract, even if a `$ref` led to the keyword.
    pub fn violated_keywords(&self, event: &Value) -> BTreeSet<String> {
        self.validator.iter_errors(event).map(|error| error.schema_path().to_string()).collect()
    }

    /// Returns the landing table and its columns, or `None` in mode `changes`.
    pub fn landing(&self) -> Option<&Landing> {
        match &self.mode {
            Mode::Append { landing, .. } | Mode::Upsert { landing, .. } => Some(landing),
            Mode::Entity(entity) => Some(&entity.landing),
            Mode::Changes(_) => None,
        }
    }

    /// Returns the columns that identify a row, or `None` in modes `append` and `changes`.
    pub fn row_key(&self) -> Option<&[usize]> {
        match &self.mode {
            Mode::Upsert { key, .. } => Some(key),
            Mode::Entity(entity) => Some(&entity.key),
            Mode::Append { .. } | Mode::Changes(_) => None,
        }
    }

    /// Returns the column that holds a row's version, if the contract names one.
    pub fn version(&self) -> Option<usize> {
        match &self.mode {
            Mode::Upsert { version, .. } => *version,
            Mode::Entity(entity) => entity.version,
            Mode::Append { .. } | Mode::Changes(_) => None,
        }
    }

    /// Returns the name that the write mode has in contract files.
    pub fn mode_name(&self) -> &'static str {
        match &self.mode {
            Mode::Append { .. } => "append",
            Mode::Upsert { .. } => "upsert",
            Mode::Entity(_) => "entity",
            Mode::Changes(_) => "changes",
        }
    }
}

/// Returns a pointer to a string that contains U+0000, or to an object with such a string as a member's name.
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
