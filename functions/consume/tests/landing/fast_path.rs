//! The fast path: a batch with nothing unusual lands with one statement. A batch with anything unusual has the same
//! outcomes as if there were no fast path.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use consume::{Consume, Summary};
use serde_json::json;
use shared::contract::Registry;
use sqlx::Executor as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use testing::TestDatabase;

use crate::model;
use crate::snapshot::Snapshot;
use crate::support::{BUDGET, Function, Record, event, record, route, user_event};

fn routes(offsets: Range<i64>) -> Vec<Record> {
    offsets.map(|offset| record("routes", offset, &route(offset, 1.0))).collect()
}

/// User events whose numbers are their offsets.
fn user_events(offsets: Range<i64>) -> Vec<Record> {
    let event = |offset: i64| user_event(offset.unsigned_abs().into(), if offset % 7 == 3 { "Gouda" } else { "Delft" });
    offsets.map(|offset| record("user-events", offset, &event(offset))).collect()
}

fn on_partition(partition: i32, records: Vec<Record>) -> Vec<Record> {
    records.into_iter().map(|record| Record { partition, ..record }).collect()
}

/// Waits for the next minute if the current one may end during the test. The first batch of a minute does not take the
/// fast path.
async fn wait_for_a_minute() {
    const TEST: Duration = Duration::from_secs(10);
    const MINUTE: Duration = Duration::from_secs(60);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock shows a time after 1970");
    let left = MINUTE - Duration::from_secs(now.as_secs() % 60);
    if left < TEST {
        tokio::time::sleep(left).await;
    }
}

impl Function {
    async fn within_a_minute() -> Self {
        let function = Self::new().await;
        wait_for_a_minute().await;
        function
    }

    /// Returns the same function in another process.
    fn other_process(&self) -> Consume {
        let registry = Arc::new(Registry::load(None).expect("the contracts are right"));
        let (pool, clock, log) = (self.database.pool.clone(), self.clock.clone(), self.log.clone());
        Consume::new(pool, registry, clock, Duration::from_secs(3_600), self.metrics.clone(), log)
    }

    async fn execute(&self, sql: &str) {
        self.database.pool.execute(sql).await.expect("the SQL is executed");
    }

    /// Returns the numbers of the users whose positions have landed, in ascending order.
    async fn positions(&self) -> Vec<i64> {
        let users = sqlx::query_scalar("select user_id from public.routes_table order by 1");
        users.fetch_all(&self.database.pool).await.expect("the database answers")
    }

    /// Returns how many events were counted as written, over all minutes.
    async fn written(&self) -> i64 {
        self.database.count("select sum(written)::bigint from sluice.minutes").await
    }
}

/// Returns how many events the fast path wrote, and how many were written in all.
fn written(summary: Summary) -> (usize, usize) {
    (summary.fast_path, summary.written)
}

#[tokio::test]
async fn batches_of_a_partition_that_the_process_knows_take_the_fast_path() {
    let contracts = model::contracts();
    let function = Function::with_contracts(Some(contracts.path())).await;
    wait_for_a_minute().await;
    let gauges = |offsets: Range<i64>| -> Vec<Record> {
        offsets.map(|at| record("gauges", at, &json!({"id": 10 + at % 3, "value": at}))).collect()
    };
    for batches in
        [[routes(0..5), routes(5..25)], [user_events(0..5), user_events(5..25)], [gauges(0..5), gauges(5..25)]]
    {
        let [first, second] = batches;
        assert_eq!(written(function.land(&first).await), (0, 5));
        let summary = function.land(&second).await;
        assert_eq!((written(summary), summary.records), ((20, 20), 20));
        assert_eq!(function.land(&second).await.redelivered, 20);
    }
    assert_eq!(function.positions().await, (0..25).collect::<Vec<_>>());
    let gauges = function.database.json("select id, value from public.gauges order by id").await;
    assert_eq!(gauges, json!([{"id": 10, "value": 24}, {"id": 11, "value": 22}, {"id": 12, "value": 23}]));
    let activity = function
        .database
        .json("select topic, written, duplicates, last_offset, end_offset from sluice.minutes order by topic")
        .await;
    let row = |topic| json!({"topic": topic, "written": 25, "duplicates": 0, "last_offset": 24, "end_offset": 25});
    assert_eq!(activity, json!([row("gauges"), row("routes"), row("user-events")]));
}

#[tokio::test]
async fn a_batch_of_several_partitions_takes_the_fast_path_unless_another_process_has_moved_one_of_the_watermarks() {
    let function = Function::within_a_minute().await;
    let both = |offsets: Range<i64>| [routes(offsets.clone()), on_partition(1, routes(offsets))].concat();
    function.land(&both(0..3)).await;
    assert_eq!(written(function.land(&both(3..6)).await), (6, 6));
    let other = function.other_process();
    other.invoke(&event(&on_partition(1, routes(6..8))), BUDGET).await.expect("the batch lands");
    let summary = function.land(&both(6..9)).await;
    assert_eq!((written(summary), summary.redelivered), ((0, 4), 2));
    assert_eq!(function.positions().await.len(), 18);
    assert_eq!(function.written().await, 18);
}

#[tokio::test]
async fn a_process_continues_on_the_fast_path_where_another_process_has_stopped() {
    let function = Function::within_a_minute().await;
    let other = function.other_process();
    let land = async |consume: &Consume, offsets| {
        function.log.put("routes", 0, routes(0..100).iter().map(Record::in_log));
        consume.invoke(&event(&routes(offsets)), BUDGET).await.expect("the batch lands")
    };
    land(&function.consume, 0..10).await;
    assert_eq!(written(land(&other, 10..20).await), (10, 10), "the process takes the fast path after it asks Kafka");
    let again = land(&function.consume, 10..20).await;
    assert_eq!((written(again), again.redelivered), ((0, 0), 10));
    assert_eq!(written(land(&other, 20..30).await), (10, 10));
    assert_eq!(written(land(&function.consume, 30..40).await), (10, 10));
    assert_eq!(function.positions().await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_processes_that_land_the_same_batches_at_the_same_time_write_each_event_once() {
    let function = Function::within_a_minute().await;
    let other = function.other_process();
    let (mut fast, mut total) = (0, 0);
    for start in (0..1_000).step_by(10) {
        let batch = event(&[routes(start..start + 10), on_partition(1, routes(start..start + 10))].concat());
        let (a, b) = tokio::join!(function.consume.invoke(&batch, BUDGET), other.invoke(&batch, BUDGET));
        for summary in [a.expect("the batch lands"), b.expect("the batch lands")] {
            fast += summary.fast_path;
            total += summary.written;
        }
    }
    assert_eq!((function.positions().await.len(), total, function.written().await), (2_000, 2_000, 2_000));
    assert!(fast > 1_000, "{fast} events took the fast path");
}

#[tokio::test]
async fn an_event_whose_id_exists_is_a_duplicate_and_the_next_20_batches_skip_the_fast_path() {
    let function = Function::within_a_minute().await;
    function.land(&user_events(0..5)).await;
    let mut batch = user_events(5..8);
    batch[1] = record("user-events", 6, &user_event(2, "Delft"));
    let summary = function.land(&batch).await;
    assert_eq!((written(summary), summary.duplicates), ((0, 2), 1));
    assert_eq!(function.outcomes("user-events", 5..8).await, ["written", "duplicate", "written"]);
    let mut fast = Vec::new();
    for start in (8..128).step_by(4) {
        fast.push(function.land(&user_events(start..start + 4)).await.fast_path);
    }
    assert_eq!(fast, [[0; 20].as_slice(), &[4; 10]].concat());
    assert_eq!(
        (function.database.count("select count(*) from public.user_events").await, function.written().await),
        (127, 127)
    );
    let reported = "select sum(events)::bigint from sluice.user_event_counts where what = 'hour'";
    assert_eq!(function.database.count(reported).await, 127);
}

#[tokio::test]
async fn rows_that_a_constraint_or_a_trigger_refuses_have_the_same_outcome_in_a_new_process() {
    const DEFERRED: &str =
        r#"alter table public.routes_table add unique (user_id, "timestamp") deferrable initially deferred"#;
    const REFUSES: &str = "alter table public.routes_table add check (user_id <> 7)";
    const LEAVES_OUT: &str = "
        create function public.leave_out() returns trigger language plpgsql as
        $$ begin if new.city = 'Gouda' then return null; end if; return new; end $$;
        create trigger leave_out before insert on public.user_events for each row execute function public.leave_out()";
    let repeated = || [routes(5..8), vec![record("routes", 8, &route(6, 1.0))]].concat();
    for (rule, first, batch, rejected, duplicates) in [
        (DEFERRED, routes(0..5), repeated(), 1, 0),
        (REFUSES, routes(0..5), repeated(), 1, 0),
        (LEAVES_OUT, user_events(0..3), user_events(3..12), 0, 2),
    ] {
        let (known, unknown) = (Function::new().await, Function::new().await);
        for function in [&known, &unknown] {
            function.execute(rule).await;
            function.land(&first).await;
            for record in &batch {
                function.log.put(&record.topic, record.partition, [record.in_log()]);
            }
        }
        let summary = known.land(&batch).await;
        assert_eq!((summary.fast_path, summary.rejected, summary.duplicates), (0, rejected, duplicates), "{rule}");
        // A process that sees the partition for the first time asks Kafka about the log before it tries the fast path.
        let expected = unknown.other_process().invoke(&event(&batch), BUDGET).await.expect("the batch lands");
        assert_eq!(summary, expected, "{rule}");
        for rows in ["select * from sluice.duplicates", "select \"offset\", error_code from sluice.dead_letters"] {
            assert_eq!(
                known.database.json(rows).await.as_array().map(Vec::len),
                unknown.database.json(rows).await.as_array().map(Vec::len),
                "{rule}"
            );
        }
        assert_eq!(known.written().await, unknown.written().await, "{rule}");
    }
}

#[tokio::test]
async fn the_first_batch_of_a_minute_does_not_take_the_fast_path() {
    let function = Function::within_a_minute().await;
    function.land(&routes(0..3)).await;
    function.execute("update sluice.watermarks set minute = minute - interval '1 minute'").await;
    assert_eq!(written(function.land(&routes(3..6)).await), (0, 3));
    assert_eq!(function.database.count("select count(*) from sluice.minutes").await, 2);
    assert_eq!(function.written().await, 6);
}

#[tokio::test]
async fn a_restored_database_and_a_recreated_topic_are_noticed() {
    let function = Function::within_a_minute().await;
    function.land(&routes(0..3)).await;
    let backup = Snapshot::take(&function.database.pool, &[]).await;
    assert_eq!(written(function.land(&routes(3..6)).await), (3, 3));
    backup.restore(&function.database.pool).await;
    assert_eq!(written(function.land(&routes(6..9)).await), (3, 6), "missing records are first read from Kafka");
    assert_eq!(function.positions().await, (0..9).collect::<Vec<_>>());

    let later = |record: Record| Record { timestamp_ms: record.timestamp_ms + 60_000, ..record };
    let recreated: Vec<Record> = routes(0..4).into_iter().map(later).collect();
    let summary = function.land(&recreated).await;
    assert_eq!((summary.incarnations, written(summary)), (1, (0, 4)));
    let grown: Vec<Record> = routes(4..8).into_iter().map(later).collect();
    assert_eq!(written(function.land(&grown).await), (4, 4));
    let incarnations = function.database.json("select incarnation, next_offset from sluice.watermarks").await;
    assert_eq!(incarnations, json!([{"incarnation": 2, "next_offset": 8}]));
}

/// A proxy in front of PostgreSQL. On demand, it closes a connection instead of passing on the next request or answer.
struct Cutter {
    address: SocketAddr,
    /// Where to cut: 0 means before the next request, and 1 before the next answer. With other values, nothing is cut.
    left: Arc<AtomicUsize>,
}

impl Cutter {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let (address, left) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(usize::MAX)));
        let counted = Arc::clone(&left);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("PostgreSQL");
                tokio::spawn(pass_on(client, server, Arc::clone(&counted)));
            }
        });
        Self { address, left }
    }

    fn cut_before_the_next_request(&self) {
        self.left.store(0, Ordering::SeqCst);
    }

    fn cut_before_the_next_answer(&self) {
        self.left.store(1, Ordering::SeqCst);
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, left: Arc<AtomicUsize>) {
    let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut sent) => match read {
                Ok(read) if read > 0 && left.compare_exchange(0, usize::MAX, Ordering::SeqCst, Ordering::SeqCst).is_err() => {
                    server.write_all(&sent[..read]).await.expect("the bytes are passed on");
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(read) if read > 0 && left.compare_exchange(1, usize::MAX, Ordering::SeqCst, Ordering::SeqCst).is_err() => {
                    client.write_all(&answered[..read]).await.expect("the bytes are passed on");
                }
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_batch_whose_connection_is_cut_lands_once_over_another_connection() {
    let database = TestDatabase::create().await;
    let (start, rest) = database.url.split_once('@').expect("an address");
    let (server, end) = rest.split_once('/').expect("an address");
    let cutter = Cutter::start(server.to_owned()).await;
    let url = format!("{start}@{}/{end}", cutter.address);
    let pool = shared::database::connect(&url, 2).expect("an address");
    let function = Function::connected(database, pool, None).await;
    wait_for_a_minute().await;
    function.land(&routes(0..10)).await;
    assert_eq!(written(function.land(&routes(10..20)).await), (10, 10));

    cutter.cut_before_the_next_request();
    assert_eq!(written(function.land(&routes(20..30)).await), (10, 10), "the statement did not arrive");
    cutter.cut_before_the_next_answer();
    let summary = function.land(&routes(30..40)).await;
    assert_eq!((summary.written, summary.redelivered), (0, 10), "the statement was committed, and its answer was lost");
    assert_eq!(function.positions().await, (0..40).collect::<Vec<_>>());
    assert_eq!(function.written().await, 40);
    assert_eq!(written(function.land(&routes(40..50)).await), (10, 10));
}
