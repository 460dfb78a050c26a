//! Whose fault an error is decides what happens: the row's is dead-lettered, the world's is tried again, the
//! operator's stops loudly.

use shared::dead_letter::Rejection;

/// What happens after an error of PostgreSQL's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The row cannot be written: isolate it and dead-letter it.
    Reject(Rejection),
    /// The world is not ready: fail the invocation, the mapping delivers the batch again.
    Retry,
    /// The operator must act (a drifted schema, a missing grant): fail the invocation and say so.
    Stop,
}

/// Decides over SQLSTATE classes
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
pub(crate) fn of(error: &sqlx::Error) -> Fate {
    match error {
        sqlx::Error::Database(error) => of_sqlstate(error.code().as_deref().unwrap_or_default()),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Fate::Retry,
        // These say that the code or its configuration is wrong. A newer sqlx may add others, which are not to lose
        // anything either.
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
        | sqlx::Error::BeginFailed
        | _ => Fate::Stop,
    }
}

fn of_sqlstate(code: &str) -> Fate {
    let reject = |reason: &str| Fate::Reject(Rejection { code: code.to_owned(), reason: reason.to_owned() });
    match code.get(..2).unwrap_or_default() {
        // Two rows of one statement met in a key that only PostgreSQL knows to be equal: apart, they are fine.
        "21" => reject("the row meets another of its batch"),
        "22" => reject(match code {
            "22001" => "a text is longer than its column takes",
            "22003" => "a number is out of its column's range",
            "22007" | "22008" => "a date or time is not valid",
            "22021" => "a text holds a character that cannot be stored",
            "22P02" => "a value cannot be read as its column's type",
            _ => "a value does not fit its column",
        }),
        "23" => reject(match code {
            "23502" => "a column that must not be null is null",
            "23503" => "a row that it refers to is missing, or rows refer to it",
            "23505" => "already exists",
            "23514" => "a check of the table refuses the row",
            _ => "a constraint of the table refuses the row",
        }),
        // A view's check, a trigger's veto, a limit that a value exceeds (an index entry's size).
        "44" => reject("the view's check refuses the row"),
        "54" => reject("a value exceeds a limit of the database"),
        "P0" => reject("a trigger of the table refuses the row"),
        // Connection, transaction state (read-only after a failover), rollback, resources, locks, intervention, system.
        "08" | "25" | "40" | "53" | "55" | "57" | "58" => Fate::Retry,
        // 42 (schema, grants), 28 (login), 3D, 3F (no such database, schema), XX (corruption) and what nobody foresaw:
        // good data is never dead-lettered for it.
        _ => Fate::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rows_own_fault_makes_a_dead_letter() {
        for code in ["22P02", "22001", "23505", "23503", "21000", "54000", "P0001"] {
            assert!(matches!(of_sqlstate(code), Fate::Reject(rejection) if rejection.code == code), "{code}");
        }
        for code in ["08006", "25006", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "58030"] {
            assert_eq!(of_sqlstate(code), Fate::Retry, "{code}");
        }
        for code in ["42703", "42P01", "42501", "28P01", "3F000", "XX001", "0A000", ""] {
            assert_eq!(of_sqlstate(code), Fate::Stop, "{code}");
        }
    }
}
