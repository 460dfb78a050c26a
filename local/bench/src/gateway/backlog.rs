//! The events of a topic that have not landed yet.

use std::time::{Duration, Instant};

use local::CommandError;
use shared::kafka::reader::{KafkaReader, Reader as _};
use sqlx::PgPool;

/// A topic, and the database in which its events land.
pub(crate) struct Backlog {
    pub(crate) topic: &'static str,
    pub(crate) partitions: i32,
    pub(crate) reader: KafkaReader,
    pub(crate) pool: PgPool,
}

impl Backlog {
    /// Waits until every event that the topic has now has landed. Returns the time that this took.
    pub(crate) async fn landed_after(&self) -> Result<Duration, CommandError> {
        const POLL: Duration = Duration::from_millis(20);
        let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
        let begun = Instant::now();
        let mut sent = 0;
        for partition in 0..self.partitions {
            let bounds = self.reader.bounds(self.topic, partition).await;
            sent += bounds.map_err(|error| failed(&error))?.end;
        }
        let applied = "select coalesce(sum(next_offset), 0)::bigint from sluice.watermarks where topic = $1";
        loop {
            let query = sqlx::query_scalar::<_, i64>(applied).bind(self.topic);
            if query.fetch_one(&self.pool).await.map_err(|error| failed(&error))? >= sent {
                return Ok(begun.elapsed());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
