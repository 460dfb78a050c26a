//! Which tables a stream in mode `changes` may write to.

use std::collections::BTreeSet;

/// The settings of mode `changes`.
#[derive(Debug)]
pub struct Changes {
    /// The only schema that may be written to. Changes that name no schema, or the schema `public`, are written to this
    /// schema, too.
    pub schema: String,
    /// The tables of the schema that may be written to. `None` means all of them.
    pub tables: Option<BTreeSet<String>>,
    /// Whether missing tables and columns are created.
    pub evolve: bool,
}

/// Why a change is rejected, whatever tables exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// No table can have this name.
    #[error(transparent)]
    Name(#[from] WrongTableName),
    /// The contract names another schema.
    #[error("the contract does not allow this schema")]
    Schema,
    /// The contract names other tables.
    #[error("the contract does not allow table {0:?}")]
    Table(String),
}

/// Why a text cannot be the name of a table or column. PostgreSQL would silently shorten a name that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongTableName {
    /// The name has no characters.
    #[error("the name of a table or column is empty")]
    Empty,
    /// The name is longer than PostgreSQL's NAMEDATALEN, minus the terminating byte.
    #[error("the name of a table or column is longer than 63 bytes")]
    TooLong,
    /// The name contains the one character that PostgreSQL cannot store.
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
    /// Checks that a change may write to a table. `schema` is the one that the change names, if it names one.
    ///
    /// # Errors
    /// The table's name is not valid, or the contract does not allow the table.
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
}
