//! Why a subcommand did not do what it was asked for.

use crate::client::ClientError;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeadLettersError {
    #[error("nothing was changed: there is no terminal to confirm on, so give --yes")]
    Unconfirmed,
    #[error("nothing was changed")]
    Declined,
    #[error("replays are neither written nor rejected after a minute: look at /health for partitions that stand still")]
    Undecided,
    #[error(transparent)]
    Client(#[from] ClientError),
}
