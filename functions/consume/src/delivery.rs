//! Lands a batch that an event source mapping delivers.

use std::time::{Duration, Instant};

use shared::ledger::stalls::FoundBy;
use sqlx::PgConnection;

use crate::batch::Batch;
use crate::catch_up::{Budget, CatchUp};
use crate::connection::{Connection, in_time};
use crate::error::failed;
use crate::land::{self, CheckedBatch, Ending, Tally};
use crate::report::Work;
use crate::stall::{self, Stalls};
use crate::{Consume, ConsumeError, Storage, Summary, bigquery, overtaken};

impl Consume {
    /// Writes a batch, given as the JSON of Lambda's Kafka event. Missing records before the batch are written first.
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
        let partitions = || stall::partitions(&batch);
        let (connections, registry, destination) = (&self.connections, &*self.registry, self.destination());
        let stalls = Stalls { connections, registry, destination, deadline: begun + budget };
        match &result {
            Ok(()) => {
                // A stall ends when the partition's watermark advances. The watermark does not advance if all of the
                // batch's records of a partition had been applied before. In this case, this call ends the stall.
                if landed.summary().redelivered > 0 {
                    stalls.clear(&partitions()).await;
                }
            }
            Err(error) => stalls.record(&partitions(), error, FoundBy::Batch).await,
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
        let mut checked = self.check(batch)?;
        let connection = self.connections.take_untested(begun + budget).await?;
        let is_kept = connection.is_kept();
        match self.land_checked(connection, &mut checked, begun, budget, landed).await {
            // Since the last batch, the server has closed the connection, or the server is gone. Even if this batch was
            // committed, a second attempt is safe, because it starts at the stored watermarks.
            Err(error) if is_kept && error.ended_connection() => {
                let connection = self.connections.open(begun + budget).await?;
                Box::pin(self.land_checked(connection, &mut self.check(batch)?, begun, budget, landed)).await
            }
            result => result,
        }
    }

    fn check<'b>(&self, batch: &'b Batch) -> Result<CheckedBatch<'b>, ConsumeError> {
        land::check(&self.registry, self.destination(), batch).map_err(ConsumeError::UnknownTopic)
    }

    async fn land_checked(
        &self,
        mut connection: Connection,
        checked: &mut CheckedBatch<'_>,
        begun: Instant,
        budget: Duration,
        landed: &mut Tally,
    ) -> Result<(), ConsumeError> {
        let records = checked.batch.records.len();
        let landing = async {
            connection.renew_plans().await.map_err(|error| failed(error.into()))?;
            let connection = connection.get();
            self.sweep(connection).await?;
            self.reject_overtaken(checked).await;
            self.land(connection, checked, Budget::until(begun + budget / 4 * 3), landed).await
        };
        let result = in_time(begun + budget, landing).await;
        connection.count(records);
        self.connections.finish(connection, &result).await;
        result
    }

    /// Lands a checked batch. Missing records land first: those from the watermarks to the batch, or to its last hole.
    async fn land(
        &self,
        connection: &mut PgConnection,
        checked: &mut CheckedBatch<'_>,
        budget: Budget,
        landed: &mut Tally,
    ) -> Result<(), ConsumeError> {
        /// The maximum number of rounds. A partition needs fewer, unless another process keeps moving watermarks.
        const ROUNDS: usize = 10;
        let mut catch_up = CatchUp { consume: self, connection, landed, budget };
        for _ in 0..ROUNDS {
            match self.land_once(catch_up.connection, checked).await? {
                Ending::Landed(landed) => {
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

    async fn sweep(&self, connection: &mut PgConnection) -> Result<(), ConsumeError> {
        match self.storage {
            Storage::Postgresql => {
                let longest_wait_ms = i64::try_from(self.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
                let swept = self.sweeps.run(connection, self.clock.now_ms(), longest_wait_ms, &self.metrics).await;
                swept.map_err(|error| failed(error.into()))
            }
            Storage::Bigquery(_) => Ok(()),
        }
    }

    /// Rejects replays that a later event has overtaken.
    pub(crate) async fn reject_overtaken(&self, checked: &mut CheckedBatch<'_>) {
        match self.storage {
            Storage::Postgresql => overtaken::reject(self.reader.as_ref(), checked).await,
            Storage::Bigquery(_) => {}
        }
    }

    pub(crate) async fn land_once(
        &self,
        connection: &mut PgConnection,
        checked: &CheckedBatch<'_>,
    ) -> Result<Ending, ConsumeError> {
        let now_ms = self.clock.now_ms();
        match &self.storage {
            Storage::Postgresql => {
                land::land(connection, &self.registry, &self.trust, &self.pauses, now_ms, checked).await.map_err(failed)
            }
            Storage::Bigquery(tables) => {
                bigquery::land(connection, tables.as_ref(), &self.trust, now_ms, checked).await
            }
        }
    }
}

/// Lists the batch's topics, separated by commas.
fn topics(batch: &Batch) -> String {
    let mut topics: Vec<&str> = batch.records.iter().map(|record| record.topic.as_str()).collect();
    topics.dedup();
    topics.join(",")
}
