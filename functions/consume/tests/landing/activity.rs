//! Table `sluice.activity`: what landed minute by minute, and where the logs ended.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::ledger::minutes::{self, Minute};
use shared::process::clock::Clock;

use crate::support::{BUDGET, Function, Record, record, records, route, user_event};

/// Returns the sums of the activity by partition and incarnation.
async fn sums(function: &Function) -> Value {
    const SELECT: &str = r#"
        select topic, "partition", incarnation, sum(written)::bigint as written, sum(duplicates)::bigint as duplicates,
               sum(superseded)::bigint as superseded, sum(waiting)::bigint as waiting, sum(released)::bigint as released,
               sum(rejected)::bigint as rejected, sum(tombstones)::bigint as tombstones, max(last_offset) as last_offset,
               max(end_offset) as end_offset
        from sluice.minutes group by topic, "partition", incarnation order by topic, "partition", incarnation"#;
    function.database.json(SELECT).await
}

/// Reads a topic's minutes of the last hour. `end_offset` is the end of the log of partition 0, or `None` if Kafka has
/// not reported it.
async fn minutes(function: &Function, topic: &str, end_offset: Option<i64>) -> Vec<Minute> {
    let mut connection = function.database.pool.acquire().await.expect("a connection");
    let ends = end_offset.map(|end| (topic, 0, end));
    let mut by_topic: BTreeMap<String, Vec<Minute>> =
        minutes::read(&mut connection, 60, ends).await.expect("the activity is read");
    by_topic.remove(topic).unwrap_or_default()
}

/// Returns how many records Kafka accepted, summed over a topic's minutes.
async fn accepted(function: &Function, topic: &str, end_offset: Option<i64>) -> i64 {
    minutes(function, topic, end_offset).await.iter().map(|minute| minute.accepted).sum()
}

/// Moves all recorded activity into the past by `interval`.
async fn age(function: &Function, interval: &str) {
    for table in ["sluice.activity", "sluice.watermarks"] {
        let update = format!("update {table} set minute = minute - interval '{interval}'");
        sqlx::query(&update).execute(&function.database.pool).await.expect("the activity is moved");
    }
}

#[tokio::test]
async fn each_outcome_is_counted_under_the_partition_and_incarnation_of_its_record() {
    let function = Function::new().await;
    let on = |partition, record: Record| Record { partition, ..record };
    let tombstone = Record { value: None, ..record("routes", 1, &json!(null)) };
    function
        .land(&[
            record("routes", 0, &route(1, 1.0)),
            tombstone,
            on(1, record("routes", 0, &json!({"no": "route"}))),
            on(1, record("routes", 1, &route(2, 1.0))),
            record("user-events", 0, &user_event(1, "Baltimore")),
            record("user-events", 1, &user_event(1, "Baltimore")),
        ])
        .await;
    let row = |topic: &str, partition: i32, last: i64, counts: [i64; 7]| {
        json!({
            "topic": topic, "partition": partition, "incarnation": 1, "written": counts[0], "duplicates": counts[1],
            "superseded": counts[2], "waiting": counts[3], "released": counts[4], "rejected": counts[5],
            "tombstones": counts[6], "last_offset": last, "end_offset": last + 1
        })
    };
    let expected = json!([
        row("routes", 0, 1, [1, 0, 0, 0, 0, 0, 1]),
        row("routes", 1, 1, [1, 0, 0, 0, 0, 1, 0]),
        row("user-events", 0, 1, [1, 1, 0, 0, 0, 0, 0]),
    ]);
    assert_eq!(sums(&function).await, expected);
}

#[tokio::test]
async fn a_batch_that_is_delivered_twice_is_counted_once_and_a_failed_batch_is_not_counted() {
    let function = Function::new().await;
    let batch = records("routes", (0..3).map(|user| route(user, 1.0)));
    sqlx::query("alter table public.routes_table rename to gone")
        .execute(&function.database.pool)
        .await
        .expect("the table is renamed");
    function.deliver(&batch).await.expect_err("the table is missing");
    assert_eq!(sums(&function).await, json!([]));
    sqlx::query("alter table public.gone rename to routes_table")
        .execute(&function.database.pool)
        .await
        .expect("the table is renamed");
    function.land(&batch).await;
    function.land(&batch).await;
    assert_eq!(sums(&function).await[0]["written"], json!(3));
}

#[tokio::test]
async fn a_waiting_event_is_counted_again_when_its_parent_arrives_or_its_time_to_wait_is_over() {
    let function = Function::new().await;
    let child = |name: &str, continent: &str| json!({"name": name, "continent": continent, "population": 1, "area": 1});
    function.land(&records("country", [child("Iran", "Asia"), child("Nowhere", "Atlantis")])).await;
    function.land(&[record("continent", 0, &json!({"name": "Asia", "population": 1, "area": 1}))]).await;
    let country = sums(&function).await[1].clone();
    let counts = |row: &Value| ["waiting", "released", "written", "rejected"].map(|name| row[name].as_i64());
    assert_eq!(counts(&country), [Some(2), Some(1), Some(1), Some(0)]);
    function.clock.advance(3_600_001);
    function.land(&[record("routes", 0, &route(1, 1.0))]).await;
    let country = sums(&function).await[1].clone();
    assert_eq!(counts(&country), [Some(2), Some(2), Some(1), Some(1)]);
    assert_eq!(country["last_offset"], json!(1));
}

#[tokio::test]
async fn the_lag_is_measured_from_the_oldest_record_and_is_never_negative() {
    let function = Function::new().await;
    let at = |offset, age_ms| Record {
        timestamp_ms: Clock::system().now_ms() - age_ms,
        ..record("routes", offset, &route(1, 1.0))
    };
    function.land(&[at(0, -60_000)]).await;
    assert_eq!(minutes(&function, "routes", None).await[0].max_lag_ms, Some(0));
    function.land(&[at(1, 200), at(2, 5_000), at(3, 100)]).await;
    let lag_ms = minutes(&function, "routes", None).await.iter().filter_map(|minute| minute.max_lag_ms).max();
    assert!(lag_ms.is_some_and(|lag_ms| (5_000..35_000).contains(&lag_ms)), "{lag_ms:?}");
}

#[tokio::test]
async fn accepted_records_are_counted_although_nothing_lands() {
    let function = Function::new().await;
    let append = |offsets: std::ops::Range<i64>| {
        offsets.for_each(|offset| function.log.append("routes", 0, record("routes", offset, &route(1, 1.0)).in_log()));
    };
    append(0..5);
    // The database has not recorded the log's end yet, so the end that Kafka reports is used.
    assert_eq!(accepted(&function, "routes", Some(5)).await, 5);
    function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(accepted(&function, "routes", None).await, 5);
    age(&function, "10 minutes").await;
    append(5..7);
    function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    append(7..8);
    let seen = minutes(&function, "routes", Some(8)).await;
    assert_eq!(seen[0].accepted, 5);
    assert_eq!(seen.iter().map(|minute| minute.accepted).sum::<i64>(), 8);
    // Neither landing the records nor another comparison changes the count.
    function.land(&records("routes", (0..8).map(|_| route(1, 1.0)))).await;
    function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(accepted(&function, "routes", Some(8)).await, 8);
    let seen = minutes(&function, "routes", Some(8)).await;
    assert_eq!(seen.iter().map(|minute| minute.counts.written).sum::<i64>(), 8);
}

#[tokio::test]
async fn records_of_a_recreated_topic_are_added_to_the_counts() {
    let function = Function::new().await;
    function.land(&records("routes", (0..5).map(|user| route(user, 1.0)))).await;
    function.log.recreate("routes", 0);
    let later = |offset| Record {
        timestamp_ms: crate::support::NOW_MS + 1_000_000,
        ..record("routes", offset, &route(9, 1.0))
    };
    function.land(&[later(0), later(1)]).await;
    function.consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(accepted(&function, "routes", Some(2)).await, 7);
    let incarnations = sums(&function).await;
    let incarnations: Vec<_> =
        incarnations.as_array().into_iter().flatten().map(|row| (&row["incarnation"], &row["written"])).collect();
    assert_eq!(incarnations, [(&json!(1), &json!(5)), (&json!(2), &json!(2))]);
}

#[tokio::test]
async fn records_that_land_again_after_a_restore_are_counted_once() {
    let function = Function::new().await;
    function.land(&records("routes", (0..2).map(|user| route(user, 1.0)))).await;
    let rest: Vec<Record> = (2..5).map(|offset| record("routes", offset, &route(offset, 1.0))).collect();
    let land = async || {
        // Copying or restoring the database closes the function's connections, and a delivery may fail for each of
        // them.
        const CONNECTIONS: usize = 8;
        for _ in 0..=CONNECTIONS {
            if function.deliver(&rest).await.is_ok() {
                return;
            }
        }
        panic!("the batch does not land");
    };
    function.database.back_up().await.expect("the database is backed up");
    land().await;
    function.database.restore().await.expect("the database is restored");
    land().await;
    assert_eq!(sums(&function).await[0]["written"], json!(5));
    assert_eq!(accepted(&function, "routes", Some(5)).await, 5);
}

#[tokio::test]
async fn minutes_are_deleted_after_35_days_but_the_last_known_end_of_a_log_is_kept() {
    let function = Function::new().await;
    let land = async |offset| {
        function.clock.advance(3_600_000);
        function.land(&[record("routes", offset, &route(1, 1.0))]).await;
    };
    let count = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from sluice.minutes");
        count.fetch_one(&function.database.pool).await.expect("the database answers")
    };
    land(0).await;
    age(&function, "34 days").await;
    land(1).await;
    assert_eq!(count().await, 2);
    age(&function, "2 days").await;
    land(2).await;
    land(3).await;
    // The minute from 36 days ago has been deleted. The minute from two days ago and the current minute are left.
    assert_eq!(count().await, 2);
    age(&function, "40 days").await;
    function.clock.advance(3_600_000);
    function.land(&[record("user-events", 0, &user_event(1, "Baltimore"))]).await;
    // The partition was idle for 40 days. Later records are still counted from the last known end of its log.
    assert_eq!(accepted(&function, "routes", Some(5)).await, 1);
}

#[tokio::test]
async fn a_day_that_is_read_in_several_queries_has_the_right_counts() {
    let function = Function::new().await;
    // Each row says that 10 more records were accepted. The first row is a minute before the day.
    let minutes_ago = [1_440, 1_439, 1_081, 1_080, 1_079, 720, 361, 360, 359, 0];
    for partition in 0..2 {
        for (row, minutes_ago) in (1..).zip(minutes_ago) {
            let insert = r#"
                insert into sluice.activity (destination, topic, "partition", incarnation, minute, written, end_offset)
                values ('postgresql', 'routes', $1, 1,
                        date_trunc('minute', now(), 'UTC') - make_interval(mins => $2), 7, $3)"#;
            let query = sqlx::query(insert).bind(partition).bind(minutes_ago).bind(row * 10_i64);
            query.execute(&function.database.pool).await.expect("the row is inserted");
        }
    }
    let mut connection = function.database.pool.acquire().await.expect("a connection");
    let day = minutes::read(&mut connection, 1_440, []).await.expect("the activity is read").remove("routes");
    let day = day.expect("the topic has activity");
    let counts: Vec<(i64, i64)> = day.iter().map(|minute| (minute.accepted, minute.counts.written)).collect();
    assert_eq!(counts, [(20, 14); 9], "two partitions, each with 10 accepted and 7 written records");
    assert!(day.is_sorted_by_key(|minute| minute.began_ms));
}
