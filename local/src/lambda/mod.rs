//! Emulates Lambda for one function. Each sandbox is a process with its own Runtime API. The process takes one
//! invocation at a time, may be frozen between invocations, and is killed and restarted when an invocation times out.
//!
//! Tests and benchmarks use this module to run the real binaries. `up` does not: it runs the functions in its own
//! process or, with `--lambda`, under `cargo lambda watch`.

mod build;
mod plan;
mod queue;
mod runtime_api;
mod sandbox;

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::oneshot;

pub use self::build::build;
pub use self::plan::{LambdaError, Plan};
pub use self::queue::Answer;
use self::queue::{Invocation, Queue};
pub use self::sandbox::Sandbox;

/// A function that runs in sandboxes. Dropping this value kills the function's processes.
#[derive(Debug)]
pub struct Lambda {
    queue: Arc<Queue>,
    sandboxes: Vec<Sandbox>,
}

/// A handle that invokes the function. Clones share the same function.
#[derive(Debug, Clone)]
pub struct Invoker(Arc<Queue>);

impl Lambda {
    /// Starts the function in `sandboxes` sandboxes.
    ///
    /// # Errors
    /// The function cannot be started.
    pub async fn start(plan: Plan, sandboxes: usize) -> Result<Self, LambdaError> {
        let queue = Arc::new(Queue::new());
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

    /// Returns a handle that invokes the function.
    pub fn invoker(&self) -> Invoker {
        Invoker(Arc::clone(&self.queue))
    }

    /// Returns the function's sandboxes.
    pub fn sandboxes(&self) -> &[Sandbox] {
        &self.sandboxes
    }

    /// Waits until a process of the function ends on its own, and returns how it ended.
    pub async fn ended(&mut self) -> LambdaError {
        let endings = self.sandboxes.iter_mut().map(|sandbox| Box::pin(sandbox.ended()));
        futures::future::select_all(endings).await.0
    }

    /// Ends all sandboxes.
    ///
    /// # Errors
    /// A sandbox's process ended on its own earlier.
    pub async fn stop(self) -> Result<(), LambdaError> {
        for sandbox in self.sandboxes {
            sandbox.stop().await?;
        }
        Ok(())
    }
}

impl Invoker {
    /// Invokes the function. Waits until a sandbox is free.
    pub async fn invoke(&self, payload: Bytes) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.0.add(Invocation { payload, answer });
        match answered.await {
            Ok(answer) => answer,
            Err(_dropped) => Answer::exited("the sandbox ended"),
        }
    }
}
