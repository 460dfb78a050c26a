//! If a batch skips offsets above the watermark, `consume` reads the records at these offsets from Kafka. Offsets at
//! which Kafka no longer has a record are stored as gaps.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consume::{Consume, ConsumeError};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::kafka::reader::{KafkaReader, LogRecord};
use shared::kafka::{KafkaSettings, Outgoing, Producer, topics};

use crate::snapshot::Snapshot;
use crate::support::{BUDGET, Function, NOW_MS, Record, record, route};

fn routes(offsets: Range<i64>) -> Vec<Record> {
    offsets.map(|offset| record("routes", offset, &route(offset, 1.0))).collect()
}

/// Returns records that differ from those of [`routes`], with timestamps a minute later.
fn other_routes(offsets: Range<i64>) -> Vec<Record> {
    let later = |record: Record| Record { timestamp_ms: record.timestamp_ms + 60_000, ..record };
    offsets.map(|offset| later(record("routes", offset, &route(1_000 + offset, 1.0)))).collect()
}

impl Function {
    /// Adds records to Kafka's log without delivering them.
    fn send(&self, records: &[Record]) {
        for record in records {
            self.log.put(&record.topic, record.partition, [record.in_log()]);
        }
    }

    async fn users(&self) -> Value {
        self.database.json("select user_id from public.routes_table order by user_id").await
    }

    async fn gaps(&self) -> Value {
        let select =
            "select incarnation, first_offset, last_offset, cause from sluice.gaps order by incarnation, first_offset";
        self.database.json(select).await
    }

    async fn restored(&self) -> Snapshot {
        Snapshot::take(&self.database.pool, &[]).await
    }

    /// Returns the same function in a new process.
    fn restarted(&self) -> Consume {
        let registry = Arc::new(Registry::load(None).expect("the contracts are right"));
        let (pool, clock, log) = (self.database.pool.clone(), self.clock.clone(), self.log.clone());
        Consume::new(pool, registry, clock, Duration::from_secs(3_600), self.metrics.clone(), log)
    }
}

fn users(users: impl IntoIterator<Item = i64>) -> Value {
    users.into_iter().map(|user| json!({ "user_id": user })).collect()
}

fn gap(incarnation: i32, first: i64, last: i64, cause: &str) -> Value {
    json!({"incarnation": incarnation, "first_offset": first, "last_offset": last, "cause": cause})
}

#[tokio::test]
async fn events_missing_from_a_restored_database_are_read_from_kafka_before_the_next_batch() {
    let function = Function::new().await;
    function.land(&routes(0..2)).await;
    let backup = function.restored().await;
    function.land(&routes(2..5)).await;
    backup.restore(&function.database.pool).await;

    let summary = function.land(&routes(5..8)).await;
    assert_eq!((summary.written, summary.skipped_offsets), (6, 0));
    assert_eq!(function.users().await, users(0..8));
    assert_eq!(function.gaps().await, json!([]));
    assert_eq!(function.outcomes("routes", 0..9).await, [vec!["written"; 8], vec!["pending"]].concat());
}

#[tokio::test]
async fn events_missing_from_a_restored_database_are_read_from_a_real_kafka() {
    let contracts = tempfile::tempdir().expect("a folder");
    let topic = format!("gaps-{}", rand::random::<u64>());
    let contract =
        include_str!("../../../../shared/contracts/route.json").replace("\"routes\"", &format!("\"{topic}\""));
    std::fs::write(contracts.path().join("route.json"), contract).expect("the contract is written");
    let registry = Arc::new(Registry::load(Some(contracts.path())).expect("the contracts are right"));
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").expect("run the tests under cargo local with-servers");
    let kafka = KafkaSettings::plaintext(servers);
    topics::ensure(&kafka, &registry).await.expect("the topic is created");
    let producer = Producer::new(&kafka).expect("a producer");
    let function = Function::new().await;
    let (pool, clock, wait) = (function.database.pool.clone(), function.clock.clone(), Duration::from_secs(1));
    let reader = Arc::new(KafkaReader::new(kafka));
    let consume = Consume::new(pool.clone(), registry, clock, wait, function.metrics.clone(), reader);

    // The events are sent one by one, so that each event's user number is its offset.
    let mut sent = Vec::new();
    for user in 0..6 {
        let value = route(user, 1.0).to_string().into_bytes();
        let outgoing = Outgoing { topic: &topic, key: Some(b"k"), value: Some(&value), headers: &[] };
        let at = producer.send(&[outgoing]).await.remove(0).expect("the record is acknowledged");
        sent.push(Record {
            topic: topic.clone(),
            partition: at.partition,
            offset: at.offset,
            timestamp_ms: at.timestamp_ms,
            key: Some(b"k".to_vec()),
            value: Some(value),
            headers: Vec::new(),
        });
    }
    let deliver = async |records: &[Record]| consume.invoke(&crate::support::event(records), BUDGET).await;
    deliver(&sent[..1]).await.expect("the batch lands");
    let backup = function.restored().await;
    deliver(&sent[1..4]).await.expect("the batch lands");
    backup.restore(&pool).await;
    let summary = deliver(&sent[4..]).await.expect("the batch lands");
    assert_eq!((summary.written, summary.redelivered, summary.incarnations), (5, 0, 0));
    assert_eq!(function.users().await, users(0..6));
}

#[tokio::test]
async fn comparing_the_watermarks_with_kafka_lands_the_records_that_the_consumer_group_has_committed_and_no_others() {
    let function = Function::new().await;
    function.land(&routes(0..2)).await;
    let backup = function.restored().await;
    function.land(&routes(2..5)).await;
    backup.restore(&function.database.pool).await;
    // The event source mapping has not delivered these two records yet, perhaps because the mapping is paused.
    function.send(&routes(5..7));
    function.log.commit("sluice-routes", "routes", 0, 5);

    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}).to_string();
    let summary = function.consume.invoke(event.as_bytes(), BUDGET).await.expect("the comparison succeeds");
    assert_eq!((summary.written, summary.records), (3, 3));
    assert_eq!(function.users().await, users(0..5));
    let again = function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(again.records, 0);
    assert_eq!(function.outcomes("routes", 4..6).await, ["written", "pending"]);
}

#[tokio::test]
async fn a_comparison_or_the_next_batch_stores_a_gap_for_records_that_retention_deleted() {
    let function = Function::new().await;
    function.land(&routes(0..2)).await;
    function.send(&routes(2..9));
    function.log.delete_before("routes", 0, 4);
    let compared = function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(compared.skipped_offsets, 2);
    assert_eq!(function.gaps().await, json!([gap(1, 2, 3, "retention")]));

    function.log.delete_before("routes", 0, 6);
    let summary = function.land(&routes(8..9)).await;
    assert_eq!((summary.written, summary.skipped_offsets), (3, 2));
    assert_eq!(function.gaps().await, json!([gap(1, 2, 5, "retention")]));
    assert_eq!(function.users().await, users([0, 1, 6, 7, 8]));
    let (written, lost) = ("written", "lost");
    let outcomes = function.outcomes("routes", 0..9).await;
    assert_eq!(outcomes, [written, written, lost, lost, lost, lost, written, written, written]);
    let metrics = function.metrics.prometheus();
    assert!(metrics.lines().any(|line| line == r#"sluice_gaps_total{stream="route"} 4"#), "{metrics}");
}

#[tokio::test]
async fn records_before_the_first_batch_of_a_partition_are_read_from_the_log() {
    let function = Function::new().await;
    function.send(&routes(0..6));
    function.log.delete_before("routes", 0, 2);
    assert_eq!(function.land(&routes(4..6)).await.written, 4);
    assert_eq!(function.users().await, users(2..6));
    assert_eq!(function.gaps().await, json!([gap(1, 0, 1, "retention")]));
}

#[tokio::test]
async fn holes_left_by_transactions_or_compaction_are_stored_as_gaps_with_their_cause() {
    for (compacted, cause) in [(false, "transaction"), (true, "compaction")] {
        let function = Function::new().await;
        function.log.set_compacted(compacted);
        function.land(&[routes(0..2), routes(3..4), routes(6..7)].concat()).await;
        assert_eq!(function.gaps().await, json!([gap(1, 2, 2, cause), gap(1, 4, 5, cause)]));
        let (written, lost) = ("written", "lost");
        assert_eq!(function.outcomes("routes", 0..7).await, [written, written, lost, written, lost, lost, written]);
        // A hole at the log's end is noticed once a group has committed an offset beyond it. The ledger keeps the hash
        // of the last record before the hole, so no new incarnation begins.
        function.log.extend_to("routes", 0, 8);
        function.log.commit("sluice-routes", "routes", 0, 8);
        assert_eq!(function.consume.compare(BUDGET).await.expect("the comparison succeeds").skipped_offsets, 1);
        let restarted = function.restarted();
        restarted.compare(BUDGET).await.expect("the comparison succeeds");
        assert_eq!(function.outcomes("routes", 7..9).await, [lost, "pending"]);
        assert_eq!(function.land(&routes(8..10)).await.incarnations, 0);
    }
}

#[tokio::test]
async fn thousands_of_small_transactions_leave_a_limited_number_of_gaps_and_correct_receipts() {
    const RECORDS: i64 = 2_500;
    let function = Function::new().await;
    // The records are at even offsets. The marker of each record's transaction takes the next offset.
    let records: Vec<Record> = (0..RECORDS).map(|number| record("routes", 2 * number, &route(number, 1.0))).collect();
    for batch in records.chunks(700) {
        assert_eq!(function.land(batch).await.written, batch.len());
    }
    assert_eq!(function.database.count("select count(*) from sluice.gaps").await, 1_001);
    let outcomes = function.outcomes("routes", 0..2 * RECORDS - 1).await;
    let wrong: Vec<_> = (0..)
        .zip(&outcomes)
        .filter(|(offset, outcome)| **outcome != if offset % 2 == 0 { "written" } else { "lost" })
        .collect();
    assert_eq!(wrong, []);
    // Old gaps are merged into one range, which also spans applied records. Kafka shows which records of the range were
    // lost. If Kafka has deleted a record in the meantime, its status is not known, and the receipt says so.
    function.log.delete_before("routes", 0, 10);
    let read = shared::ledger::receipts::look_up(
        &function.database.pool,
        Some(&*function.log),
        "routes",
        &[(0, 2), (0, 4_998)],
    );
    let outcomes = read.await.expect("the receipts are looked up");
    let reason = format!("{:?}", outcomes[0]);
    assert!(reason.contains("not known whether") && reason.contains("Kafka no longer has the record"), "{reason}");
    assert_eq!(outcomes[1], shared::ledger::receipts::Outcome::Written);
    // A duplicate shares the outcome of the event that it repeats, so that event's record is looked up.
    for (duplicate, repeated, outcome) in [(4, 20, "duplicate"), (22, 6, "lost")] {
        let insert = format!(
            "insert into sluice.duplicates
                 (topic, \"partition\", \"offset\", incarnation, stream, seen_at_ms, of_partition, of_offset, of_timestamp_ms)
             values ('routes', 0, {duplicate}, 1, 'route', 0, 0, {repeated}, 0)"
        );
        sqlx::Executor::execute(&function.database.pool, &*insert).await.expect("the duplicate is stored");
        assert_eq!(function.outcomes("routes", duplicate..duplicate + 1).await, [outcome]);
    }
}

#[tokio::test]
async fn records_in_a_gap_land_if_a_batch_delivers_them_later_and_the_gap_shrinks() {
    let function = Function::new().await;
    // Puts the database into the state that migration 0006 left behind: the offsets before the first applied record are
    // a gap.
    function.land(&routes(0..3)).await;
    let before = "update sluice.watermarks set first_offset = 2;
                  insert into sluice.gaps (topic, \"partition\", incarnation, first_offset, last_offset, cause)
                  values ('routes', 0, 1, 0, 1, 'unknown');
                  delete from public.routes_table where user_id < 2";
    sqlx::Executor::execute(&function.database.pool, before).await.expect("the database is prepared");
    let first_hash = "update sluice.watermarks set first_hash = last_hash";
    sqlx::Executor::execute(&function.database.pool, first_hash).await.expect("the database is prepared");
    assert_eq!(function.outcomes("routes", 0..3).await, ["lost", "lost", "written"]);

    let summary = function.land(&routes(1..3)).await;
    assert_eq!((summary.written, summary.redelivered, summary.incarnations), (1, 1, 0));
    assert_eq!(function.gaps().await, json!([gap(1, 0, 0, "unknown")]));
    function.land(&routes(0..1)).await;
    assert_eq!(function.gaps().await, json!([]));
    assert_eq!(function.users().await, users(0..3));
    assert_eq!(function.land(&routes(0..3)).await.redelivered, 3);
}

#[tokio::test]
async fn a_topic_that_was_recreated_before_a_restore_lands_from_its_beginning() {
    let function = Function::new().await;
    function.land(&routes(0..4)).await;
    let backup = function.restored().await;
    function.log.recreate("routes", 0);
    function.send(&other_routes(0..6));
    function.land(&other_routes(0..5)).await;
    backup.restore(&function.database.pool).await;

    // The batch begins above the watermark, and Kafka's records below the watermark are not the ones that were applied.
    let event = crate::support::event(&other_routes(5..6));
    let summary = function.restarted().invoke(&event, BUDGET).await.expect("the batch lands");
    assert_eq!((summary.incarnations, summary.written), (1, 6));
    assert_eq!(function.users().await, users((0..4).chain(1_000..1_006)));
    assert_eq!(function.outcomes("routes", 0..7).await, [vec!["written"; 6], vec!["pending"]].concat());
}

#[tokio::test]
async fn after_a_truncation_the_new_records_land_from_where_the_log_was_cut() {
    let function = Function::new().await;
    function.land(&routes(0..6)).await;
    function.log.truncate("routes", 0, 3);
    function.send(&other_routes(3..9));
    let event = crate::support::event(&other_routes(7..9));
    let summary = function.restarted().invoke(&event, BUDGET).await.expect("the batch lands");
    assert_eq!((summary.incarnations, summary.written), (1, 6));
    assert_eq!(function.users().await, users((0..6).chain(1_003..1_009)));
}

#[tokio::test]
async fn a_comparison_notices_that_the_log_of_an_idle_partition_was_truncated_or_recreated() {
    let function = Function::new().await;
    function.land(&routes(0..6)).await;
    function.log.truncate("routes", 0, 3);
    function.send(&other_routes(3..5));
    function.log.commit("sluice-routes", "routes", 0, 5);
    let summary = function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!((summary.incarnations, summary.written), (1, 2));
    assert_eq!(function.users().await, users((0..6).chain(1_003..1_005)));

    let third = |offsets| {
        let later = |record: Record| Record { timestamp_ms: record.timestamp_ms + 60_000, ..record };
        other_routes(offsets).into_iter().map(later).collect::<Vec<_>>()
    };
    function.log.recreate("routes", 0);
    function.send(&third(0..2));
    function.log.commit("sluice-routes", "routes", 0, 2);
    let summary = function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!((summary.incarnations, summary.written), (1, 2));
    assert_eq!(function.land(&third(0..3)).await.written, 1);
}

#[tokio::test]
async fn a_batch_whose_log_has_been_deleted_still_lands() {
    let function = Function::new().await;
    function.land(&routes(0..3)).await;
    function.log.recreate("routes", 0);
    let summary =
        function.restarted().invoke(&crate::support::event(&routes(3..5)), BUDGET).await.expect("the batch lands");
    assert_eq!((summary.written, summary.incarnations), (2, 0));
    let summary = function.land(&other_routes(0..2)).await;
    assert_eq!((summary.written, summary.incarnations), (2, 1));
    assert_eq!(function.users().await, users((0..5).chain(1_000..1_002)));
}

#[tokio::test]
async fn a_range_that_is_too_large_for_one_invocation_is_read_by_several_invocations() {
    const RECORDS: i64 = 100_500;
    let function = Function::new().await;
    let tombstone = |offset| LogRecord { offset, timestamp_ms: NOW_MS, key: None, value: None, headers: Vec::new() };
    for offset in 0..RECORDS {
        function.log.append("routes", 0, tombstone(offset));
    }
    let batch = routes(RECORDS..RECORDS + 1);
    function.send(&batch);
    let error = function.deliver(&batch).await.expect_err("one invocation reads only a part");
    assert!(matches!(error, ConsumeError::CatchingUp), "{error}");
    assert_eq!(function.database.count("select next_offset from sluice.watermarks").await, 100_000);
    assert_eq!(function.land(&batch).await.written, 1);
    assert_eq!(function.database.count("select next_offset from sluice.watermarks").await, RECORDS + 1);
}

#[tokio::test]
async fn only_a_new_process_asks_kafka_while_no_record_is_missing() {
    let function = Function::new().await;
    for first in [0, 10, 20] {
        function.land(&routes(first..first + 10)).await;
    }
    function.land(&routes(15..40)).await;
    assert_eq!(function.log.questions(), 0);
    // For its first batch, a new process sends Kafka two requests. For later batches, it sends none.
    let restarted = function.restarted();
    for first in [40, 50] {
        function.send(&routes(first..first + 10));
        restarted.invoke(&crate::support::event(&routes(first..first + 10)), BUDGET).await.expect("the batch lands");
    }
    assert_eq!(function.log.questions(), 2);
}
