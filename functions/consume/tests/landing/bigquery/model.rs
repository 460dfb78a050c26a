//! Random histories of batches that land in BigQuery, with crashes, restores and faults. At the end of a history, the
//! table has each valid event once, every other event is recorded as a dead letter or a duplicate, and the watermarks
//! are at the ends of the logs. If the function cannot find out what was written, it stops. Even then, no row is in the
//! table twice.
//!
//! `SLUICE_SEED` repeats a run, and `SLUICE_HISTORIES` sets the number of histories.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use consume::bigquery::BigqueryError;
use consume::{Consume, ConsumeError};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use sqlx::Executor as _;

use super::fake::{REFUSED, Row};
use super::world::{LEDGER, World, deliver, reading};
use crate::model::number_from;
use crate::support::Record;

/// The default number of histories. A thousand histories take minutes. They are worthwhile only if the code under test
/// has changed.
const HISTORIES: u64 = 200;
const WORKERS: u64 = 4;
const PARTITIONS: usize = 2;

#[test]
fn random_histories_land_each_event_once() {
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    let histories = number_from("SLUICE_HISTORIES").unwrap_or(HISTORIES);
    println!("SLUICE_SEED={seed} SLUICE_HISTORIES={histories}");
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let mut worlds = [World::new(seed, false).await, World::new(seed, true).await];
                    let mut played = Played::default();
                    for history in (worker..histories).step_by(WORKERS as usize) {
                        played.add(play(&mut worlds, seed.wrapping_add(history)).await);
                    }
                    played
                })
            })
        })
        .collect();
    let mut played = Played::default();
    for worker in workers {
        played.add(worker.join().expect("every history ends as the model says"));
    }
    println!("{histories} histories: {played:?}");
    let met = [played.crashes, played.frozen, played.restores, played.late, played.finalized, played.refused];
    assert!(histories < 100 || met.iter().all(|count| *count > 0), "{played:?}");
    assert!(histories < 100 || played.stopped * 2 < histories, "{played:?}");
}

/// How often each thing happened in the histories that were played.
#[derive(Debug, Default)]
struct Played {
    deliveries: u64,
    crashes: u64,
    frozen: u64,
    restores: u64,
    lost_streams: u64,
    late: u64,
    finalized: u64,
    compared: u64,
    refused: u64,
    rows: u64,
    /// How many histories ended because the function could not find out what was written.
    stopped: u64,
}

impl Played {
    fn add(&mut self, other: Self) {
        let Self {
            deliveries,
            crashes,
            frozen,
            restores,
            lost_streams,
            late,
            finalized,
            compared,
            refused,
            rows,
            stopped,
        } = other;
        self.deliveries += deliveries;
        self.crashes += crashes;
        self.frozen += frozen;
        self.restores += restores;
        self.lost_streams += lost_streams;
        self.late += late;
        self.finalized += finalized;
        self.compared += compared;
        self.refused += refused;
        self.rows += rows;
        self.stopped += stopped;
    }
}

/// One history.
struct History<'w> {
    seed: u64,
    rng: StdRng,
    world: &'w World,
    consume: Consume,
    logs: Vec<Log>,
    next_number: i64,
    has_places: bool,
    /// Whether the function may stop, because it may be unable to find out what was written.
    may_stop: bool,
    /// Whether there is a backup to restore.
    has_backup: bool,
    played: Played,
}

/// A partition's records, and how many of them were delivered.
#[derive(Default)]
struct Log {
    records: Vec<Record>,
    committed: usize,
}

/// The function stopped, as it must if it cannot find out what was written.
struct Stopped;

async fn play(worlds: &mut [World; 2], seed: u64) -> Played {
    let mut rng = StdRng::seed_from_u64(seed);
    let has_places = rng.random_bool(0.6);
    let world = &mut worlds[usize::from(has_places)];
    world.reset(seed).await;
    let world = &*world;
    let consume = world.start();
    let logs = (0..PARTITIONS).map(|_| Log::default()).collect();
    let mut history = History {
        seed,
        rng,
        world,
        consume,
        logs,
        next_number: 1,
        has_places,
        may_stop: false,
        has_backup: false,
        played: Played::default(),
    };
    let is_stopped = history.run().await.is_err();
    history.compare(is_stopped).await;
    let counts = history.world.tables.counts();
    let mut played = history.played;
    played.late = counts.late;
    played.finalized = counts.finalized;
    played.compared = counts.compared;
    played.refused = counts.refused;
    played.lost_streams = counts.lost_streams;
    played.rows = history.world.tables.rows().len() as u64;
    played.stopped = is_stopped.into();
    played
}

impl History<'_> {
    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.rng.random_range(0..end) }
    }

    async fn run(&mut self) -> Result<(), Stopped> {
        for _ in 0..self.below(8) + 3 {
            self.world.tables.set_faults(if self.rng.random_bool(0.5) { 0.3 } else { 0.0 });
            self.send();
            if self.rng.random_bool(0.1) {
                self.world.tables.lag(1);
            }
            self.deliver_some().await?;
            match self.rng.random_range(0..12) {
                // If the table has no columns for partition and offset, a backup is made only after each partition's
                // first append. After the restore of an earlier backup, the ledger would not know of a partition's
                // append, and the function could write the partition's rows again.
                0 if self.has_places || self.known_partitions().await == PARTITIONS => self.back_up().await,
                1 if self.has_backup => self.restore().await,
                2 => {
                    self.world.tables.forget_streams();
                    // If an append is open, its outcome can now be found only through the table's columns for partition
                    // and offset.
                    self.may_stop |= !self.has_places;
                }
                3 => self.consume = self.world.start(),
                4 | 5 => self.world.tables.thaw(),
                _ => {}
            }
        }
        self.world.tables.set_faults(0.0);
        self.world.tables.lag(0);
        self.world.tables.thaw();
        // Each partition delivers at least its last record again. If the database was restored, that record makes the
        // function catch up.
        for log in &mut self.logs {
            log.committed = log.committed.min(log.records.len().saturating_sub(1));
        }
        let batch = self.take(true);
        self.deliver_until_it_lands(&batch).await
    }

    /// Writes some records to Kafka.
    fn send(&mut self) {
        for partition in 0..PARTITIONS {
            for _ in 0..self.below(5) {
                let offset = self.logs[partition].records.len() as i64;
                self.next_number += 1;
                let record = reading(partition as i32, offset, self.next_number);
                let record = match self.rng.random_range(0..12) {
                    0 => Record { value: None, ..record },
                    1 => Record { value: Some(b"{\"n\": \"x\"}".to_vec()), ..record },
                    2 => Record {
                        value: Some(json!({"n": self.next_number * REFUSED}).to_string().into_bytes()),
                        ..record
                    },
                    3 | 4 => self.with_id(partition, record),
                    _ => record,
                };
                self.world.send(std::slice::from_ref(&record));
                self.logs[partition].records.push(record);
            }
        }
    }

    /// Gives a record an id. If an earlier event has the same id, the record may also repeat that event's payload.
    fn with_id(&mut self, partition: usize, record: Record) -> Record {
        let id = self.rng.random_range(0..3);
        let headers = vec![
            ("sluice-user".to_owned(), "ann".to_owned()),
            ("idempotency-key".to_owned(), format!("{partition}-{id}")),
        ];
        let earlier = self.logs[partition].records.iter().rev().find(|earlier| earlier.headers == headers);
        let value = match earlier {
            Some(earlier) if self.rng.random_bool(0.7) => earlier.value.clone(),
            Some(_) | None => record.value.clone(),
        };
        Record { headers, value, ..record }
    }

    /// Takes the next records of each partition, sometimes preceded by records that were already delivered.
    fn take(&mut self, all: bool) -> Vec<Record> {
        let mut batch = Vec::new();
        for partition in 0..PARTITIONS {
            let (committed, end) = (self.logs[partition].committed, self.logs[partition].records.len());
            let until = if all { end } else { committed + self.below(end - committed + 1) };
            let from = if !all && self.rng.random_bool(0.3) { self.below(committed + 1) } else { committed };
            batch.extend_from_slice(&self.logs[partition].records[from.min(until)..until]);
            self.logs[partition].committed = committed.max(until);
        }
        batch
    }

    async fn deliver_some(&mut self) -> Result<(), Stopped> {
        let batch = self.take(false);
        match self.rng.random_range(0..6) {
            // The function crashes at a random await.
            0 | 1 => {
                let polls = self.below(120);
                self.played.crashes += 1;
                let delivery = deliver(&self.consume, &batch);
                if let Some(result) = (Crash { polls_left: polls, future: pin!(delivery) }).await {
                    self.check(result.err())?;
                } else {
                    // A new process replaces the killed one.
                    self.consume = self.world.start();
                }
            }
            2 => {
                let other = self.world.start();
                let (a, b) = tokio::join!(deliver(&self.consume, &batch), deliver(&other, &batch));
                self.played.deliveries += 2;
                self.check(a.err())?;
                self.check(b.err())?;
            }
            // The function freezes after it has committed its intent and before it appends. Other processes continue.
            3 => {
                let frozen = std::mem::replace(&mut self.consume, self.world.start());
                self.world.tables.freeze_next();
                let mut delivery = pin!(deliver(&frozen, &batch));
                let is_frozen = tokio::select! {
                    result = &mut delivery => {
                        self.check(result.err())?;
                        false
                    }
                    () = self.world.tables.frozen() => true,
                };
                if is_frozen {
                    self.played.frozen += 1;
                    if self.rng.random_bool(0.7) {
                        let other = self.world.start();
                        self.check(deliver(&other, &batch).await.err())?;
                    }
                    self.world.tables.thaw();
                    if self.rng.random_bool(0.7) {
                        self.check(delivery.await.err())?;
                    }
                } else {
                    self.world.tables.thaw();
                }
            }
            _ => {}
        }
        self.deliver_until_it_lands(&batch).await
    }

    /// Delivers a batch until it lands, as an event source mapping does.
    async fn deliver_until_it_lands(&mut self, batch: &[Record]) -> Result<(), Stopped> {
        for _ in 0..100 {
            self.played.deliveries += 1;
            match deliver(&self.consume, batch).await {
                Ok(_) => return Ok(()),
                Err(error) => self.check(Some(error))?,
            }
        }
        panic!("seed {}: a batch does not land", self.seed)
    }

    /// Panics if this failure must not happen. Returns [`Stopped`] if the function had a reason to stop.
    fn check(&self, failure: Option<ConsumeError>) -> Result<(), Stopped> {
        match failure {
            Some(ConsumeError::Bigquery(BigqueryError::Undecided { .. })) if self.may_stop => Err(Stopped),
            Some(ConsumeError::Bigquery(BigqueryError::Undecided { detail, .. })) => {
                panic!("seed {}: the function stopped without a reason: {detail}", self.seed)
            }
            Some(ConsumeError::NotABatch(_) | ConsumeError::UnknownTopic(_) | ConsumeError::Deadline) => {
                panic!("seed {}: {failure:?}", self.seed)
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn back_up(&mut self) {
        let copy = |table: &str| {
            let columns = if table == DEAD_LETTERS { "id" } else { "*" };
            format!(
                "drop table if exists backup_{table}; create table backup_{table} as select {columns} from sluice.{table}"
            )
        };
        self.execute(&LEDGER.map(copy).join(";")).await;
        self.has_backup = true;
    }

    /// Restores the ledger. The restored ledger looks as if the database server had been restarted since the backup.
    async fn restore(&mut self) {
        self.played.restores += 1;
        let restore = |table: &str| {
            // In these histories, dead letters are only added, so it is enough to delete the new ones. A copy could not
            // be inserted, because the table has generated columns.
            if table == DEAD_LETTERS {
                return format!("delete from sluice.{table} where id not in (select id from backup_{table})");
            }
            format!(
                "delete from sluice.{table}; insert into sluice.{table} overriding system value table backup_{table}"
            )
        };
        self.execute(&LEDGER.map(restore).join(";")).await;
        self.execute(
            "update sluice.bigquery_streams set server_started_us = server_started_us - 1,
                                                intent_server_started_us = intent_server_started_us - 1",
        )
        .await;
        self.consume = self.world.start();
        // The function may stop if the table has no columns for partition and offset, or if the backup was made before
        // the first append of a partition.
        let known = self.known_partitions().await;
        self.may_stop |= !self.has_places || known < PARTITIONS;
    }

    async fn known_partitions(&self) -> usize {
        let count: i64 = sqlx::query_scalar("select count(*) from sluice.bigquery_streams where server_started_us > 0")
            .fetch_one(&self.world.database.pool)
            .await
            .expect("the states are counted");
        usize::try_from(count).expect("a small number")
    }

    async fn execute(&self, statements: &str) {
        self.world.database.pool.execute(statements).await.expect("the statements run");
    }

    async fn compare(&self, is_stopped: bool) {
        let expected = self.expected();
        let rows = self.world.tables.rows();
        let numbers: BTreeSet<i64> = rows.iter().map(|row| row.number).collect();
        let seed = self.seed;
        assert_eq!(numbers.len(), rows.len(), "seed {seed}: a row is in the table twice: {rows:?}");
        let written: BTreeSet<i64> = expected.rows.iter().map(|row| row.number).collect();
        assert!(numbers.is_subset(&written), "seed {seed}: a row comes from no valid event: {rows:?}");
        if is_stopped {
            return;
        }
        let mut rows = rows;
        rows.sort_unstable();
        assert_eq!(rows, expected.rows, "seed {seed}: rows");
        assert_eq!(
            self.world.exceptions().await,
            json!(expected.exceptions),
            "seed {seed}: dead letters and duplicates"
        );
        let ends = self.logs.iter().zip(0..).filter(|(log, _)| !log.records.is_empty());
        let ends: Vec<(i32, i64)> = ends.map(|(log, partition)| (partition, log.records.len() as i64)).collect();
        assert_eq!(self.world.watermarks().await, ends, "seed {seed}: watermarks");
    }

    fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        for log in &self.logs {
            let mut ids: BTreeMap<&str, &[u8]> = BTreeMap::new();
            for record in &log.records {
                let Some(value) = &record.value else { continue };
                let mut except = |what: &str| {
                    let (partition, offset) = (record.partition, record.offset);
                    expected.exceptions.push(json!({"partition": partition, "offset": offset, "what": what}));
                };
                let event: serde_json::Value = serde_json::from_slice(value).expect("JSON");
                let Some(number) = event["n"].as_i64() else {
                    except("contract_violation");
                    continue;
                };
                if let Some((_, id)) = record.headers.get(1) {
                    match ids.get(id.as_str()) {
                        Some(payload) if *payload == value.as_slice() => {
                            except("duplicate");
                            continue;
                        }
                        Some(_) => {
                            except("idempotency_conflict");
                            continue;
                        }
                        None => ids.insert(id, value),
                    };
                }
                if number % REFUSED == 0 {
                    except("bigquery_refused");
                    continue;
                }
                let place = |number: i64| self.has_places.then_some(number);
                let (partition, offset) = (place(record.partition.into()), place(record.offset));
                expected.rows.push(Row { number, partition, offset });
            }
        }
        expected.rows.sort_unstable();
        expected
    }
}

#[derive(Default)]
struct Expected {
    rows: Vec<Row>,
    exceptions: Vec<serde_json::Value>,
}

/// The table of which a backup copies only the ids.
const DEAD_LETTERS: &str = "dead_letters";

/// A future that ends after some polls, as if its process were killed.
struct Crash<'f, F> {
    polls_left: usize,
    future: Pin<&'f mut F>,
}

impl<F: Future> Future for Crash<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls_left.checked_sub(1) else { return Poll::Ready(None) };
        self.polls_left = left;
        self.future.as_mut().poll(context).map(Some)
    }
}
