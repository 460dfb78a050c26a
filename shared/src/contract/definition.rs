//! The `x-sluice` block of a contract file, and the rules that the block must follow.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::bigquery::{BigQuery, BigQueryDefinition};
use super::column::ColumnType;
use super::column_definition::{ColumnDefinition, check_member};
use super::metadata::{Meta, Source};
use super::pointer::Pointer;
use super::reach::Strings;
use super::spelling::nearest;
use super::wrong::Wrong;
use super::{Changes, Column, Entity, Landing, Mode, Parent, Role, Table};

/// The `x-sluice` block as it is written in the contract file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    pub(super) topic: String,
    pub(super) partitions: u16,
    #[serde(default)]
    pub(super) key: Vec<Pointer>,
    mode: ModeName,
    table: Option<String>,
    #[serde(default)]
    columns: BTreeMap<String, ColumnDefinition>,
    dedupe: Option<Pointer>,
    version: Option<Value>,
    parent: Option<ParentDefinition>,
    schema: Option<String>,
    #[serde(default)]
    tables: Vec<String>,
    evolve: Option<bool>,
    bigquery: Option<BigQueryDefinition>,
    #[serde(default = "any_user")]
    pub(super) roles: Vec<Role>,
}

fn any_user() -> Vec<Role> {
    vec![Role::User]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Append,
    Upsert,
    Entity,
    Changes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParentDefinition {
    stream: String,
    from: Pointer,
}

impl Definition {
    /// Reads the `x-sluice` block of a contract file.
    pub(super) fn read(file: &Value) -> Result<Self, Wrong> {
        let block = file
            .get("x-sluice")
            .ok_or_else(|| Wrong { pointer: String::new(), reason: "the member x-sluice is missing".to_owned() })?;
        serde_path_to_error::deserialize(block).map_err(|error| {
            use serde_path_to_error::Segment;
            let tokens: Vec<String> = error
                .path()
                .iter()
                .filter_map(|segment| match segment {
                    Segment::Seq { index } => Some(index.to_string()),
                    Segment::Map { key } => Some(key.clone()),
                    Segment::Enum { variant } => Some(variant.clone()),
                    Segment::Unknown => None,
                })
                .collect();
            Wrong::at(&tokens.join("/"), in_plain_words(&error.inner().to_string()))
        })
    }

    /// Validates the block and returns the write mode with its settings.
    pub(super) fn mode(&self, schema: &Value) -> Result<Mode, Wrong> {
        self.check_topic()?;
        self.check_key(schema)?;
        match self.mode {
            ModeName::Append => {
                self.refuse(&[("parent", self.parent.is_some()), ("version", self.version.is_some())])?;
                self.refuse_changes_members()?;
                let landing = self.landing(schema)?;
                let dedupe = match &self.dedupe {
                    Some(id) => Some(landing.column_from(id).ok_or_else(|| no_column("dedupe", id))?),
                    None => None,
                };
                Ok(Mode::Append { landing, dedupe })
            }
            ModeName::Upsert => {
                self.refuse(&[("parent", self.parent.is_some()), ("dedupe", self.dedupe.is_some())])?;
                self.refuse_changes_members()?;
                let landing = self.landing(schema)?;
                let key = self.key_columns(&landing)?;
                let version = self.version_column(&landing, &key)?;
                Ok(Mode::Upsert { landing, key, version })
            }
            ModeName::Entity => {
                self.refuse(&[("dedupe", self.dedupe.is_some())])?;
                self.refuse_changes_members()?;
                let mut landing = self.landing(schema)?;
                let key = self.key_columns(&landing)?;
                let parent = match &self.parent {
                    Some(parent) => Some(Parent {
                        stream: parent.stream.clone(),
                        column: landing
                            .column_from(&parent.from)
                            .ok_or_else(|| no_column("parent/from", &parent.from))?,
                    }),
                    None => None,
                };
                key.iter().try_for_each(|&column| refuse_jsonb("key", &landing.columns[column]))?;
                if let Some(parent) = &parent {
                    refuse_numbers_as_text("parent/from", &landing.columns[parent.column])?;
                    refuse_jsonb("parent/from", &landing.columns[parent.column])?;
                }
                for &column in key.iter().chain(parent.iter().map(|parent| &parent.column)) {
                    landing.columns[column].is_composed = landing.columns[column].ty == ColumnType::Text;
                }
                let version = self.version_column(&landing, &key)?;
                Ok(Mode::Entity(Entity { landing, key, parent, version }))
            }
            ModeName::Changes => {
                self.refuse(&[
                    ("parent", self.parent.is_some()),
                    ("dedupe", self.dedupe.is_some()),
                    ("version", self.version.is_some()),
                    ("table", self.table.is_some()),
                    ("columns", !self.columns.is_empty()),
                ])?;
                let schema = self.schema.clone().filter(|schema| !schema.is_empty());
                let schema = schema
                    .ok_or_else(|| Wrong::at("schema", "mode `changes` needs the schema that it may write to"))?;
                if self.tables.is_empty() {
                    return Err(Wrong::at("tables", "mode `changes` needs the tables that it may write to, or \"*\""));
                }
                Ok(Mode::Changes(Changes {
                    schema,
                    tables: (!self.tables.iter().any(|table| table == "*"))
                        .then(|| self.tables.iter().cloned().collect()),
                    evolve: self.evolve.unwrap_or(false),
                }))
            }
        }
    }

    /// Validates the block's settings for BigQuery, if it has any.
    pub(super) fn bigquery(&self, schema: &Value, mode: &Mode) -> Result<Option<BigQuery>, Wrong> {
        let read = |definition: &BigQueryDefinition| definition.read(schema, mode, &self.key);
        self.bigquery.as_ref().map(read).transpose()
    }

    /// Checks the number of partitions, and checks the topic's name against Kafka's rules (`Topic.validate` in Kafka's
    /// source).
    fn check_topic(&self) -> Result<(), Wrong> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic.is_empty()
            || self.topic.len() > 249
            || matches!(self.topic.as_str(), "." | "..")
            || !self.topic.chars().all(legal)
        {
            return Err(Wrong::at("topic", "must be 1 to 249 characters from a-z, A-Z, 0-9, '.', '_' and '-'"));
        }
        if self.partitions == 0 {
            return Err(Wrong::at("partitions", "must be at least 1"));
        }
        Ok(())
    }

    fn check_key(&self, schema: &Value) -> Result<(), Wrong> {
        for (index, pointer) in self.key.iter().enumerate() {
            check_member(schema, pointer, &format!("key/{index}"))?;
        }
        Ok(())
    }

    fn refuse(&self, members: &[(&str, bool)]) -> Result<(), Wrong> {
        match members.iter().find(|(_, is_set)| *is_set) {
            Some((member, _)) => {
                Err(Wrong::at(member, format!("mode `{}` does not use this member", self.mode.name())))
            }
            None => Ok(()),
        }
    }

    fn refuse_changes_members(&self) -> Result<(), Wrong> {
        self.refuse(&[
            ("schema", self.schema.is_some()),
            ("tables", !self.tables.is_empty()),
            ("evolve", self.evolve.is_some()),
        ])
    }

    fn landing(&self, schema: &Value) -> Result<Landing, Wrong> {
        let table = self.table.as_deref().ok_or_else(|| Wrong::at("table", "the landing table is missing"))?;
        let table = match table.split_once('.') {
            Some((schema, name)) if !schema.is_empty() && !name.is_empty() => {
                Table { schema: schema.to_owned(), name: name.to_owned() }
            }
            _ => {
                return Err(Wrong::at("table", "must include the schema, as in public.orders"));
            }
        };
        if self.columns.is_empty() {
            return Err(Wrong::at("columns", "the landing table's columns are missing"));
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for (name, column) in &self.columns {
            columns.push(column.read("columns", name, schema)?);
        }
        Ok(Landing { table, columns })
    }

    /// Returns the column that holds the version. The contract's member `version` names the pointer or the metadata
    /// that fills the column.
    fn version_column(&self, landing: &Landing, key: &[usize]) -> Result<Option<usize>, Wrong> {
        let Some(version) = &self.version else { return Ok(None) };
        let wrong = |reason: &str| Wrong::at("version", reason);
        let source = match version {
            Value::String(pointer) => Source::Event(Pointer::try_from(pointer.clone()).map_err(|e| wrong(&e))?),
            Value::Object(members) if members.len() == 1 && members.contains_key("meta") => {
                let meta = Meta::deserialize(&members["meta"]).map_err(|error| wrong(&error.to_string()))?;
                if !meta.is_version() {
                    return Err(wrong("must be the metadata \"offset\" or \"timestamp\""));
                }
                Source::Meta(meta)
            }
            Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
                return Err(wrong(
                    "should be a JSON pointer into the event, or {\"meta\": \"offset\" or \"timestamp\"}",
                ));
            }
        };
        let column = landing.columns.iter().position(|column| column.from == source);
        let column = column.ok_or_else(|| wrong("must fill a column, so that versions can be compared"))?;
        if key.contains(&column) {
            return Err(wrong("must not be the key: events with the same key would all have the same version"));
        }
        if !landing.columns[column].ty.is_ordered() {
            return Err(wrong("must fill a column whose type has an order: a number, a date or a time"));
        }
        Ok(Some(column))
    }

    fn key_columns(&self, landing: &Landing) -> Result<Vec<usize>, Wrong> {
        if self.key.is_empty() {
            return Err(Wrong::at("key", format!("mode `{}` needs a key", self.mode.name())));
        }
        let column =
            |(index, pointer)| landing.column_from(pointer).ok_or_else(|| no_column(&format!("key/{index}"), pointer));
        let key = self.key.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
        key.iter().try_for_each(|&column| refuse_numbers_as_text("key", &landing.columns[column]))?;
        Ok(key)
    }
}

/// Rewords a message of `serde`: calls a sequence a list and, if a name is misspelt, suggests the right name.
fn in_plain_words(message: &str) -> String {
    if let Some((suggestion, (unknown, expected))) = suggestion(message).zip(message.split_once(", ")) {
        return format!("{unknown}: write `{suggestion}`; {expected}");
    }
    let message = match message.strip_suffix("expected a sequence") {
        Some(found) => format!("{found}expected a list"),
        None => message.to_owned(),
    };
    match message.strip_prefix("invalid type: sequence,") {
        Some(expected) => format!("invalid type: list,{expected}"),
        None => message,
    }
}

/// Returns the name that a misspelt one probably means, if the message is about an unknown name. The message encloses
/// the unknown name, and after it the known ones, in backticks.
fn suggestion(message: &str) -> Option<&str> {
    message.strip_prefix("unknown ")?;
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    nearest(unknown, names)
}

/// Rejects a column of the key or the parent if the column reads numbers from strings. Two texts of one number, such as
/// "7" and "007", would be two record keys, but events about the same row must have the same record key.
fn refuse_numbers_as_text(place: &str, column: &Column) -> Result<(), Wrong> {
    match column.strings {
        Strings::AsTyped => Ok(()),
        Strings::Numbers(_) => Err(Wrong::at(
            place,
            format!(
                "column {} must be filled with numbers instead of strings, or have the type text: \"7\" and \"007\" \
                 are different strings, but the column would store the same number for both",
                column.name
            ),
        )),
    }
}

/// Rejects an entity's key and parent in a column of type `jsonb`. Entities' keys are compared as text, and the number 7
/// and the string "7" have the same text.
fn refuse_jsonb(place: &str, column: &Column) -> Result<(), Wrong> {
    if column.ty != ColumnType::Jsonb {
        return Ok(());
    }
    Err(Wrong::at(place, format!("column {} must have another type than jsonb in mode `entity`", column.name)))
}

impl ModeName {
    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Upsert => "upsert",
            Self::Entity => "entity",
            Self::Changes => "changes",
        }
    }
}

fn no_column(member: &str, pointer: &Pointer) -> Wrong {
    Wrong::at(member, format!("no column is written from {:?}", pointer.as_str()))
}
