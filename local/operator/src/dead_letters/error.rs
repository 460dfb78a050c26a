//! The errors of the subcommands.

use crate::client::ClientError;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeadLettersError {
    #[error("nothing was changed: there is no terminal to confirm on, so give --yes")]
    Unconfirmed,
    #[error("nothing was changed")]
    Declined,
    #[error("no replay was written or rejected for a minute: /health lists the partitions that are stalled")]
    Undecided,
    #[error(transparent)]
    Client(#[from] ClientError),
}
