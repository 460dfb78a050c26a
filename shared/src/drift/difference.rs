//! How a table differs from its contract.

use std::fmt;

/// A difference between a table and its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The stream.
    pub stream: String,
    /// The stream's table, as `schema.name`. A contract of mode `changes` may need no particular table. For such a
    /// contract, this is the schema's name alone.
    pub table: String,
    /// The column, if one column differs.
    pub column: Option<String>,
    /// What the contract needs.
    pub expected: String,
    /// What the database has.
    pub found: String,
    /// Whether the difference prevents every event of the stream from landing, and not only some events or batches.
    pub keeps_all_out: bool,
}

impl Difference {
    /// Returns the difference, and what it means for the stream's events, in one line.
    pub fn with_effect(&self) -> String {
        let effect = match self.keeps_all_out {
            true => "no event of the stream can land until both agree",
            false => "some events or batches cannot land until both agree",
        };
        format!("{self}; {effect}")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, table, column, expected, found, keeps_all_out: _ } = self;
        write!(f, "stream {stream}: table {table}")?;
        if let Some(column) = column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": expected {expected}, found {found}")
    }
}
