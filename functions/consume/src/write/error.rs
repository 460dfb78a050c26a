//! Why records could not be written.

use shared::database::error_class::{describe, ended_connection};
use shared::drift::Difference;
use shared::ledger::Rejection;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use xxhash_rust::xxh3::xxh3_64;

use super::changes::Failure;
use crate::verdict::{Verdict, rejection};

/// Why a slice could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// PostgreSQL reported an error.
    #[error("{}", describe(.0))]
    Sql(#[from] sqlx::Error),
    /// PostgreSQL rejected a value, with an SQLSTATE that it also uses for other faults.
    #[error("{}", describe(.0))]
    Value(sqlx::Error),
    /// A record cannot be written while the table is in its present state.
    #[error("{}", .0.reason)]
    Refused(Rejection),
    /// COMMIT failed: a deferred constraint is violated, or the connection ended.
    #[error("{}", describe(.0))]
    Commit(sqlx::Error),
    /// The table differs from its contract.
    #[error("{0}")]
    Drift(Box<Difference>),
}

impl WriteError {
    /// Decides whose fault the error is.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Sql(error) | Self::Commit(error) => Verdict::for_error(error),
            Self::Value(error) => Verdict::Reject(Rejection {
                reason: "a value cannot be read as its column's type".to_owned(),
                ..rejection(error)
            }),
            Self::Refused(rejection) => Verdict::Reject(rejection.clone()),
            Self::Drift(_) => Verdict::Stop,
        }
    }

    /// Whether the connection to the database has ended.
    pub(crate) fn ended_connection(&self) -> bool {
        match self {
            Self::Sql(error) | Self::Value(error) | Self::Commit(error) => ended_connection(error),
            Self::Refused(_) | Self::Drift(_) => false,
        }
    }

    /// Whether isolating the fault requires checking deferred constraints within the transaction.
    pub(crate) fn needs_checks(&self) -> bool {
        match self {
            Self::Commit(_) => matches!(self.verdict(), Verdict::Reject(_)),
            Self::Sql(_) | Self::Value(_) | Self::Refused(_) | Self::Drift(_) => self.has_pending_checks(),
        }
    }

    /// Whether PostgreSQL refuses to truncate or alter a table because deferred checks of its rows are pending
    /// (SQLSTATE 55006, `object_in_use`).
    pub(super) fn has_pending_checks(&self) -> bool {
        self.sqlstate() == "55006"
    }

    pub(super) fn sqlstate(&self) -> String {
        self.database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
    }

    /// Whether the other records can land if the records that cause the error are left out.
    pub(crate) fn is_isolable(&self) -> bool {
        matches!(self.verdict(), Verdict::Reject(_)) || self.has_pending_checks()
    }

    pub(crate) fn signature(&self) -> Signature {
        let named = match self.database_error() {
            Some(error) => {
                let detail = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail);
                format!("{}\n{}", error.message(), detail.unwrap_or_default())
            }
            None => self.to_string(),
        };
        Signature(xxh3_64(named.as_bytes()))
    }

    fn database_error(&self) -> Option<&dyn DatabaseError> {
        match self {
            Self::Sql(error) | Self::Value(error) | Self::Commit(error) => error.as_database_error(),
            Self::Refused(_) | Self::Drift(_) => None,
        }
    }
}

impl From<Failure> for WriteError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => Self::Sql(error),
            Failure::Value(error) => Self::Value(error),
            Failure::Refused(rejection) => Self::Refused(rejection),
        }
    }
}

/// Identifies the constraint and the key that PostgreSQL names in an error. It is a hash, so it reveals no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Signature(u64);
