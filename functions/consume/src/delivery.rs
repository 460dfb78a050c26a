//! Lands a batch that an event source mapping delivers.

use std::time::{Duration, Instant};

use shared::ledger::stalls::FoundBy;
use sqlx::PgConnection;

use crate::batch::Batch;
use crate::catch_up::{Budget, CatchUp};
use crate::connection::{connect, finish, in_time};
use crate::error::failed;
use crate::land::{self, CheckedBatch, Ending, Tally};
use crate::report::Work;
use crate::stall::{self, Stalls};
use crate::{Consume, ConsumeError, Summary, overtaken};

impl Consume {
    /// Writes a batch, given as the JSON of Lambda's Kafka event. Missing records before it are written first.
    ///
    /// # Errors
    /// The batch must be delivered again.
    pub(crate) async fn deliver(&self, payload: &[u8], budget: Duration) -> Result<Summary, ConsumeError> {
        let begun = Instant::now();
        let batch = Batch::decode(payload).map_err(ConsumeError::NotABatch);
        let batch = batch.inspect_err(|error| self.count_failure("", begun, Work::Batch, error))?;
        let topics = topics(&batch);
        let mut landed = Tally::default();
        let result = self.land_batch(&batch, begun, budget, &mut landed).await;
        match &result {
            Ok(()) => {
                // If all records of a partition had been applied before, its watermark has not advanced, and an earlier
                // failure would still count as a stall.
                if landed.summary().replayed > 0 {
                    stall::clear(&self.pool, &stall::partitions(&batch)).await;
                }
            }
            Err(error) => {
                let stalls = Stalls { pool: &self.pool, registry: &self.registry, deadline: begun + budget };
                stalls.record(&stall::partitions(&batch), error, FoundBy::Batch).await;
            }
        }
        self.report(&topics, &landed, begun, Work::Batch, result)
    }

    async fn land_batch(
        &self,
        batch: &Batch,
        begun: Instant,
        budget: Duration,
        landed: &mut Tally,
    ) -> Result<(), ConsumeError> {
        let mut checked = land::check(&self.registry, batch).map_err(ConsumeError::UnknownTopic)?;
        let mut connection = connect(&self.pool, begun + budget).await?;
        let landing = async {
            let longest_wait_ms = i64::try_from(self.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
            let swept = self.sweeps.run(&mut connection, self.clock.now_ms(), longest_wait_ms, &self.metrics).await;
            swept.map_err(|error| failed(error.into()))?;
            overtaken::reject(self.reader.as_ref(), &mut checked).await;
            self.land(&mut connection, &mut checked, Budget::until(begun + budget / 4 * 3), landed).await
        };
        let result = in_time(begun + budget, landing).await;
        finish(connection, &result).await;
        result
    }

    /// Lands a checked batch. Records between the watermarks and the batch land first.
    async fn land(
        &self,
        connection: &mut PgConnection,
        checked: &mut CheckedBatch<'_>,
        budget: Budget,
        landed: &mut Tally,
    ) -> Result<(), ConsumeError> {
        /// More rounds than a partition can need, unless another process keeps moving watermarks.
        const ROUNDS: usize = 10;
        let mut catch_up = CatchUp { consume: self, connection, landed, budget };
        for _ in 0..ROUNDS {
            match self.land_once(catch_up.connection, checked).await? {
                Ending::Committed(landed) => {
                    catch_up.landed.add(landed);
                    return Ok(());
                }
                Ending::Held(holds) => {
                    for hold in holds {
                        catch_up.resolve(&mut checked.partitions[hold.index], &hold).await?;
                    }
                }
            }
        }
        Err(ConsumeError::CatchingUp)
    }

    pub(crate) async fn land_once(
        &self,
        connection: &mut PgConnection,
        checked: &CheckedBatch<'_>,
    ) -> Result<Ending, ConsumeError> {
        land::land(connection, &self.registry, &self.trust, self.clock.now_ms(), checked).await.map_err(failed)
    }
}

/// Lists the batch's topics, separated by commas.
fn topics(batch: &Batch) -> String {
    let mut topics: Vec<&str> = batch.records.iter().map(|record| record.topic.as_str()).collect();
    topics.dedup();
    topics.join(",")
}
