//! Signals that end a run early.

use tokio_util::sync::CancellationToken;

/// Tokens that end a run early once they are cancelled.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// Stops sending. Events that were sent are still followed.
    pub(super) sending: CancellationToken,
    /// Stops following.
    pub(super) following: CancellationToken,
}
