//! Compares watermarks with Kafka on a schedule, whether or not there are batches. `local` also triggers a comparison
//! when it starts.
//!
//! Kafka does not redeliver records that a consumer group has committed. If a watermark is behind the committed offset,
//! because the database was restored or someone moved that offset, `consume` reads the records in between from Kafka.
//! Otherwise, `consume` reads nothing: the event source mapping delivers the records after the committed offset, or
//! keeps them back while the mapping is paused.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::contract::Contract;
use shared::drift::{self, Difference};
use shared::ledger::activity::{self, End};
use shared::ledger::stalls::FoundBy;
use shared::ledger::watermarks::{self, Locked, Watermark};
use sqlx::PgConnection;

use crate::catch_up::{Budget, CatchUp, Reached};
use crate::connection::in_time;
use crate::continuity::{self, Continuity};
use crate::error::failed;
use crate::land::Tally;
use crate::report::Work;
use crate::stall::Stalls;
use crate::{Consume, ConsumeError, Summary, retention};

/// What a comparison finds out about partitions.
#[derive(Default)]
struct Findings {
    /// Partitions whose missing records did not land, and why.
    failed: Vec<(String, i32, ConsumeError)>,
    /// Partitions of which no record is missing, or whose missing records have landed.
    complete: Vec<(String, i32)>,
    /// Where the logs end.
    ends: Vec<End>,
    /// The partition whose missing records are being landed.
    landing: Option<(String, i32)>,
    /// By topic, the differences that keep all events out of the stream's table. `None` if they are not known.
    differences: Option<HashMap<String, Vec<Difference>>>,
}

impl Consume {
    /// Compares the watermarks of all contracts' topics with Kafka, within `budget`, and writes records that were
    /// committed but not applied. If the budget is not enough, the next call continues. Also compares the contracts
    /// with their tables, and erases data that is past its retention. Partitions whose records cannot land are recorded
    /// as stalled until a later comparison finds that the records can land.
    ///
    /// # Errors
    /// A topic could not be compared, or missing records could not land. The other topics were still compared.
    pub async fn compare(&self, budget: Duration) -> Result<Summary, ConsumeError> {
        let begun = Instant::now();
        let deadline = begun + budget;
        let mut landed = Tally::default();
        let mut findings = Findings::default();
        let result = match self.connections.take(deadline).await {
            Ok(mut connection) => {
                let reading = Budget::until(begun + budget / 4 * 3);
                let comparing = self.compare_all(connection.get(), reading, &mut landed, &mut findings);
                let result = in_time(deadline, comparing).await;
                self.connections.finish(connection, &result).await;
                result
            }
            Err(error) => Err(error),
        };
        if let Some((topic, partition)) = findings.landing.take() {
            findings.failed.push((topic, partition, ConsumeError::Deadline));
        }
        let (connections, registry, destination) = (&self.connections, &*self.registry, self.destination());
        let stalls = Stalls { connections, registry, destination, deadline };
        stalls.within_the_invocation(findings.record(&stalls)).await;
        let first_failure = findings.failed.into_iter().next().map(|(_, _, error)| error);
        let result = result.and(first_failure.map_or(Ok(()), Err));
        self.report(
            "all",
            &landed,
            begun,
            Work::Comparison,
            result.map_err(|error| ConsumeError::Comparison(error.into())),
        )
    }

    async fn compare_all(
        &self,
        connection: &mut PgConnection,
        budget: Budget,
        landed: &mut Tally,
        findings: &mut Findings,
    ) -> Result<(), ConsumeError> {
        findings.differences = self.find_drift(connection).await;
        let known = Watermarks::new(watermarks::all(connection).await.map_err(|error| failed(error.into()))?);
        let mut catch_up = CatchUp { consume: self, connection, landed, budget };
        let mut result = Ok(());
        for contract in self.registry.contracts() {
            let compared = catch_up.compare(contract, &known, findings).await;
            result = result.and(compared);
        }
        let noting = async {
            activity::note_ends(catch_up.connection, &findings.ends).await?;
            retention::apply(catch_up.connection, self.retention, catch_up.budget.time()).await
        };
        result.and(noting.await.map_err(|error| failed(error.into())))
    }

    /// Compares the contracts with their tables. Returns, by topic, the differences that keep all events out of the
    /// stream's table.
    async fn find_drift(&self, connection: &mut PgConnection) -> Option<HashMap<String, Vec<Difference>>> {
        let contracts: Vec<Arc<Contract>> = self.registry.contracts().cloned().collect();
        let compared = drift::compare(connection, &contracts).await;
        let differences = compared
            .inspect_err(|error| tracing::warn!(%error, "cannot compare the contracts with their tables"))
            .ok()?;
        let mut by_topic: HashMap<String, Vec<Difference>> = HashMap::new();
        for difference in differences.into_iter().filter(|difference| difference.keeps_all_out) {
            if let Some(contract) = self.registry.stream(&difference.stream) {
                by_topic.entry(contract.topic.clone()).or_default().push(difference);
            }
        }
        Some(by_topic)
    }
}

impl Findings {
    /// Records the partitions whose records cannot land, and deletes what earlier comparisons recorded about
    /// partitions that turned out to be sound.
    async fn record(&self, stalls: &Stalls<'_>) {
        for (topic, partition, error) in &self.failed {
            let cause = error.cause();
            let what = match error {
                ConsumeError::CatchingUp => "some missing records have not landed yet; the next comparison continues",
                ConsumeError::NotABatch(_)
                | ConsumeError::UnknownTopic(_)
                | ConsumeError::Retry(_)
                | ConsumeError::Stop(_)
                | ConsumeError::Kafka(_)
                | ConsumeError::Deadline
                | ConsumeError::Bigquery(_)
                | ConsumeError::Comparison(_) => "missing records did not land",
            };
            tracing::warn!(topic, partition, cause, "{what}");
            stalls.record(&[(topic, *partition)], error, FoundBy::Comparison).await;
        }
        let Some(differences) = &self.differences else { return };
        let (mut sound, mut kept_out) = (Vec::new(), HashMap::new());
        for (topic, partition) in &self.complete {
            match differences.get(topic) {
                Some(differences) => {
                    let (partitions, _) = kept_out.entry(topic).or_insert_with(|| (Vec::new(), differences));
                    partitions.push((topic.as_str(), *partition));
                }
                None => sound.push((topic.as_str(), *partition)),
            }
        }
        for (partitions, differences) in kept_out.into_values() {
            stalls.record_drift(&partitions, differences).await;
        }
        if !sound.is_empty() {
            stalls.clear_compared(&sound).await;
        }
    }
}

/// The consumer group of a topic's event source mapping, as template.yaml names it.
fn group(topic: &str) -> String {
    format!("sluice-{topic}")
}

/// Watermarks by topic and partition.
pub(crate) struct Watermarks {
    watermarks: HashMap<(String, i32), Watermark>,
    server_started_us: i64,
}

impl Watermarks {
    pub(crate) fn new(all: Locked) -> Self {
        let Locked { watermarks, server_started_us, over: _ } = all;
        let watermarks = watermarks.into_iter().map(|one| ((one.topic.clone(), one.partition), one)).collect();
        Self { watermarks, server_started_us }
    }

    fn watermark(&self, topic: &str, partition: i32) -> Watermark {
        let found = self.watermarks.get(&(topic.to_owned(), partition)).cloned();
        found.unwrap_or_else(|| Watermark::new(topic, partition))
    }
}

impl CatchUp<'_> {
    /// Compares a topic's partitions with Kafka. A partition that cannot be compared does not hold up the others.
    ///
    /// # Errors
    /// The error of the first partition that could not be compared. Partitions whose records could not land are among
    /// the findings.
    async fn compare(
        &mut self,
        contract: &Arc<Contract>,
        known: &Watermarks,
        findings: &mut Findings,
    ) -> Result<(), ConsumeError> {
        let reader = Arc::clone(&self.consume.reader);
        let Some(count) = reader.partitions(&contract.topic).await? else { return Ok(()) };
        let partitions: Vec<i32> = (0..count).collect();
        let committed = reader.committed(&group(&contract.topic), &contract.topic, &partitions).await?;
        let mut result = Ok(());
        for (partition, committed) in partitions.into_iter().zip(committed) {
            let missing = match self.find_missing(contract, known, partition, committed.unwrap_or(0), findings).await {
                Ok(missing) => missing,
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            };
            let place = (contract.topic.clone(), partition);
            findings.landing = Some(place.clone());
            let landed = self.land_missing(contract, partition, missing).await;
            findings.landing = None;
            match landed {
                Ok(()) => findings.complete.push(place),
                Err(error) => findings.failed.push((place.0, place.1, error)),
            }
        }
        result
    }

    /// Finds the offsets that the consumer group has committed but that were not applied. Notes where the log ends.
    async fn find_missing(
        &mut self,
        contract: &Arc<Contract>,
        known: &Watermarks,
        partition: i32,
        committed: i64,
        findings: &mut Findings,
    ) -> Result<Range<i64>, ConsumeError> {
        let reader = Arc::clone(&self.consume.reader);
        let mut watermark = known.watermark(&contract.topic, partition);
        match continuity::ask(&*reader, &watermark).await? {
            Continuity::Same | Continuity::Unknown => self.consume.trust.note(&watermark, known.server_started_us),
            Continuity::Restarted(restart) => {
                self.restart(contract, &watermark, restart, known.server_started_us).await?;
                watermark.restart(restart);
            }
            Continuity::Deleted => return Ok(0..0),
        }
        let bounds = reader.bounds(&contract.topic, partition).await?;
        let (topic, incarnation) = (contract.topic.clone(), watermark.incarnation());
        findings.ends.push(End { topic, partition, incarnation, end_offset: bounds.end });
        let until = committed.min(bounds.end).max(bounds.start);
        Ok(watermark.next_offset..until)
    }

    async fn land_missing(
        &mut self,
        contract: &Arc<Contract>,
        partition: i32,
        range: Range<i64>,
    ) -> Result<(), ConsumeError> {
        if range.is_empty() {
            return Ok(());
        }
        tracing::info!(
            topic = contract.topic,
            partition,
            from = range.start,
            until = range.end,
            "the watermark is behind the committed offset: reading the records from Kafka"
        );
        match self.read(contract, partition, range, &[]).await? {
            // If another process moved the watermark, that process lands the rest.
            Reached::End | Reached::InBatch(_) | Reached::Moved | Reached::LogEnd => Ok(()),
        }
    }
}
