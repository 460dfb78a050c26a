//! Faults of a change set itself, found without asking PostgreSQL to write it.

use std::borrow::Cow;

use shared::ledger::Rejection;

use super::number::NotAnInteger;

/// Why the sets could not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// PostgreSQL reports an error.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A value does not fit its column. Its type reports that by a SQLSTATE outside class 22, but it is the set's fault
    /// all the same.
    #[error("a value does not fit its column: {0}")]
    Value(#[source] sqlx::Error),
    /// A set cannot be written to the table as it is: the set is rejected.
    #[error("{}", .0.reason)]
    Refused(Rejection),
}

/// A fault's code and reason. Reasons name tables and columns, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    code: &'static str,
    reason: Cow<'static, str>,
}

pub(super) const MALFORMED: Fault = constant("malformed", "this is not a change as wal2json writes it");
pub(super) const UNEQUAL_LENGTHS: Fault =
    constant("unequal_lengths", "the lists of names, types and values differ in length");
const INVALID_NAME: &str = "invalid_name";

const fn constant(code: &'static str, reason: &'static str) -> Fault {
    Fault { code, reason: Cow::Borrowed(reason) }
}

impl Fault {
    /// Returns the rejection of the set that has this fault in its change `index`, counted from 0.
    pub(super) fn in_change(self, index: usize) -> Rejection {
        Rejection::new(self.code, format!("change {index}: {}", self.reason))
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code, fault.reason)
    }
}

/// PostgreSQL's NAMEDATALEN, less the terminating byte.
const NAME_BYTES: usize = 63;

/// Checks that PostgreSQL would keep a name as it is: it silently shortens a longer one.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        Err(constant(INVALID_NAME, "the name of a table or column is empty"))
    } else if name.len() > NAME_BYTES {
        Err(constant(INVALID_NAME, "the name of a table or column is longer than 63 bytes"))
    } else if name.contains('\0') {
        Err(constant(INVALID_NAME, "the name of a table or column contains U+0000"))
    } else {
        Ok(())
    }
}

pub(super) fn schema_not_allowed() -> Fault {
    constant("schema_not_allowed", "the contract does not allow this schema")
}

pub(super) fn table_not_allowed(table: &str) -> Fault {
    fault("table_not_allowed", format!("the contract does not allow table {table:?}"))
}

pub(super) fn no_such_table(table: &str) -> Fault {
    fault("no_such_table", format!("table {table:?} does not exist, and the contract does not say to create it"))
}

pub(super) fn not_a_table(table: &str) -> Fault {
    fault("not_a_table", format!("{table:?} exists, but is not a table"))
}

pub(super) fn no_such_column(table: &str, column: &str) -> Fault {
    fault("no_such_column", format!("table {table:?} has no column {column:?}, and none may be added"))
}

pub(super) fn not_writable(table: &str, column: &str) -> Fault {
    fault("not_writable", format!("column {column:?} of table {table:?} is a system column"))
}

pub(super) fn repeated_column(table: &str, column: &str) -> Fault {
    fault("repeated_column", format!("column {column:?} of table {table:?} is named twice"))
}

pub(super) fn missing_type(table: &str, column: &str) -> Fault {
    fault(
        "missing_type",
        format!("column {column:?} of table {table:?} does not exist yet, and the change gives no type for it"),
    )
}

pub(super) fn unknown_type(table: &str, column: &str) -> Fault {
    fault(
        "unknown_type",
        format!("the type given for column {column:?} of table {table:?} does not exist, or no column can have it"),
    )
}

pub(super) fn type_mismatch(table: &str, column: &str, is: &str) -> Fault {
    fault(
        "type_mismatch",
        format!("column {column:?} of table {table:?} has type {is}, but the change gives another type"),
    )
}

pub(super) fn not_an_integer(table: &str, column: &str, is: &str, why: NotAnInteger) -> Fault {
    let (code, why) = match why {
        NotAnInteger::Fraction => ("22P02", "is not a whole number"),
        NotAnInteger::OutOfRange => ("22003", "is out of range"),
    };
    fault(code, format!("the value of column {column:?} of table {table:?} {why}; the column's type is {is}"))
}

pub(super) fn no_replica_identity(table: &str) -> Fault {
    fault(
        "no_replica_identity",
        format!(
            "table {table:?} is in a publication that cannot identify its rows, so PostgreSQL refuses to update or \
             delete them; set a replica identity that fits the publication, or take the table out of it"
        ),
    )
}

pub(super) fn identity_changes(table: &str) -> Fault {
    fault(
        "not_writable",
        format!(
            "the change gives an identity column of table {table:?} another value, which PostgreSQL refuses; make \
             the column `generated by default as identity`"
        ),
    )
}

fn fault(code: &'static str, reason: String) -> Fault {
    Fault { code, reason: Cow::Owned(reason) }
}
