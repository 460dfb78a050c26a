//! Random histories with restores and rewritten logs. In any order, the database is restored to an earlier commit,
//! consumer groups are moved, logs are truncated, topics are recreated, and retention and compaction delete records.
//!
//! No two records are equal, so the landing table shows which records were written, and how often. At the end of a
//! history, none of the records in the log is lost, no record was written twice, and every receipt is true.
//!
//! `SLUICE_SEED` repeats a run, and `SLUICE_WORLDS` sets the number of histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consume::{Consume, ConsumeError};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::ledger::receipts::{self, Status};
use sqlx::Executor as _;

use super::number_from;
use crate::memory_log::MemoryLog;
use crate::snapshot::writable_columns;
use crate::support::{BUDGET, Function, NOW_MS, Record, event, route};

const HISTORIES: u64 = 1_000;
const WORKERS: u64 = 4;
const TOPIC: &str = "routes";
const GROUP: &str = "sluice-routes";
const PARTITIONS: usize = 2;

#[test]
fn no_record_is_lost_or_written_twice_and_every_receipt_is_true_whatever_happens_to_database_or_groups_or_logs() {
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    let histories = number_from("SLUICE_WORLDS").unwrap_or(HISTORIES);
    println!("SLUICE_SEED={seed} SLUICE_WORLDS={histories}");
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let function = Function::new().await;
                    let mut seen = Seen::default();
                    for history in (worker..histories).step_by(WORKERS as usize) {
                        World::new(&function, seed.wrapping_add(history)).await.play(&mut seen).await;
                    }
                    seen
                })
            })
        })
        .collect();
    let mut seen = Seen::default();
    for worker in workers {
        seen.add(worker.join().expect("every history ends well"));
    }
    println!("{histories} histories: {:?}", seen.0);
    // Every situation occurs in a run of this size.
    if histories >= 500 {
        for what in [
            "restored",
            "recreated",
            "truncated",
            "deleted",
            "compacted",
            "group moved",
            "gaps",
            "incarnations",
            "fast path",
        ] {
            assert!(seen.0.contains_key(what), "{what} never occurred: {:?}", seen.0);
        }
    }
}

/// How often each situation occurred.
#[derive(Debug, Default)]
struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

/// The kind of a record's content, which follows from the record's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Valid,
    Invalid,
    Tombstone,
}

fn kind(number: i64) -> Kind {
    match number % 11 {
        3 => Kind::Invalid,
        7 => Kind::Tombstone,
        _ => Kind::Valid,
    }
}

/// A partition's log: the records' numbers by offset.
#[derive(Debug, Default)]
struct Log {
    start: i64,
    end: i64,
    records: BTreeMap<i64, i64>,
    committed: i64,
    /// How many times the log was truncated or recreated.
    rewrites: usize,
}

/// A copy of the database, and how often each log had been rewritten when the copy was made.
struct Backup {
    tables: Vec<Value>,
    rewrites: Vec<usize>,
    last_offsets: BTreeMap<i32, (i64, i64)>,
}

struct World<'f> {
    function: &'f Function,
    seed: u64,
    random: StdRng,
    memory: Arc<MemoryLog>,
    consume: Consume,
    logs: Vec<Log>,
    number: i64,
    /// Whether compaction has removed records. Once it has, the test adds no more transaction markers.
    compacted: bool,
}

const TABLES: [&str; 5] =
    ["sluice.watermarks", "sluice.gaps", "sluice.dead_letters", "sluice.activity", "public.routes_table"];

impl<'f> World<'f> {
    async fn new(function: &'f Function, seed: u64) -> Self {
        let deletes: Vec<String> = TABLES.iter().map(|table| format!("delete from {table}")).collect();
        function.database.pool.execute(deletes.join(";").as_str()).await.expect("the tables are cleared");
        let memory = Arc::new(MemoryLog::default());
        let consume = process(function, &memory);
        let logs = (0..PARTITIONS).map(|_| Log::default()).collect();
        let random = StdRng::seed_from_u64(seed);
        let mut world = Self { function, seed, random, memory, consume, logs, number: 0, compacted: false };
        for partition in 0..PARTITIONS {
            world.append(partition);
        }
        world
    }

    async fn play(mut self, seen: &mut Seen) {
        let mut backup: Option<Backup> = None;
        for _ in 0..self.below(14) + 4 {
            for partition in 0..PARTITIONS {
                for _ in 0..self.below(5) {
                    self.append(partition);
                }
            }
            let partition = self.below(PARTITIONS);
            match self.below(12) {
                0 | 1 => backup = Some(self.back_up().await),
                2 | 3 => {
                    if let Some(backup) = backup.take().filter(|backup| self.is_recognisable(backup)) {
                        seen.note("restored");
                        self.restore(backup).await;
                    }
                }
                4 => {
                    seen.note("group moved");
                    let log = &mut self.logs[partition];
                    log.committed = self.random.random_range(log.start..=log.end);
                }
                5 => {
                    self.compare_if_unnoticed(partition, seen).await;
                    seen.note("deleted");
                    let log = &mut self.logs[partition];
                    log.start = self.random.random_range(log.start..=log.end);
                    let start = log.start;
                    log.records.retain(|offset, _| *offset >= start);
                    self.memory.delete_before(TOPIC, number(partition), start);
                }
                6 => {
                    self.compare_if_unnoticed(partition, seen).await;
                    seen.note("compacted");
                    self.compact(partition);
                }
                7 | 8 => self.rewrite(partition, seen).await,
                9 => self.consume = process(self.function, &self.memory),
                10 => self.compare(seen).await,
                _ => {}
            }
            if self.chance(0.7) {
                self.deliver(seen).await;
            }
        }
        self.finish(seen).await;
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.random_range(0..bound)
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.random.random_bool(chance)
    }

    fn append(&mut self, partition: usize) {
        self.number += 1;
        let log = &mut self.logs[partition];
        // Leaves an offset for a transaction marker.
        if !self.compacted && self.random.random_bool(0.1) && log.end > 0 {
            log.end += 1;
        }
        log.records.insert(log.end, self.number);
        self.memory.append(TOPIC, number(partition), record(partition, log.end, self.number).in_log());
        log.end += 1;
    }

    /// Compares the watermarks with Kafka if the ledger does not yet show how often the log was rewritten. After a
    /// restore, the function asks Kafka for the records at the offsets of the first and the last applied record. If
    /// Kafka has other records there, the function knows that the log was rewritten. The comparison must happen before
    /// Kafka removes these other records. In production, a comparison happens every minute.
    async fn compare_if_unnoticed(&mut self, partition: usize, seen: &mut Seen) {
        const REWRITES: &str =
            r#"select cardinality(incarnation_starts) - 1 from sluice.watermarks where "partition" = $1"#;
        let pool = &self.function.database.pool;
        let noticed: Option<i32> = sqlx::query_scalar(REWRITES)
            .bind(number(partition))
            .fetch_optional(pool)
            .await
            .expect("the database answers");
        if noticed.is_some_and(|noticed| usize::try_from(noticed) != Ok(self.logs[partition].rewrites)) {
            self.compare(seen).await;
        }
    }

    /// Removes random records. As with real compaction, the newest record stays.
    fn compact(&mut self, partition: usize) {
        self.compacted = true;
        self.memory.set_compacted(true);
        let log = &mut self.logs[partition];
        let last = log.records.keys().next_back().copied();
        let removed: Vec<i64> = log.records.keys().copied().filter(|offset| Some(*offset) != last).collect();
        for offset in removed {
            if self.random.random_bool(0.3) {
                log.records.remove(&offset);
                self.memory.remove(TOPIC, number(partition), offset);
            }
        }
    }

    /// Truncates a log or recreates its topic, and writes more records. Does nothing if the log lacks the last applied
    /// record or the group's offset is not above that record, because the function could then not notice the change. A
    /// running process notices the change when the event source mapping goes back to where the log was cut, or when the
    /// process compares the watermarks with Kafka.
    async fn rewrite(&mut self, partition: usize, seen: &mut Seen) {
        let Some((_, last)) = self.evidence().await.get(&number(partition)).copied() else { return };
        if !self.logs[partition].records.contains_key(&last) || self.logs[partition].committed <= last {
            return;
        }
        let first = self.logs[partition].records.keys().next().copied().unwrap_or(0);
        let kept = if self.chance(0.5) { None } else { Some(self.random.random_range(first..=last)) };
        let log = &mut self.logs[partition];
        log.rewrites += 1;
        match kept {
            Some(kept) if kept > first => {
                seen.note("truncated");
                log.records.retain(|offset, _| *offset < kept);
                log.end = kept;
                log.committed = kept;
                self.memory.truncate(TOPIC, number(partition), kept);
            }
            Some(_) | None => {
                seen.note("recreated");
                *log = Log { rewrites: log.rewrites, ..Log::default() };
                self.memory.recreate(TOPIC, number(partition));
            }
        }
        for _ in 0..self.below(8) + 1 {
            self.append(partition);
        }
        match self.below(3) {
            0 => self.compare(seen).await,
            1 => {
                // The mapping continues at a random offset, and invokes a new process.
                self.consume = process(self.function, &self.memory);
                let log = &mut self.logs[partition];
                log.committed = self.random.random_range(log.start..log.end);
            }
            _ => {}
        }
        // The new records are applied before the log can be rewritten again.
        self.deliver_from(partition, seen).await;
        self.compare(seen).await;
    }

    /// Delivers the remaining records of a partition.
    async fn deliver_from(&mut self, partition: usize, seen: &mut Seen) {
        let until = self.logs[partition].end;
        let batch = self.batch(partition, until);
        self.invoke(&batch, seen).await;
    }

    /// Returns the records from the group's offset to `until`, and moves the group's offset there.
    fn batch(&mut self, partition: usize, until: i64) -> Vec<Record> {
        let log = &mut self.logs[partition];
        let range = log.committed.max(log.start)..until.max(log.committed).max(log.start);
        let batch = log.records.range(range.clone()).map(|(offset, number)| record(partition, *offset, *number));
        log.committed = range.end;
        batch.collect()
    }

    async fn deliver(&mut self, seen: &mut Seen) {
        let mut batch = Vec::new();
        for partition in 0..PARTITIONS {
            if self.chance(0.6) {
                let log = &self.logs[partition];
                let from = log.committed.clamp(log.start, log.end);
                let until = self.random.random_range(from..=log.end);
                batch.extend(self.batch(partition, until));
            }
        }
        self.invoke(&batch, seen).await;
    }

    async fn invoke(&mut self, batch: &[Record], seen: &mut Seen) {
        let payload = event(batch);
        for _ in 0..10 {
            match self.consume.invoke(&payload, BUDGET).await {
                Ok(summary) => {
                    (0..summary.incarnations).for_each(|_| seen.note("incarnations"));
                    if summary.skipped_offsets > 0 {
                        seen.note("gaps");
                    }
                    if summary.fast_path > 0 {
                        seen.note("fast path");
                    }
                    if self.chance(0.2) {
                        let again = self.consume.invoke(&payload, BUDGET).await.expect("the batch is delivered again");
                        assert_eq!(again.written, 0, "SLUICE_SEED={} SLUICE_WORLDS=1", self.seed);
                    }
                    return;
                }
                Err(ConsumeError::CatchingUp | ConsumeError::Retry(_)) => {}
                Err(error) => panic!("SLUICE_SEED={} SLUICE_WORLDS=1: {error}", self.seed),
            }
        }
        panic!("SLUICE_SEED={} SLUICE_WORLDS=1: the batch does not land", self.seed);
    }

    async fn compare(&mut self, seen: &mut Seen) {
        for partition in 0..PARTITIONS {
            self.memory.commit(GROUP, TOPIC, number(partition), self.logs[partition].committed);
        }
        let summary = self.consume.compare(BUDGET).await.expect("the comparison succeeds");
        (0..summary.incarnations).for_each(|_| seen.note("incarnations"));
    }

    async fn back_up(&self) -> Backup {
        let mut tables = Vec::new();
        for table in TABLES {
            tables.push(self.function.database.json(&format!("select * from {table}")).await);
        }
        let rewrites = self.logs.iter().map(|log| log.rewrites).collect();
        Backup { tables, rewrites, last_offsets: self.evidence().await }
    }

    /// Returns the offsets of each partition's first and last applied record, according to the ledger.
    async fn evidence(&self) -> BTreeMap<i32, (i64, i64)> {
        const SELECT: &str =
            r#"select "partition", first_offset, last_offset from sluice.watermarks where last_offset >= 0"#;
        let rows: Vec<(i32, i64, i64)> =
            sqlx::query_as(SELECT).fetch_all(&self.function.database.pool).await.expect("the database answers");
        rows.into_iter().map(|(partition, first, last)| (partition, (first, last))).collect()
    }

    /// Returns whether a restored ledger would reveal that a log was rewritten after the backup. The ledger has the
    /// hashes of the first and the last applied record. The function compares these hashes with the log's records at
    /// the same offsets, so retention and compaction must not have removed these records.
    fn is_recognisable(&self, backup: &Backup) -> bool {
        (0..PARTITIONS).all(|partition| {
            let log = &self.logs[partition];
            let known = backup.last_offsets.get(&number(partition));
            let is_there = |offset: &i64| log.records.contains_key(offset) || *offset >= log.end;
            log.rewrites == backup.rewrites[partition]
                || known.is_some_and(|(first, last)| is_there(first) && is_there(last) && log.start == 0)
        })
    }

    async fn restore(&mut self, backup: Backup) {
        let mut connection = self.function.database.pool.acquire().await.expect("a connection");
        // Sequences are left as they are, so ids that were assigned since the backup are not assigned again.
        for (table, rows) in TABLES.iter().zip(&backup.tables) {
            sqlx::query(&format!("delete from {table}")).execute(&mut *connection).await.expect("the table is cleared");
            let columns = writable_columns(&mut *connection, table).await.expect("the table exists");
            let insert = format!(
                "insert into {table} ({columns}) overriding system value
                 select {columns} from jsonb_populate_recordset(null::{table}, $1)"
            );
            sqlx::query(&insert).bind(rows).execute(&mut *connection).await.expect("the table is restored");
        }
        if self.chance(0.5) {
            self.consume = process(self.function, &self.memory);
        }
    }

    /// Checks that the counts in `sluice.minutes` equal the numbers of rows and dead letters, and that the recorded end
    /// of each log is the real one.
    async fn check_activity(&self, written: usize, at: &str) {
        let pool = &self.function.database.pool;
        let sums: (i64, i64, i64) = sqlx::query_as(
            "select sum(written)::bigint, sum(rejected)::bigint, (select count(*) from sluice.dead_letters)
             from sluice.minutes",
        )
        .fetch_one(pool)
        .await
        .expect("the database answers");
        assert_eq!((usize::try_from(sums.0), sums.1), (Ok(written), sums.2), "{at}");
        let ends: Vec<i64> = sqlx::query_scalar(
            r#"select max(a.end_offset) from sluice.minutes a join sluice.watermarks w using (topic, "partition", incarnation)
               group by a."partition" order by a."partition""#,
        )
        .fetch_all(pool)
        .await
        .expect("the database answers");
        assert_eq!(ends.len(), PARTITIONS, "{at}");
        for (log, known) in self.logs.iter().zip(ends) {
            // If a log lost only records that were never applied, the ledger does not show the loss, and the recorded
            // end is too high.
            let was_longer = log.rewrites > 0 && known > log.end;
            assert!(known == log.end || was_longer, "{at}: {known}, not {}", log.end);
        }
    }

    /// Delivers the remaining records, compares, and then checks the outcome of every record.
    async fn finish(mut self, seen: &mut Seen) {
        for partition in 0..PARTITIONS {
            self.append(partition);
            self.deliver_from(partition, seen).await;
        }
        self.compare(seen).await;
        let rows: Vec<i64> = sqlx::query_scalar("select user_id from public.routes_table order by 1")
            .fetch_all(&self.function.database.pool)
            .await
            .expect("the database answers");
        let written: BTreeSet<i64> = rows.iter().copied().collect();
        let at = format!("SLUICE_SEED={} SLUICE_WORLDS=1", self.seed);
        assert_eq!(written.len(), rows.len(), "{at}: a record was written twice: {rows:?}");
        self.check_activity(rows.len(), &at).await;
        for (partition, log) in self.logs.iter().enumerate() {
            let places: Vec<(i32, i64)> = (0..log.end + 2).map(|offset| (number(partition), offset)).collect();
            let outcomes = receipts::look_up(&self.function.database.pool, Some(&*self.memory), TOPIC, &places);
            let outcomes = outcomes.await.expect("the receipts are looked up");
            for ((_, offset), outcome) in places.into_iter().zip(outcomes) {
                let (status, present) = (outcome.status(), log.records.get(&offset).copied());
                let expected = match present.map(|number| (kind(number), written.contains(&number))) {
                    _ if offset >= log.end => [Status::Pending, Status::Pending],
                    Some((Kind::Valid, true) | (Kind::Tombstone, _)) => [Status::Written, Status::Written],
                    Some((Kind::Invalid, _)) => [Status::Rejected, Status::Rejected],
                    Some((Kind::Valid, false)) => {
                        panic!("{at}: lost: {partition}@{offset} {present:?} is {status:?}; {log:?}")
                    }
                    // The log no longer has the record, which was removed either after or before it was applied.
                    None if status == Status::Rejected => [Status::Rejected, Status::Rejected],
                    None => [Status::Written, Status::Lost],
                };
                assert!(expected.contains(&status), "{at}: {partition}@{offset} {present:?} is {status:?}; {log:?}");
            }
        }
    }
}

/// Starts the function in a new process, which has no cache.
fn process(function: &Function, memory: &Arc<MemoryLog>) -> Consume {
    let registry = Arc::new(Registry::load(None).expect("the contracts are right"));
    let (pool, clock, metrics) = (function.database.pool.clone(), function.clock.clone(), function.metrics.clone());
    let reader = Arc::clone(memory);
    Consume::new(pool, registry, clock, Duration::from_secs(3_600), metrics, reader)
}

fn number(partition: usize) -> i32 {
    i32::try_from(partition).unwrap_or_default()
}

fn record(partition: usize, offset: i64, about: i64) -> Record {
    let value = match kind(about) {
        Kind::Valid => Some(route(about, 1.0)),
        Kind::Invalid => Some(json!({"userID": "nobody"})),
        Kind::Tombstone => None,
    };
    Record {
        topic: TOPIC.to_owned(),
        partition: number(partition),
        offset,
        timestamp_ms: NOW_MS + about,
        key: None,
        value: value.map(|value| value.to_string().into_bytes()),
        headers: Vec::new(),
    }
}
