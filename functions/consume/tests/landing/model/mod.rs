//! Random histories of deliveries, with crashes, redeliveries and rewritten logs. At the end of a history, PostgreSQL
//! contains what a model in memory expects.
//!
//! `SLUICE_SEED` repeats a run, and `SLUICE_HISTORIES` sets the number of histories.

mod expected;
mod log;
mod world;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use consume::ConsumeError;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use sqlx::Executor as _;

use self::expected::Expected;
use self::log::{Entry, Log, PARTITIONS, Source};
use crate::support::{Function, Record};

const HISTORIES: u64 = 500;
const WORKERS: u64 = 4;

pub(crate) fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_histories_end_as_the_model_says() {
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    let histories = number_from("SLUICE_HISTORIES").unwrap_or(HISTORIES);
    println!("SLUICE_SEED={seed} SLUICE_HISTORIES={histories}");
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(play(seed, (worker..histories).step_by(WORKERS as usize)))
            })
        })
        .collect();
    let mut played = Played::default();
    for worker in workers {
        played.add(worker.join().expect("every history ends as the model says"));
    }
    println!("{histories} histories: {played:?}");
    assert!(histories < 100 || played.fast_path > 100, "{played:?}");
}

/// How often each thing happened in the histories that were played.
#[derive(Debug, Default)]
struct Played {
    deliveries: usize,
    /// The number of events that took the fast path.
    fast_path: usize,
}

impl Played {
    fn add(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.fast_path += other.fast_path;
    }
}

/// Plays histories on a database of their own.
async fn play(seed: u64, histories: impl Iterator<Item = u64>) -> Played {
    let contracts = contracts();
    let function = Function::with_contracts(Some(contracts.path())).await;
    let checks = "alter table public.routes_table add check (user_id <> 13);
                  create table landing.model (id bigint, value integer);
                  create index on landing.model (id)";
    function.database.pool.execute(checks).await.expect("the tables are prepared");
    let mut played = Played::default();
    for history in histories {
        played.add(run(&function, seed.wrapping_add(history)).await);
    }
    played
}

/// Writes the built-in contracts, and one of mode `upsert`, to a folder.
pub(crate) fn contracts() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let built_in = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contracts");
    for file in std::fs::read_dir(built_in).expect("the built-in contracts") {
        let path = file.expect("a file").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("the contract is copied");
    }
    let gauge = json!({
        "type": "object",
        "required": ["id", "value"],
        "properties": {"id": {"type": "integer"}, "value": {"type": "integer"}},
        "x-sluice": {
            "topic": "gauges", "partitions": 1, "key": ["/id"], "mode": "upsert", "table": "public.gauges",
            "columns": {"id": {"from": "/id", "type": "bigint"}, "value": {"from": "/value", "type": "bigint"}}
        }
    });
    std::fs::write(folder.path().join("gauge.json"), gauge.to_string()).expect("the contract is written");
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    let migration = "create table public.gauges (id bigint primary key, value bigint, check (id <> 5))";
    std::fs::write(folder.path().join("migrations/1000_gauges.sql"), migration).expect("the migration is written");
    folder
}

/// Plays one history.
async fn run(function: &Function, seed: u64) -> Played {
    clear(function).await;
    let mut source = Source::new(StdRng::seed_from_u64(seed));
    let mut expected = Expected::default();
    let mut logs: Vec<Log> = PARTITIONS
        .iter()
        .map(|&(topic, partition)| Log {
            topic,
            partition,
            incarnation: 1,
            entries: Vec::new(),
            committed: 0,
            skew_ms: 0,
        })
        .collect();
    let mut played = Played::default();
    for _ in 0..source.below(12) + 3 {
        for log in &mut logs {
            for _ in 0..source.below(5) {
                source.append(log);
            }
        }
        // Kafka does not order the records of different partitions, so only some partitions advance at a time.
        let mut chosen: Vec<bool> = logs.iter().map(|_| source.chance(0.5)).collect();
        if source.chance(0.4) {
            // A batch of a real event source mapping has records of only one topic.
            let topic = logs[source.below(logs.len())].topic;
            chosen = logs.iter().map(|log| log.topic == topic).collect();
        }
        played.add(deliver(function, &mut source, &mut expected, &mut logs, &chosen, seed).await);
        let index = source.below(logs.len());
        let log = &mut logs[index];
        // `consume` cannot notice an incarnation if none of its records were delivered.
        let is_known = log.entries[..log.committed].iter().any(|entry| entry.place.3 == log.incarnation);
        if is_known && source.chance(0.15) {
            rewrite(&mut source, log);
        }
    }
    played.add(deliver(function, &mut source, &mut expected, &mut logs, &[true; PARTITIONS.len()], seed).await);
    compare(function, &expected, seed).await;
    played
}

/// Recreates a topic or truncates its log, and appends a record.
fn rewrite(source: &mut Source, log: &mut Log) {
    let applied = log.committed;
    // `consume` notices a rewritten log by records with newer timestamps, or by another hash at the offset of the first
    // or last applied record. If the producer's clock is behind, the timestamps reveal nothing, and the new log may be
    // too short to have a record at the offset of the last applied record. The clock is therefore set back only if the
    // first record is replaced and the ledger has the old record's hash. After an earlier truncation, the ledger may
    // lack it.
    let first_is_known = log.entries.first().is_some_and(|entry| entry.place.3 == log.incarnation);
    let kept = if source.chance(0.5) { 0 } else { source.below(applied) };
    // Records that were not delivered are lost with the log. No consumer can notice their loss.
    log.entries.truncate(kept);
    log.incarnation += 1;
    log.committed = kept;
    if kept == 0 && first_is_known && source.chance(0.5) {
        log.skew_ms -= 1_000_000;
    }
    source.append(log);
}

/// Delivers new records of the chosen logs, with random faults. Sometimes old records precede the new ones.
async fn deliver(
    function: &Function,
    source: &mut Source,
    expected: &mut Expected,
    logs: &mut [Log],
    chosen: &[bool],
    seed: u64,
) -> Played {
    let mut batch: Vec<Entry> = Vec::new();
    for (log, _) in logs.iter_mut().zip(chosen).filter(|(_, chosen)| **chosen) {
        // A redelivery begins below the committed offset, but not before the current incarnation.
        let begin = log.entries.iter().position(|entry| entry.place.3 == log.incarnation).unwrap_or(log.committed);
        let from = match source.chance(0.3) && log.committed > begin {
            true => begin + source.below(log.committed - begin),
            false => log.committed,
        };
        let until = log.committed + source.below(log.entries.len() - log.committed + 1);
        batch.extend_from_slice(&log.entries[from.min(until)..until]);
        log.committed = log.committed.max(until);
    }
    let records: Vec<Record> = batch.iter().map(Entry::record).collect();
    let mut played = Played::default();
    match source.below(5) {
        0 => {
            // The function crashes at a random point, before or after its commit. The batch is delivered again.
            let polls = source.below(40);
            let _crashed = Crash { polls_left: polls, future: pin!(function.deliver(&records)) }.await;
            played.deliveries += 1;
        }
        1 => {
            let (a, b) = tokio::join!(function.deliver(&records), function.deliver(&records));
            played.deliveries += 2;
            assert!(a.is_ok() || b.is_ok(), "seed {seed}: {a:?} {b:?}");
            played.fast_path += [a, b].into_iter().flatten().map(|summary| summary.fast_path).sum::<usize>();
        }
        _ => {}
    }
    // Like the mapping, this loop delivers the batch until it lands. A crashed delivery may still hold locks, which
    // make the next delivery fail.
    loop {
        played.deliveries += 1;
        match function.deliver(&records).await {
            Ok(summary) => {
                played.fast_path += summary.fast_path;
                break;
            }
            Err(error) => {
                assert!(matches!(error, ConsumeError::Retry(_)), "seed {seed}: {error}");
                assert!(played.deliveries < 20, "seed {seed}: {error}");
            }
        }
    }
    if source.chance(0.2) {
        let again = function.land(&records).await;
        assert_eq!(again.redelivered, again.records, "seed {seed}: a batch that has landed changes nothing");
        played.deliveries += 1;
    }
    expected.apply(&batch);
    played
}

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

const TABLES: &str = "sluice.watermarks, sluice.gaps, sluice.dead_letters, sluice.waiting, sluice.event_ids, sluice.duplicates, sluice.activity,
     public.routes_table, public.user_events, public.gauges, landing.model, public.cities, public.countries, public.continents";

async fn clear(function: &Function) {
    function.log.clear();
    let deletes: Vec<String> = TABLES.split(',').map(|table| format!("delete from {table}")).collect();
    function.database.pool.execute(deletes.join(";").as_str()).await.expect("the tables are cleared");
}

async fn compare(function: &Function, expected: &Expected, seed: u64) {
    let mut routes = expected.routes.clone();
    routes.sort_unstable();
    let continents: Vec<_> = expected.continents.iter().map(|(name, population)| json!([name, population])).collect();
    let countries: Vec<_> =
        expected.countries.iter().map(|(name, (continent, n))| json!([name, continent, n])).collect();
    let cities: Vec<_> = expected.cities.iter().map(|((country, name), n)| json!([country, name, n])).collect();
    let place =
        |(topic, partition, offset, incarnation): expected::Place| json!([topic, partition, offset, incarnation]);
    let dead: Vec<_> = expected.dead.iter().map(|(at, code)| json!([place(*at), code])).collect();
    let duplicates: Vec<_> = expected.duplicates().map(|(at, code)| json!([place(at), code])).collect();
    let mut waiting: Vec<_> =
        expected.waiting.iter().map(|waiter| (waiter.place, json!([place(waiter.place), waiter.parent]))).collect();
    waiting.sort_by_key(|(at, _)| *at);
    let user_events = expected.user_events.iter();
    let activity = expected.activity.iter().map(|((topic, partition, incarnation), counts)| {
        json!([
            topic,
            partition,
            incarnation,
            counts.written,
            counts.duplicates,
            counts.waiting,
            counts.released,
            counts.rejected,
            counts.tombstones,
            counts.replays,
            counts.last_offset
        ])
    });
    let checks: [(&str, &str, Value); 11] = [
        ("routes", "select user_id from public.routes_table order by 1", json!(routes)),
        (
            "user events",
            "select json_build_array(id, city) from public.user_events order by id",
            user_events.map(|(id, city)| json!([uuid::Uuid::from_u128(*id).to_string(), city])).collect(),
        ),
        (
            "gauges",
            "select json_build_array(id, value) from public.gauges order by id",
            expected.gauges.iter().map(|(id, value)| json!([id, value])).collect(),
        ),
        (
            "continents",
            "select json_build_array(name, population) from public.continents order by name",
            json!(continents),
        ),
        (
            "countries",
            "select json_build_array(name, continent, population) from public.countries order by name",
            json!(countries),
        ),
        (
            "cities",
            "select json_build_array(country, name, population) from public.cities order by country, name",
            json!(cities),
        ),
        (
            "dead letters",
            r#"select json_build_array(json_build_array(topic, "partition", "offset", incarnation), error_code)
               from sluice.dead_letters order by topic, "partition", "offset", incarnation"#,
            json!(dead),
        ),
        (
            "duplicates",
            r#"select json_build_array(json_build_array(topic, "partition", "offset", incarnation), error_code)
               from sluice.duplicates left join sluice.event_ids using (stream, id_hash) order by topic, "partition", "offset", incarnation"#,
            json!(duplicates),
        ),
        (
            "waiting",
            r#"select json_build_array(json_build_array(topic, "partition", "offset", incarnation), parent_key)
               from sluice.waiting order by topic, "partition", "offset", incarnation"#,
            waiting.into_iter().map(|(_, row)| row).collect(),
        ),
        (
            "changed rows",
            "select json_build_array(id, value) from landing.model order by id",
            expected.landed.iter().map(|(id, value)| json!([id, value])).collect(),
        ),
        (
            "activity",
            r#"select json_build_array(topic, "partition", incarnation, sum(written), sum(duplicates), sum(waiting), sum(released),
                                       sum(rejected), sum(tombstones), sum(replays), max(last_offset))
               from sluice.minutes group by topic, "partition", incarnation order by topic, "partition", incarnation"#,
            activity.collect(),
        ),
    ];
    let mut differences = Vec::new();
    for (what, query, expected) in checks {
        let query = format!("select coalesce(json_agg(q.v), '[]') from ({query}) q (v)");
        let found: Value =
            sqlx::query_scalar(&query).fetch_one(&function.database.pool).await.expect("the database answers");
        let only_in = |a: &Value, b: &Value| -> Vec<String> {
            let (a, b) = (a.as_array().cloned().unwrap_or_default(), b.as_array().cloned().unwrap_or_default());
            a.iter().filter(|row| !b.contains(row)).map(Value::to_string).collect()
        };
        let (surplus, missing) = (only_in(&found, &expected), only_in(&expected, &found));
        if found != expected {
            differences.push(format!("{what}: surplus {surplus:?}, missing {missing:?}"));
        }
    }
    assert!(differences.is_empty(), "SLUICE_SEED={seed} SLUICE_HISTORIES=1: {}", differences.join("; "));
}
