//! What a change set gets wrong by itself: it cannot be written, whatever PostgreSQL would say.

use std::borrow::Cow;

use shared::dead_letter::Rejection;

/// A code and a reason. Reasons name tables and columns, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    code: &'static str,
    reason: Cow<'static, str>,
}

pub(super) const MALFORMED: Fault = constant("malformed", "not a change as wal2json writes it");
pub(super) const UNEQUAL_LENGTHS: Fault =
    constant("unequal_lengths", "the lists of names, types and values differ in length");
const INVALID_NAME: &str = "invalid_name";

const fn constant(code: &'static str, reason: &'static str) -> Fault {
    Fault { code, reason: Cow::Borrowed(reason) }
}

impl Fault {
    /// The rejection of the set whose change number `index`, from 0, has this fault.
    pub(super) fn in_change(self, index: usize) -> Rejection {
        Rejection { code: self.code.to_owned(), reason: format!("change {index}: {}", self.reason) }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code.to_owned(), reason: fault.reason.into_owned() }
    }
}

/// PostgreSQL's NAMEDATALEN, less the byte that ends a name.
const NAME_BYTES: usize = 63;

/// Checks that PostgreSQL would take a name as it is: it shortens longer ones silently.
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
    constant("schema_not_allowed", "the schema is not the one that the contract allows")
}

pub(super) fn table_not_allowed(table: &str) -> Fault {
    of("table_not_allowed", format!("the contract does not allow table {table:?}"))
}

pub(super) fn no_such_table(table: &str) -> Fault {
    of("no_such_table", format!("there is no table {table:?}, and the contract does not have it created"))
}

pub(super) fn not_a_table(table: &str) -> Fault {
    of("not_a_table", format!("{table:?} is there and is no ordinary table"))
}

pub(super) fn no_such_column(table: &str, column: &str) -> Fault {
    of("no_such_column", format!("table {table:?} has no column {column:?}, and it is not to be added"))
}

pub(super) fn not_writable(table: &str, column: &str) -> Fault {
    of("not_writable", format!("column {column:?} of table {table:?} is a system or generated column"))
}

pub(super) fn repeated_column(table: &str, column: &str) -> Fault {
    of("repeated_column", format!("column {column:?} of table {table:?} is named twice"))
}

pub(super) fn missing_type(table: &str, column: &str) -> Fault {
    of("missing_type", format!("column {column:?} of table {table:?} is not there yet, and its type is not given"))
}

pub(super) fn unknown_type(table: &str, column: &str) -> Fault {
    of("unknown_type", format!("the type given for column {column:?} of table {table:?} is not one that can be stored"))
}

pub(super) fn type_mismatch(table: &str, column: &str, is: &str) -> Fault {
    of("type_mismatch", format!("column {column:?} of table {table:?} is of type {is}, the type given is another"))
}

fn of(code: &'static str, reason: String) -> Fault {
    Fault { code, reason: Cow::Owned(reason) }
}
