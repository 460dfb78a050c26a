//! The tests' shared setup: the function with its own database and topics, and a client. The routes of `ingest` are
//! served next to the function's own routes, as in the gateway.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use console::Console;
use ingest::Ingest;
use testing::function::{Connections, TestFunction};

pub(crate) use testing::function::{Answer, Lacking, NOW_MS, WAIT_FOR_PARENT};

/// The function under test.
pub(crate) struct TestConsole {
    function: TestFunction,
    pub(crate) console: Arc<Console>,
    pub(crate) ingest: Arc<Ingest>,
}

impl Deref for TestConsole {
    type Target = TestFunction;

    fn deref(&self) -> &TestFunction {
        &self.function
    }
}

impl TestConsole {
    pub(crate) async fn start() -> Self {
        Self::start_lacking(Lacking::default()).await
    }

    pub(crate) async fn start_lacking(lacking: Lacking) -> Self {
        let mut started = None;
        let routes = |connections| {
            let (console, ingest, routes) = function(connections);
            started = Some((console, ingest));
            routes
        };
        let function = TestFunction::start(lacking, None, routes).await;
        let (console, ingest) = started.unwrap();
        Self { function, console, ingest }
    }

    /// Deletes the test's topics and database.
    pub(crate) async fn end(self) {
        self.function.end().await;
    }
}

fn function(connections: Connections) -> (Arc<Console>, Arc<Ingest>, Router) {
    let Connections { pool, registry, producer, reader, clock, metrics } = connections;
    let ingest = Arc::new(Ingest::new(pool, registry, producer, reader, clock, WAIT_FOR_PARENT, metrics));
    let console = Arc::new(Console::new(Arc::clone(&ingest)));
    let routes = ingest::routes_for_anyone(Arc::clone(&ingest)).merge(console::routes_for_anyone(Arc::clone(&console)));
    (console, ingest, routes)
}
