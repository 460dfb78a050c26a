//! Decides what happens after a database error: a row at fault becomes a dead letter, an environment fault leads to a
//! retry, and an operator fault makes invocations fail until someone repairs the cause.

use shared::database::error_class::{ErrorClass, classify, is_raised};
use shared::ledger::Rejection;
use sqlx::postgres::PgDatabaseError;

/// What happens after a database error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The row cannot be written: isolate it and dead-letter it.
    Reject(Rejection),
    /// The environment is not ready: fail the invocation, so that the mapping delivers the batch again.
    Retry,
    /// The operator must act (a drifted schema, a missing grant): fail the invocation and say so.
    Stop,
}

impl Verdict {
    /// Decides what happens after a database error.
    pub(crate) fn for_error(error: &sqlx::Error) -> Self {
        match classify(error) {
            ErrorClass::Value | ErrorClass::Row => Self::Reject(rejection(error)),
            ErrorClass::Environment => Self::Retry,
            ErrorClass::Operator => Self::Stop,
        }
    }
}

/// The rejection of the row that caused a database error.
///
/// The rejection repeats the constraint, table and column that PostgreSQL names, but not the message or the detail,
/// because both may quote the row. A trigger's message is left out, too, because Sluice cannot know whether it contains
/// values.
pub(crate) fn rejection(error: &sqlx::Error) -> Rejection {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
        return Rejection::new(code, "the database refuses the row");
    };
    Rejection {
        constraint: error.constraint().map(Into::into),
        table: error.table().map(Into::into),
        column: error.column().map(Into::into),
        ..Rejection::new(code, reason(error))
    }
}

/// The names that PostgreSQL reports with an error, formatted for a sentence.
struct Names<'e> {
    constraint: Option<&'e str>,
    column: Option<&'e str>,
    /// The domain's name, with its schema.
    domain: Option<String>,
    /// ` of table public.orders`, or nothing.
    of_table: String,
}

impl<'e> Names<'e> {
    fn reported(error: &'e PgDatabaseError) -> Self {
        let qualified = |name: &str| match error.schema() {
            Some(schema) => format!("{schema}.{name}"),
            None => name.to_owned(),
        };
        Self {
            constraint: error.constraint(),
            column: error.column(),
            domain: error.data_type().map(qualified),
            of_table: error.table().map(|table| format!(" of table {}", qualified(table))).unwrap_or_default(),
        }
    }
}

/// Says in a sentence which rule of the database the row breaks.
fn reason(error: &PgDatabaseError) -> String {
    let names = Names::reported(error);
    let code = error.code();
    if is_raised(error) {
        return trigger_reason(error, &names);
    }
    let of_table = &names.of_table;
    match code.get(..2).unwrap_or_default() {
        "21" => format!("a subquery in a trigger or rule{of_table} returned more than one row"),
        "10" | "22" => value_reason(error, &names),
        "23" => constraint_reason(error, &names),
        "27" => format!("a trigger{of_table} changed the row while it was being written"),
        // Among the errors of class 42, only a violated row-level security policy is the row's fault.
        "42" => format!("a row-level security policy{of_table} rejects the row"),
        "44" => "the view's check option rejects the row".to_owned(),
        "54" => match (code, names.constraint) {
            ("54001", _) => "the event is nested too deeply for the database".to_owned(),
            (_, Some(index)) => format!("a value is too large for index {index}{of_table}"),
            (_, None) => "a value exceeds a limit of the database, such as the size of an index entry".to_owned(),
        },
        _ => trigger_reason(error, &names),
    }
}

fn value_reason(error: &PgDatabaseError, names: &Names<'_>) -> String {
    if let Some((precision, scale)) = error.detail().and_then(numeric_limits) {
        return format!("a number is too large for a column of type numeric({precision},{scale})");
    }
    let wrong = match error.code() {
        "22001" => "a text is longer than its column allows",
        "22003" => "a number is out of its column's range",
        "22004" => "a value that must not be null is null",
        "22007" | "22008" => "a date or time is not valid",
        "22021" => "a text holds a character that the database cannot store",
        "22P02" => "a value cannot be read as its column's type",
        _ => "a value does not fit its column",
    };
    match names.column {
        Some(column) => format!("{wrong}: column {column}{}", names.of_table),
        None => wrong.to_owned(),
    }
}

/// Reads the precision and the scale of the column from the error's DETAIL field, which names neither the column nor
/// the value: `A field with precision 12, scale 4 must round to an absolute value less than 10^8.`
fn numeric_limits(detail: &str) -> Option<(u16, i16)> {
    let (precision, rest) = detail.strip_prefix("A field with precision ")?.split_once(", scale ")?;
    Some((precision.parse().ok()?, rest.split(' ').next()?.parse().ok()?))
}

fn constraint_reason(error: &PgDatabaseError, names: &Names<'_>) -> String {
    let Names { constraint, column, domain, of_table } = names;
    match (error.code(), constraint, column) {
        ("23502", _, Some(column)) => format!("column {column}{of_table} must not be null"),
        ("23502", _, None) => match domain {
            Some(domain) => format!("a value of domain {domain} must not be null"),
            None => format!("a column{of_table} must not be null"),
        },
        ("23503", Some(constraint), _) => match reference(error) {
            Reference::ToMissingRow => {
                format!("foreign key {constraint}{of_table} rejects the row: it refers to a row that does not exist")
            }
            Reference::FromOtherRows => {
                format!("foreign key {constraint}{of_table} rejects the change: other rows still refer to the row")
            }
            Reference::Unknown => format!(
                "foreign key {constraint}{of_table} rejects the change: \
                 the row refers to a row that does not exist, or other rows still refer to the row"
            ),
        },
        ("23001", Some(constraint), _) => {
            format!("foreign key {constraint}{of_table} rejects the change: other rows still refer to the row")
        }
        ("23505", Some(constraint), _) => {
            format!("unique constraint {constraint}{of_table} rejects the row: a row with the same key already exists")
        }
        ("23P01", Some(constraint), _) => format!(
            "exclusion constraint {constraint}{of_table} rejects the row: it conflicts with a row that already exists"
        ),
        ("23514", Some(constraint), _) => match domain {
            Some(domain) => format!("check {constraint} of domain {domain} rejects a value of the row"),
            None => format!("check {constraint}{of_table} rejects the row"),
        },
        // An error with a table but without a constraint is about partitions. Either the table has no partition for the
        // row, or the table is itself a partition, and its bounds exclude the row.
        ("23514", None, _) if !of_table.is_empty() => format!("no partition{of_table} accepts the row"),
        (_, Some(constraint), _) => format!("constraint {constraint}{of_table} rejects the row"),
        (_, None, _) => format!("a constraint{of_table} rejects the row"),
    }
}

/// The two ways to break a foreign key.
enum Reference {
    ToMissingRow,
    FromOtherRows,
    /// The way is not known, because PostgreSQL's messages are not in English.
    Unknown,
}

/// Finds out in which way a foreign key was broken. PostgreSQL reports the referring table in both cases, so only the
/// message tells the two cases apart.
fn reference(error: &PgDatabaseError) -> Reference {
    if error.message().starts_with("insert or update on table") {
        Reference::ToMissingRow
    } else if error.message().starts_with("update or delete on table") {
        Reference::FromOtherRows
    } else {
        Reference::Unknown
    }
}

fn trigger_reason(error: &PgDatabaseError, names: &Names<'_>) -> String {
    let Names { constraint, column, domain: _, of_table } = names;
    let trigger = match trigger_function(error) {
        Some(function) => format!("trigger function {function}"),
        None => "a trigger".to_owned(),
    };
    match (constraint, column) {
        (Some(constraint), _) => format!("{trigger} rejects the row: constraint {constraint}{of_table}"),
        (None, Some(column)) => format!("{trigger} rejects the row: column {column}{of_table}"),
        (None, None) => format!("{trigger} rejects the row"),
    }
}

/// Returns the trigger function that reported the error, such as `refuse()`. PostgreSQL has no field for the function,
/// but the first line of the error's context names it and contains no values. Returns `None` if the server's language
/// is not English.
fn trigger_function(error: &PgDatabaseError) -> Option<&str> {
    let first = error.r#where()?.lines().next()?;
    let function = first.strip_prefix("PL/pgSQL function ").or_else(|| first.strip_prefix("SQL function "))?;
    let end = function.find(')')? + 1;
    function.get(..end)
}
