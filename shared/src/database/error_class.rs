//! Decides whose fault a database error is. Other files make exceptions only for single SQLSTATEs.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

/// Whose fault a database error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A value is not valid for its type or column. The row that contains the value is at fault. In a query, the
    /// parameter is at fault.
    Value,
    /// A constraint, a trigger, a view, a policy or a limit refuses the row.
    Row,
    /// The environment is not ready. The same statement can succeed later.
    Environment,
    /// Someone must act first: the schema, a grant, a login or a trigger's code is wrong.
    Operator,
}

/// Classifies an error of sqlx or PostgreSQL.
pub fn classify(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => classify_postgres(error),
            None => classify_sqlstate(error.code().as_deref().unwrap_or_default()),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        // The server answered BEGIN without starting a transaction. The state of this connection is unknown, but
        // another connection will work.
        | sqlx::Error::BeginFailed => ErrorClass::Environment,
        // Our code or its configuration is wrong. The wildcard is needed because the enum is non-exhaustive. An error
        // that a newer sqlx adds stops the batch, because treating it as the row's fault could lose data.
        sqlx::Error::Configuration(_)
        | sqlx::Error::InvalidArgument(_)
        | sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::AnyDriverError(_)
        | sqlx::Error::Migrate(_)
        | sqlx::Error::InvalidSavePointStatement
        | _ => ErrorClass::Operator,
    }
}

/// Returns whether an error means that the connection has ended. The same statement may then succeed on another
/// connection.
pub fn ended_connection(error: &sqlx::Error) -> bool {
    if let Some(error) = error.as_database_error() {
        let code = error.code().unwrap_or_default();
        // In the order of these codes: the connection failed, was idle in a transaction for too long, was ended by an
        // administrator, was ended by a crash, or was idle for too long.
        return code.starts_with("08") || ["25P03", "57P01", "57P02", "57P05"].contains(&&*code);
    }
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)
}

/// Classifies an error of PostgreSQL. For some SQLSTATEs, the code alone does not show who is at fault, but the name of
/// the server routine that reports the error does. Unlike messages, the names of routines do not depend on the server's
/// language.
fn classify_postgres(error: &PgDatabaseError) -> ErrorClass {
    match (classify_sqlstate(error.code()), is_raised(error)) {
        // A trigger that raises an error rejects the row, whatever code the trigger's author chose. Only a code that
        // asks for a retry keeps its meaning.
        (ErrorClass::Operator, true) => ErrorClass::Row,
        // When a row-level security policy refuses a row, PostgreSQL reports the code of a missing grant.
        (ErrorClass::Operator, false) if error.code() == "42501" && error.routine() == Some("ExecWithCheckOptions") => {
            ErrorClass::Row
        }
        (class, _) => class,
    }
}

/// Returns whether a `raise` statement of PL/pgSQL reported the error, as opposed to PostgreSQL itself.
pub fn is_raised(error: &PgDatabaseError) -> bool {
    error.routine() == Some("exec_stmt_raise")
}

/// Classifies an SQLSTATE by its class, which is its first two characters. If different parties are at fault for the
/// codes of a class, the whole code decides. The list names every class that PostgreSQL defines
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
pub fn classify_sqlstate(code: &str) -> ErrorClass {
    let Some(class) = code.get(..2) else {
        return ErrorClass::Operator;
    };
    match class {
        // Success, warning, no data, statement not complete: PostgreSQL itself raises no error with these codes, so a
        // trigger did.
        "00" | "01" | "02" | "03" => ErrorClass::Row,
        // Connection exception.
        "08" => ErrorClass::Environment,
        // Triggered action exception: the triggers of PostgreSQL's own module `spi` raise this when they refuse a row.
        "09" => ErrorClass::Row,
        // Feature not supported, invalid transaction initiation.
        "0A" | "0B" => ErrorClass::Operator,
        // Locator exception: the value names a large object that does not exist.
        "0F" => ErrorClass::Row,
        // Invalid grantor, invalid role specification, diagnostics exception (a bug in a trigger's error handler).
        "0L" | "0P" | "0Z" => ErrorClass::Operator,
        // XQuery error: a value contains an invalid regular expression or path.
        "10" => ErrorClass::Value,
        // Case not found (no branch of a trigger's CASE fits the row), cardinality violation.
        "20" | "21" => ErrorClass::Row,
        // Data exception.
        "22" => ErrorClass::Value,
        // Integrity constraint violation.
        "23" => ErrorClass::Row,
        // Invalid cursor state: a bug in a trigger.
        "24" => ErrorClass::Operator,
        // Invalid transaction state, such as a read-only transaction after a failover.
        "25" => ErrorClass::Environment,
        // Invalid SQL statement name: a connection pooler has lost a prepared statement.
        "26" => ErrorClass::Operator,
        // Triggered data change violation: a trigger changed a row that the same statement was about to change. The
        // rows may still land if each is written by a statement of its own.
        "27" => ErrorClass::Row,
        // Invalid authorization, dependent privileges, invalid transaction termination (a trigger that commits), SQL
        // routine exception (a trigger without RETURN), invalid cursor name.
        "28" | "2B" | "2D" | "2F" | "34" => ErrorClass::Operator,
        // External routine exception: triggers in Python, Perl or Tcl raise this when they refuse a row.
        "38" => ErrorClass::Row,
        // External routine invocation exception: a trigger breaks the trigger protocol.
        "39" => match code {
            "39004" => ErrorClass::Row, // A function was given a null that it does not accept.
            _ => ErrorClass::Operator,
        },
        // Savepoint exception, invalid catalog name, invalid schema name.
        "3B" | "3D" | "3F" => ErrorClass::Operator,
        // Transaction rollback: for example, a deadlock or a serialization failure.
        "40" => match code {
            "40002" => ErrorClass::Row, // A constraint refused the transaction when it ended.
            _ => ErrorClass::Environment,
        },
        // Syntax error or access rule violation: the table is not what the contract says, or a trigger has a bug.
        "42" => ErrorClass::Operator,
        // WITH CHECK OPTION violation.
        "44" => ErrorClass::Row,
        // Insufficient resources.
        "53" => ErrorClass::Environment,
        // Program limit exceeded: an index entry is too large, or a document is nested too deeply.
        "54" => ErrorClass::Row,
        // Object not in prerequisite state.
        "55" => match code {
            "55006" | "55P03" => ErrorClass::Environment, // An object is in use, or a lock is not available.
            _ => ErrorClass::Operator,                    // A table has no replica identity, or a view accepts no rows.
        },
        // Operator intervention, system error, snapshot failure.
        "57" | "58" | "72" => ErrorClass::Environment,
        // Configuration file error.
        "F0" => ErrorClass::Operator,
        // Foreign data wrapper error.
        "HV" => match code {
            "HV001" | "HV00N" | "HV014" => ErrorClass::Environment, // There is no memory, no connection or no handle.
            _ => ErrorClass::Operator,
        },
        // PL/pgSQL error: a trigger used `raise` without a code, or an `assert` or `strict` in a trigger failed.
        "P0" => ErrorClass::Row,
        // Internal error, corruption.
        "XX" => ErrorClass::Operator,
        // PostgreSQL defines no such class, so a trigger of the table raised the error on purpose.
        _ => ErrorClass::Row,
    }
}

/// Describes an error for logs, without values: PostgreSQL's message is left out if it may quote a value.
pub fn describe(error: &sqlx::Error) -> impl fmt::Display + '_ {
    Described(error)
}

struct Described<'e>(&'e sqlx::Error);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sqlx::Error::Database(error) = self.0 else {
            return self.0.fmt(f);
        };
        write!(f, "SQLSTATE {}", error.code().unwrap_or_default())?;
        let Some(error) = error.try_downcast_ref::<PgDatabaseError>() else {
            return Ok(());
        };
        let names = [
            ("schema", error.schema()),
            ("table", error.table()),
            ("column", error.column()),
            ("constraint", error.constraint()),
        ];
        let names: Vec<String> =
            names.into_iter().filter_map(|(kind, name)| Some(format!("{kind} {}", name?))).collect();
        if !names.is_empty() {
            write!(f, " ({})", names.join(", "))?;
        }
        match classify_postgres(error) {
            // A trigger's message may contain anything, even values.
            ErrorClass::Environment | ErrorClass::Operator if !is_raised(error) && !is_from_built_statement(error) => {
                write!(f, ": {}", error.message())
            }
            ErrorClass::Environment | ErrorClass::Operator | ErrorClass::Value | ErrorClass::Row => Ok(()),
        }
    }
}

/// Returns whether a function of a trigger may have built the failed statement at run time, for example by PL/pgSQL's
/// `execute`. The names in the message may then be an event's values.
pub fn is_from_built_statement(error: &PgDatabaseError) -> bool {
    error.r#where().is_some_and(|context| !is_written_out(context))
}

/// Returns the innermost PL/pgSQL function in which the error occurred, with the line, as PostgreSQL writes them:
/// `PL/pgSQL function f() line 3`.
pub fn function(error: &PgDatabaseError) -> Option<&str> {
    error.r#where().and_then(innermost).map(|frame| frame.function)
}

/// A function in an error's CONTEXT.
struct Frame<'c> {
    function: &'c str,
    /// The kind of statement at that line, in PL/pgSQL's words, such as `PERFORM`.
    statement: &'c str,
}

/// Returns the innermost PL/pgSQL function in a CONTEXT. Every line must be a PL/pgSQL function or the table of a COPY.
/// Only the first line may instead be an assignment that PostgreSQL quotes from the function's source. If there is any
/// other line, returns `None`: such a line may quote a statement or a value, and an event's value may contain lines
/// that look like functions.
fn innermost(context: &str) -> Option<Frame<'_>> {
    let is_source = |(index, line): &(usize, &str)| *index == 0 && line.starts_with("PL/pgSQL assignment \"");
    let lines = context.lines().enumerate().filter(|line| !is_source(line)).map(|(_, line)| line);
    let mut frames = lines.filter(|line| !is_table_of_copy(line)).map(|line| {
        let (function, statement) = line.rsplit_once(" at ")?;
        function.starts_with("PL/pgSQL function ").then_some(Frame { function, statement })
    });
    let innermost = frames.next()??;
    frames.all(|frame| frame.is_some()).then_some(innermost)
}

fn is_table_of_copy(line: &str) -> bool {
    line.starts_with("COPY ") && !line.contains('"')
}

/// Returns whether the failed statement's text is fixed, either in our own code or in a function of a trigger.
fn is_written_out(context: &str) -> bool {
    const WRITTEN_OUT: [&str; 5] = ["SQL statement", "PERFORM", "assignment", "IF", "RETURN"];
    context.lines().all(is_table_of_copy)
        || innermost(context).is_some_and(|frame| WRITTEN_OUT.contains(&frame.statement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_that_a_function_builds_at_run_time_may_contain_an_events_values() {
        for (context, expected) in [
            ("PL/pgSQL function public.f() line 1 at SQL statement", true),
            ("PL/pgSQL function f() line 2 at PERFORM\nPL/pgSQL function g() line 1 at EXECUTE\nCOPY t, line 1", true),
            ("COPY orders, line 1", true),
            ("PL/pgSQL assignment \"new.nowhere = 1\"\nPL/pgSQL function f() line 1 at assignment", true),
            ("COPY orders, line 1, column a: \"secret\"", false),
            ("PL/pgSQL function f() line 1 at EXECUTE", false),
            ("PL/pgSQL function f() line 1 at FOR over EXECUTE statement", false),
            ("PL/pgSQL function f() line 1 at RETURN QUERY", false),
            ("PL/Python function \"f\"", false),
        ] {
            assert_eq!(is_written_out(context), expected, "{context}");
        }
    }

    #[test]
    fn a_quoted_statement_or_value_cannot_pass_for_a_function() {
        let forged = "PL/pgSQL function secret line 1 at SQL statement";
        let function = "PL/pgSQL function public.f() line 3 at EXECUTE";
        for context in [
            format!("SQL statement \"insert into t values ('\n{forged}\n')\"\n{function}"),
            format!("COPY t, line 1, column a: \"\n{forged}"),
            format!("{function}\nSQL statement \"select '\n{forged}"),
        ] {
            assert!(innermost(&context).is_none(), "{context}");
            assert!(!is_written_out(&context), "{context}");
        }
        assert_eq!(innermost(function).map(|frame| frame.function), Some("PL/pgSQL function public.f() line 3"));
    }

    #[test]
    fn codes_of_every_class_that_postgresql_defines_are_classified_by_fault() {
        let expected = [
            (ErrorClass::Value, "10608 22P02 22001 22021"),
            (
                ErrorClass::Row,
                "00000 01000 02000 03000 09000 0F001 20000 21000 23502 23503 23505 23514 23P01 27000 38000 39004 40002 \
                 44000 54000 P0001 P0004",
            ),
            (ErrorClass::Environment, "08006 25006 40001 40P01 53100 53300 55006 55P03 57014 57P01 58030 72000 HV00N"),
            (
                ErrorClass::Operator,
                "0A000 0B000 0L000 0P000 0Z002 24000 26000 28P01 2B000 2D000 2F005 34000 39P01 3B001 3D000 3F000 42501 \
                 42703 42P01 55000 55P02 F0000 HV000 XX001",
            ),
        ];
        for (class, codes) in expected {
            for code in codes.split_whitespace() {
                assert_eq!(classify_sqlstate(code), class, "{code}");
            }
        }
    }

    #[test]
    fn an_error_of_a_class_that_postgresql_does_not_define_is_the_fault_of_the_row() {
        for code in ["45000", "99999", "AB123", "Z0001", "46000"] {
            assert_eq!(classify_sqlstate(code), ErrorClass::Row, "{code}");
        }
        assert_eq!(classify_sqlstate(""), ErrorClass::Operator);
    }

    #[test]
    fn a_transaction_that_did_not_begin_is_tried_again() {
        assert_eq!(classify(&sqlx::Error::BeginFailed), ErrorClass::Environment);
        assert_eq!(classify(&sqlx::Error::RowNotFound), ErrorClass::Operator);
    }
}
