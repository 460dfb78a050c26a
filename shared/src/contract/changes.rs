//! Which tables a stream in mode `changes` may write to.

use std::collections::BTreeSet;

use serde_json::Value;

/// The settings of mode `changes`.
#[derive(Debug)]
pub struct Changes {
    /// The only schema that the stream may write to. Changes that name the schema `public`, and changes that name no
    /// schema at all, are also written to this schema.
    pub schema: String,
    /// The tables of this schema that the stream may write to. `None` means all tables.
    pub tables: Option<BTreeSet<String>>,
    /// Whether missing tables and columns are created.
    pub evolve: bool,
}

/// Why a change is rejected. None of these reasons depends on which tables exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// No table or column can have this name.
    #[error(transparent)]
    Name(#[from] WrongTableName),
    /// The contract does not allow the change's schema.
    #[error("the contract does not allow this schema")]
    Schema,
    /// The contract does not allow the change's table.
    #[error("the contract does not allow table {0:?}")]
    Table(String),
}

/// Why a string cannot be the name of a table or column. PostgreSQL would silently shorten a name that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongTableName {
    /// The name is empty.
    #[error("the name of a table or column is empty")]
    Empty,
    /// The name is longer than 63 bytes, which is PostgreSQL's NAMEDATALEN minus the terminating byte.
    #[error("the name of a table or column is longer than 63 bytes")]
    TooLong,
    /// The name contains U+0000, the only character that PostgreSQL cannot store.
    #[error("the name of a table or column contains U+0000")]
    Nul,
}

impl WrongTableName {
    /// Checks that PostgreSQL would store a name unchanged.
    ///
    /// # Errors
    /// PostgreSQL would change or refuse the name.
    pub fn check(name: &str) -> Result<(), Self> {
        const MOST_BYTES: usize = 63;
        if name.is_empty() {
            Err(Self::Empty)
        } else if name.len() > MOST_BYTES {
            Err(Self::TooLong)
        } else if name.contains('\0') {
            Err(Self::Nul)
        } else {
            Ok(())
        }
    }
}

impl Changes {
    /// Checks that a change may write to a table. `schema` is the schema that the change names, if any.
    ///
    /// # Errors
    /// The table's name is not valid, or the contract does not allow the schema or the table.
    pub fn allow(&self, schema: Option<&str>, table: &str) -> Result<(), NotAllowed> {
        WrongTableName::check(table)?;
        if schema.is_some_and(|schema| schema != "public" && schema != self.schema) {
            Err(NotAllowed::Schema)
        } else if self.tables.as_ref().is_some_and(|tables| !tables.contains(table)) {
            Err(NotAllowed::Table(table.to_owned()))
        } else {
            Ok(())
        }
    }

    /// Returns why the contract does not allow `set`, which is a change set or a single change in the JSON of wal2json.
    /// Returns `None` if the contract allows all changes. Messages are always allowed, and so are the beginning and the
    /// end of a transaction, because none of these name a table.
    pub fn refusal(&self, set: &Value) -> Option<NotAllowed> {
        let changes = set.get("change").and_then(Value::as_array).map_or(std::slice::from_ref(set), Vec::as_slice);
        changes.iter().find_map(|change| {
            let schema = change.get("schema").and_then(Value::as_str);
            self.allow(schema, change.get("table")?.as_str()?).err()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_set_is_refused_because_of_its_first_change_that_is_not_allowed() {
        let changes = Changes { schema: "landing".to_owned(), tables: Some(["a".to_owned()].into()), evolve: false };
        for (set, expected) in [
            (json!({"action": "I", "table": "a"}), None),
            (json!({"action": "B"}), None),
            (json!({"action": "D", "table": "b"}), Some(NotAllowed::Table("b".to_owned()))),
            (json!({"action": "T", "schema": "sluice", "table": "a"}), Some(NotAllowed::Schema)),
            (json!({"change": [{"kind": "message"}, {"kind": "insert", "schema": "public", "table": "a"}]}), None),
            (
                json!({"change": [{"kind": "insert", "table": "a"}, {"kind": "insert", "table": "c"}]}),
                Some(NotAllowed::Table("c".to_owned())),
            ),
        ] {
            assert_eq!(changes.refusal(&set), expected, "{set}");
        }
    }
}
