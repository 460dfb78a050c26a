//! The state that the handlers and the schedule share.

use std::sync::Arc;

use ingest::Ingest;
use shared::kafka::reader::KafkaReader;
use tokio::sync::Notify;

/// The function's state.
pub struct Console {
    /// The connections. Replays are also sent through them.
    pub(crate) ingest: Arc<Ingest>,
    /// The reader that looks up the end offsets of partitions.
    pub(crate) ends: KafkaReader,
    /// Wakes the task that advances runs. `None` if there is no such task.
    waker: Option<Notify>,
}

impl Console {
    /// Creates the state for Lambda. The state uses the connections of `ingest`. The schedule advances the runs of
    /// replays, and so does each request that looks up a run.
    pub fn new(ingest: Arc<Ingest>) -> Self {
        Self::with_waker(ingest, None)
    }

    /// Creates the state for a process that is never frozen. A background task of the process advances the runs of
    /// replays with [`advance_forever`](crate::advance_forever).
    pub fn in_background(ingest: Arc<Ingest>) -> Self {
        Self::with_waker(ingest, Some(Notify::new()))
    }

    fn with_waker(ingest: Arc<Ingest>, waker: Option<Notify>) -> Self {
        let ends = ingest.reader.for_ends();
        Self { ingest, ends, waker }
    }

    /// Returns whether a request that looks up a run advances it first.
    pub(crate) fn advances_with_requests(&self) -> bool {
        self.waker.is_none()
    }

    /// Wakes the task that advances runs, if there is one.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.notify_one();
        }
    }

    /// Waits until [`Self::wake`] is called. Never returns if there is no task that advances runs.
    pub(crate) async fn woken(&self) {
        match &self.waker {
            Some(waker) => waker.notified().await,
            None => std::future::pending().await,
        }
    }
}
