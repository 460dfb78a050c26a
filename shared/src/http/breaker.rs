//! A circuit breaker: requests do not wait for a database that cannot be reached.
//!
//! Without a breaker, every request would occupy its Lambda sandbox for seconds, and Lambda would start a new sandbox
//! for each further request. The breaker prevents this. For a second after a failed connection, requests that need the
//! database fail at once. The first such request after this pause tries to connect, but only for a short time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::database::Login;

/// The time after a failed connection in which no other connection is tried.
const PAUSE: Duration = Duration::from_secs(1);
/// The time limit for a trial connection. A request takes a little longer than its trial, and must not occupy a sandbox
/// for more than 1.5 s. Opening a connection takes a few round trips, and 0.2 s of CPU time in a small sandbox.
const TRIAL: Duration = Duration::from_secs(1);

tokio::task_local! {
    static CURRENT: Breaker;
}

/// The breaker of one function's database. Clones share its state.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    login: Login,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The database answers.
    Closed,
    /// The database did not answer. No connection is tried before `until`.
    Open { until: Instant },
}

impl Breaker {
    /// Creates a breaker for the database of this login.
    pub(super) fn new(login: Login) -> Self {
        Self { login, state: Arc::new(Mutex::new(State::Closed)) }
    }

    /// Runs a request with this breaker as its [`Self::current`].
    pub(super) async fn watch<T>(self, request: impl Future<Output = T>) -> T {
        CURRENT.scope(self, request).await
    }

    /// Returns the current request's breaker, or `None` if the function has no breaker.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Returns whether the database did not answer last time.
    pub(super) fn is_open(&self) -> bool {
        self.state() != State::Closed
    }

    /// Returns whether the database may be queried. If the database did not answer last time, this returns false during
    /// the pause, and tries to connect after the pause.
    pub(super) async fn lets_through(&self) -> bool {
        match self.state() {
            State::Closed => true,
            State::Open { until } if Instant::now() < until => false,
            State::Open { .. } => {
                let connects = self.login.connects_within(TRIAL).await;
                if connects {
                    self.set(State::Closed);
                } else {
                    self.note_failure();
                }
                connects
            }
        }
    }

    /// Notes that a connection failed. Closes the pool's idle connections, because they are probably dead, too, and
    /// testing one of them would use up the time of the next trial.
    pub(super) fn note_failure(&self) {
        self.login.drop_idle_connections();
        self.set(State::Open { until: Instant::now() + PAUSE });
    }

    /// Notes that an answer was late: the statement was slow, or the server has vanished. The next query finds out
    /// which.
    pub(super) fn note_late(&self) {
        self.set(State::Open { until: Instant::now() });
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
