//! How a run is ended early.

use tokio_util::sync::CancellationToken;

/// Ends a run early.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// Stops sending. Events that were sent are still followed.
    pub(super) sending: CancellationToken,
    /// Stops following.
    pub(super) following: CancellationToken,
}
