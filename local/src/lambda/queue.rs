//! Invocations that wait for a sandbox, and their outcomes.

use axum::body::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};

/// The outcome of an invocation: the function's answer, or an error.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The function's answer.
    Response(Bytes),
    /// The JSON of the error.
    Error(Bytes),
}

/// An invocation that waits for a sandbox.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) payload: Bytes,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// A queue of invocations that wait for a free sandbox.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::UnboundedSender<Invocation>,
    taken: Mutex<mpsc::UnboundedReceiver<Invocation>>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (waiting, taken) = mpsc::unbounded_channel();
        Self { waiting, taken: Mutex::new(taken) }
    }

    pub(super) fn add(&self, invocation: Invocation) {
        // Sending cannot fail, because `self` also owns the receiver.
        let _queued = self.waiting.send(invocation);
    }

    pub(super) async fn next(&self) -> Invocation {
        match self.taken.lock().await.recv().await {
            Some(invocation) => invocation,
            // The channel cannot be closed, because `self` owns a sender.
            None => std::future::pending().await,
        }
    }
}
