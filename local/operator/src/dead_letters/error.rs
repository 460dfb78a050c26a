//! The errors of the subcommands.

use crate::client::ClientError;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeadLettersError {
    #[error("nothing was changed: there is no terminal to confirm on, so give --yes")]
    Unconfirmed,
    #[error("nothing was changed")]
    Declined,
    #[error("for a minute, no replay has landed or been rejected: see /health for stalled partitions")]
    Undecided,
    #[error(transparent)]
    Client(#[from] ClientError),
}
