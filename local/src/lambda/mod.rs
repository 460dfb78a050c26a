//! Lambda as a function's process sees it: sandboxes with a Runtime API, which take invocations one at a time, are
//! frozen between them, and end when one takes too long.
//!
//! For tests and benchmarks of the real binaries; `up` runs the functions in its own process.

mod build;
mod runtime_api;
mod sandbox;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};

pub use self::build::build;
pub use self::sandbox::Sandbox;

/// A function and how it is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The function's name.
    pub name: &'static str,
    /// Its binary.
    pub binary: PathBuf,
    /// Its environment: it has no other, beside what Lambda sets.
    pub environment: Vec<(&'static str, String)>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Whether its processes are stopped while they have no invocation, as Lambda does it.
    pub freezes: bool,
    /// Where its logs go: all that it says, in a file for each sandbox.
    pub folder: PathBuf,
}

/// Why a function cannot be run, or did not go on running.
#[derive(Debug, thiserror::Error)]
pub enum LambdaError {
    /// No port, no log, or no such binary.
    #[error("{name} cannot be started: {source}")]
    Start {
        /// The function.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Its process ended, although nobody ended it.
    #[error("{name} ended: {status}\n{log}")]
    Ended {
        /// The function.
        name: &'static str,
        /// How.
        status: ExitStatus,
        /// What it had said.
        log: String,
    },
}

/// How an invocation ended: as the function answered, or with an error.
#[derive(Debug, Clone)]
pub enum Answer {
    /// What it answered.
    Response(Bytes),
    /// The JSON of the error.
    Error(Bytes),
}

/// An invocation on its way to a sandbox.
#[derive(Debug)]
struct Invocation {
    payload: Bytes,
    answer: oneshot::Sender<Answer>,
}

/// Where invocations wait for a sandbox that is free.
#[derive(Debug)]
struct Queue {
    waiting: mpsc::UnboundedSender<Invocation>,
    taken: Mutex<mpsc::UnboundedReceiver<Invocation>>,
}

/// A function in its sandboxes. Dropped, its processes are killed.
#[derive(Debug)]
pub struct Lambda {
    queue: Arc<Queue>,
    sandboxes: Vec<Sandbox>,
}

/// What can be invoked. Clones are the same function.
#[derive(Debug, Clone)]
pub struct Invoker(Arc<Queue>);

impl Lambda {
    /// Starts the function in as many sandboxes.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(plan: Plan, sandboxes: usize) -> Result<Self, LambdaError> {
        let (waiting, taken) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue { waiting, taken: Mutex::new(taken) });
        let plan = Arc::new(plan);
        let mut started = Vec::with_capacity(sandboxes);
        for number in 0..sandboxes {
            started.push(Sandbox::start(number, Arc::clone(&plan), Arc::clone(&queue)).await?);
        }
        Ok(Self { queue, sandboxes: started })
    }

    /// Invokes the function.
    pub async fn invoke(&self, payload: Bytes) -> Answer {
        self.invoker().invoke(payload).await
    }

    /// What invokes it from elsewhere.
    pub fn invoker(&self) -> Invoker {
        Invoker(Arc::clone(&self.queue))
    }

    /// Its sandboxes.
    pub fn sandboxes(&self) -> &[Sandbox] {
        &self.sandboxes
    }

    /// Waits until a process of it has ended although nobody ended it, and says how.
    pub async fn ended(&mut self) -> LambdaError {
        let endings = self.sandboxes.iter_mut().map(|sandbox| Box::pin(sandbox.ended()));
        futures::future::select_all(endings).await.0
    }

    /// Ends all sandboxes.
    ///
    /// # Errors
    /// The process of one ended before, although nobody ended it.
    pub async fn stop(self) -> Result<(), LambdaError> {
        for sandbox in self.sandboxes {
            sandbox.stop().await?;
        }
        Ok(())
    }
}

impl Invoker {
    /// Invokes the function. Waits for as long as no sandbox is free.
    pub async fn invoke(&self, payload: Bytes) -> Answer {
        let (answer, answered) = oneshot::channel();
        // Both ends of the queue are ours.
        let _queued = self.0.waiting.send(Invocation { payload, answer });
        match answered.await {
            Ok(answer) => answer,
            Err(_dropped) => Answer::exited("with its sandbox"),
        }
    }
}

impl Queue {
    async fn next(&self) -> Invocation {
        match self.taken.lock().await.recv().await {
            Some(invocation) => invocation,
            // Not while we hold a sender.
            None => std::future::pending().await,
        }
    }
}
