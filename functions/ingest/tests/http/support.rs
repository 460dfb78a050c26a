//! The tests' shared setup: the function with its own database and topics, and a client.

use std::ops::Deref;
use std::sync::Arc;

use ingest::Ingest;
use testing::function::{Connections, TestFunction};

pub(crate) use testing::function::{Answer, Lacking, NOW_MS, WAIT_FOR_PARENT, from_environment};

pub(crate) const ROUTE: &str = r#"{"userID": 5, "timestamp": 1557258853.563, "coordinates": [52.3676, 4.9041]}"#;
pub(crate) const CITY: &str = r#"{"country": "Iran", "name": "Alvand"}"#;
pub(crate) const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// The function under test.
pub(crate) struct TestIngest(TestFunction);

impl Deref for TestIngest {
    type Target = TestFunction;

    fn deref(&self) -> &TestFunction {
        &self.0
    }
}

impl TestIngest {
    pub(crate) async fn start() -> Self {
        Self::start_lacking(Lacking::default()).await
    }

    pub(crate) async fn start_lacking(lacking: Lacking) -> Self {
        Self(TestFunction::start(lacking, None, routes).await)
    }

    /// Starts the function with another address for the broker. The function's topics are still in the test cluster.
    pub(crate) async fn start_with_broker_at(address: &str) -> Self {
        Self(TestFunction::start(Lacking::default(), Some(address), routes).await)
    }

    /// Deletes the test's topics and database.
    pub(crate) async fn end(self) {
        self.0.end().await;
    }
}

fn routes(connections: Connections) -> axum::Router {
    let Connections { pool, registry, producer, reader, clock, metrics } = connections;
    let ingest = Ingest::new(pool, registry, producer, reader, clock, WAIT_FOR_PARENT, metrics);
    ingest::routes_for_anyone(Arc::new(ingest))
}

/// Compresses a text.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
