//! While a partition's events cannot land, the ledger lists the partition as stalled, with the cause.

use serde_json::json;
use shared::ledger::stalls::{self, Stall};
use sqlx::Executor as _;

use crate::support::{BUDGET, Function, Record, record, records, route, user_event};

async fn stalls(function: &Function) -> Vec<Stall> {
    stalls::list(&function.database.pool).await.expect("the stalls are listed")
}

async fn execute(function: &Function, sql: &str) {
    function.database.pool.execute(sql).await.expect(sql);
}

#[tokio::test]
async fn a_missing_column_stalls_the_partition_until_the_column_is_there() {
    let function = Function::new().await;
    function.land(&[record("routes", 0, &route(1, 1.0))]).await;
    assert_eq!(stalls(&function).await, []);

    execute(&function, "alter table public.routes_table drop column latitude").await;
    let batch = [record("routes", 1, &route(2, 1.0))];
    function.deliver(&batch).await.expect_err("the batch fails");
    let first = stalls(&function).await;
    let [Stall { topic, partition, destination, reason, since }] = first.as_slice() else {
        panic!("one partition is stalled: {first:?}");
    };
    assert_eq!((topic.as_str(), *partition, destination.as_str()), ("routes", 0, "postgresql"));
    let expected =
        "Stream route: table public.routes_table, column latitude: expected double precision, found no such column.";
    assert_eq!(reason, expected);
    let age = function.database.count("select extract(epoch from now() - since)::bigint from sluice.stalls").await;
    assert!(age <= 60, "since {since}, {age} s ago");

    function.deliver(&batch).await.expect_err("the batch fails again");
    assert_eq!(stalls(&function).await, first, "the partition has been stalled since its first failure");
    function.land(&records("user-events", [user_event(1, "Delft")])).await;
    assert_eq!(stalls(&function).await, first, "a batch of another stream lands, and the stall stays as it is");

    execute(&function, "alter table public.routes_table add column latitude double precision").await;
    function.land(&batch).await;
    assert_eq!(stalls(&function).await, []);

    execute(&function, "alter table public.routes_table drop column latitude").await;
    function.deliver(&[record("routes", 2, &route(3, 1.0))]).await.expect_err("the batch fails");
    assert!(stalls(&function).await[0].since > *since, "the new stall begins with the first failure after the success");
}

#[tokio::test]
async fn a_fault_of_the_environment_is_a_stall_once_it_has_lasted_for_thirty_seconds() {
    let function = Function::new().await;
    execute(
        &function,
        "create function public.conflict() returns trigger language plpgsql
         as $$ begin raise exception 'value 4711' using errcode = '40001'; end $$;
         create trigger conflict before insert on public.routes_table execute function public.conflict()",
    )
    .await;
    let batch = records("routes", [route(1, 1.0)]);
    function.deliver(&batch).await.expect_err("the batch fails");
    function.deliver(&batch).await.expect_err("the batch fails again at once");
    assert_eq!(stalls(&function).await, [], "the fault may pass");

    execute(&function, "update sluice.stalls set since = since - interval '31 seconds'").await;
    function.deliver(&batch).await.expect_err("the batch still fails");
    let reasons: Vec<String> = stalls(&function).await.into_iter().map(|stall| stall.reason).collect();
    assert_eq!(
        reasons,
        [
            "Stream route: the transaction conflicts with other transactions (SQLSTATE 40001), in PL/pgSQL function conflict() line 1."
        ]
    );

    execute(&function, "drop trigger conflict on public.routes_table").await;
    function.land(&batch).await;
    assert_eq!(stalls(&function).await, []);
}

#[tokio::test]
async fn the_reason_of_a_stall_names_the_operators_fault_and_contains_no_value_of_an_event() {
    for (fault, reason) in [
        (
            "drop table public.routes_table",
            "Stream route: table public.routes_table: expected a table, found no such table.",
        ),
        (
            "alter table public.routes_table rename column user_id to account",
            "Stream route: table public.routes_table, column user_id: expected bigint, found no such column; \
             stream route: table public.routes_table, column account: expected a default or a nullable column, because \
             the contract does not fill it, found not null without a default.",
        ),
        (
            "alter table public.routes_table add column height double precision not null",
            "Stream route: table public.routes_table, column height: expected a default or a nullable column, because \
             the contract does not fill it, found not null without a default.",
        ),
        (
            "alter table sluice.watermarks rename column last_hash to gone",
            "Stream route: column w.last_hash does not exist (SQLSTATE 42703).",
        ),
        (
            "create function public.stop() returns trigger language plpgsql
             as $$ begin perform public.judge(new.user_id); return new; end $$;
             create trigger stop before insert on public.routes_table execute function public.stop()",
            "Stream route: function public.judge(bigint) does not exist (SQLSTATE 42883), in PL/pgSQL function stop() line 1.",
        ),
        (
            "create function public.stop() returns trigger language plpgsql
             as $$ begin execute format('insert into %I values (1)', new.user_id); return new; end $$;
             create trigger stop before insert on public.routes_table for each row execute function public.stop()",
            "Stream route: a table does not exist (SQLSTATE 42P01), in PL/pgSQL function stop() line 1.",
        ),
    ] {
        let function = Function::new().await;
        execute(&function, fault).await;
        let batch = records("routes", [route(4711, 1.0)]);
        let error = function.deliver(&batch).await.expect_err("the batch fails");
        // The error is what the log shows.
        assert!(!error.to_string().contains("4711"), "{error}");
        let reasons: Vec<String> = stalls(&function).await.into_iter().map(|stall| stall.reason).collect();
        assert_eq!(reasons, [reason]);
    }
}

#[tokio::test]
async fn a_missing_or_deferrable_unique_index_stalls_the_stream_at_once() {
    let function = Function::new().await;
    for (constraint, found) in [
        ("drop constraint user_events_pkey", "none"),
        ("add unique (id) deferrable", "only a deferrable one, which ON CONFLICT cannot use"),
    ] {
        execute(&function, &format!("alter table public.user_events {constraint}")).await;
        function.deliver(&records("user-events", [user_event(1, "Delft")])).await.expect_err("the batch fails");
        let reasons: Vec<String> = stalls(&function).await.into_iter().map(|stall| stall.reason).collect();
        let key = "expected a unique index on (id), which \"dedupe\" relies on";
        assert_eq!(reasons, [format!("Stream user-event: table public.user_events, column id: {key}, found {found}.")]);
    }
}

#[tokio::test]
async fn a_topic_without_a_contract_stalls_its_partition() {
    let function = Function::new().await;
    function.deliver(&[record("nobodys", 0, &json!({}))]).await.expect_err("the batch fails");
    let reasons: Vec<String> = stalls(&function).await.into_iter().map(|stall| stall.reason).collect();
    assert_eq!(reasons, ["No contract has the topic nobodys."]);
}

#[tokio::test]
async fn a_failure_is_recorded_even_if_transactions_are_read_only_by_default() {
    let function = Function::new().await;
    let name = function.database.url.rsplit('/').next().unwrap_or_default().to_owned();
    execute(&function, &format!("alter database {name} set default_transaction_read_only = on")).await;
    let fresh = shared::database::connect(&function.database.url, 1).expect("an address");
    let registry = std::sync::Arc::new(shared::contract::Registry::load(None).expect("the contracts are right"));
    let (wait, metrics) = (std::time::Duration::from_secs(1), function.metrics.clone());
    let consume = consume::Consume::new(fresh, registry, function.clock.clone(), wait, metrics, function.log.clone());
    let batch = crate::support::event(&records("routes", [route(1, 1.0)]));
    consume.invoke(&batch, BUDGET).await.expect_err("the batch fails");
    let recorded = function.database.json("select sqlstate, fault, reason from sluice.stalls").await;
    let reason = "Stream route: the database is read-only (SQLSTATE 25006).";
    assert_eq!(recorded, json!([{"sqlstate": "25006", "fault": "environment", "reason": reason}]));
}

#[tokio::test]
async fn a_batch_that_was_already_applied_ends_the_stall_of_its_partition() {
    let function = Function::new().await;
    let batch = records("routes", [route(1, 1.0)]);
    function.land(&batch).await;
    // If the answer to a commit is lost, the batch has landed, but the function has recorded a stall.
    execute(
        &function,
        "insert into sluice.stalls (topic, \"partition\", reason, error_type, fault, since, last_failed_at)
         values ('routes', 0, 'The answer was lost.', 'Sluice.Retry', 'environment', now() - interval '1 minute', clock_timestamp())",
    )
    .await;
    assert_eq!(stalls(&function).await.len(), 1);
    function.land(&batch).await;
    assert_eq!(stalls(&function).await, []);
}

#[tokio::test]
async fn a_batch_ends_the_stall_of_a_partition_even_if_all_its_records_of_that_partition_were_already_applied() {
    let function = Function::new().await;
    let applied = record("routes", 0, &route(1, 1.0));
    function.land(std::slice::from_ref(&applied)).await;
    execute(
        &function,
        "insert into sluice.stalls (topic, \"partition\", reason, error_type, fault, since, last_failed_at)
         values ('routes', 0, 'The answer was lost.', 'Sluice.Retry', 'environment', now() - interval '1 minute', clock_timestamp())",
    )
    .await;
    let fresh = Record { partition: 1, ..record("routes", 0, &route(2, 1.0)) };
    function.land(&[applied, fresh]).await;
    assert_eq!(stalls(&function).await, []);
}

#[tokio::test]
async fn a_stall_that_has_ended_is_deleted_within_the_hour() {
    let function = Function::new().await;
    execute(&function, "alter table public.routes_table drop column latitude").await;
    let batch = records("routes", [route(1, 1.0)]);
    function.deliver(&batch).await.expect_err("the batch fails");
    execute(&function, "alter table public.routes_table add column latitude double precision").await;
    function.land(&batch).await;
    assert_eq!(
        function.database.count("select count(*) from sluice.stalls").await,
        1,
        "a batch that lands ends the stall, but does not delete the row"
    );
    function.clock.advance(3_600_000);
    function.land(&[record("routes", 1, &route(2, 1.0))]).await;
    assert_eq!(function.database.count("select count(*) from sluice.stalls").await, 0);
}

#[tokio::test]
async fn failed_batches_are_counted_by_error_type() {
    let function = Function::new().await;
    function.deliver(&[record("nobodys", 0, &json!({}))]).await.expect_err("the batch fails");
    execute(&function, "drop table public.routes_table").await;
    for _ in 0..2 {
        function.deliver(&records("routes", [route(1, 1.0)])).await.expect_err("the batch fails");
    }
    let text = function.metrics.prometheus();
    for line in [
        r#"sluice_failed_batches_total{error_type="Sluice.UnknownTopic"} 1"#,
        r#"sluice_failed_batches_total{error_type="Sluice.Stop"} 2"#,
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}

/// Invokes the function as the schedule does, to compare the watermarks with Kafka. An error is returned as its text.
async fn compare(function: &Function) -> Result<(), String> {
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}).to_string();
    let compared = function.consume.invoke(event.as_bytes(), BUDGET).await;
    compared.map(|_summary| ()).map_err(|error| error.to_string())
}

async fn reasons(function: &Function) -> Vec<String> {
    stalls(function).await.into_iter().map(|stall| stall.reason).collect()
}

/// Puts records into Kafka, and commits the consumer group's offset past the records, although none has been applied.
fn commit_only(function: &Function, records: &[Record]) {
    for record in records {
        function.log.put(&record.topic, record.partition, [record.in_log()]);
        function.log.commit(&format!("sluice-{}", record.topic), &record.topic, record.partition, record.offset + 1);
    }
}

const NO_LATITUDE: &str = "alter table public.routes_table drop column latitude";
const LATITUDE: &str = "alter table public.routes_table add column latitude double precision";

#[tokio::test]
async fn a_comparison_that_cannot_land_missing_records_stalls_the_partition_with_the_cause() {
    let function = Function::new().await;
    commit_only(&function, &records("routes", [route(1, 1.0)]));
    execute(&function, NO_LATITUDE).await;
    let error = compare(&function).await.expect_err("the comparison fails");
    assert!(error.starts_with("not all watermarks were compared with Kafka, or missing records did not land: "));
    assert!(!error.contains("batch"), "{error}");
    let difference = "table public.routes_table, column latitude: expected double precision, found no such column.";
    assert_eq!(reasons(&function).await, [format!("Stream route: {difference}")]);
    let first = stalls(&function).await;
    compare(&function).await.expect_err("the comparison fails again");
    assert_eq!(stalls(&function).await, first, "the partition has been stalled since the first comparison");

    execute(&function, LATITUDE).await;
    compare(&function).await.expect("the comparison succeeds");
    assert_eq!(stalls(&function).await, []);
    assert_eq!(function.outcomes("routes", 0..1).await, ["written"]);
}

#[tokio::test]
async fn a_stall_found_by_a_comparison_ends_when_no_record_is_missing_any_more() {
    let function = Function::new().await;
    function.land(&[record("routes", 0, &route(1, 1.0))]).await;
    commit_only(&function, &[record("routes", 1, &route(2, 1.0))]);
    execute(
        &function,
        "create function public.stop() returns trigger language plpgsql
         as $$ begin perform public.judge(new.user_id); return new; end $$;
         create trigger stop before insert on public.routes_table execute function public.stop()",
    )
    .await;
    compare(&function).await.expect_err("the comparison fails");
    assert_eq!(
        reasons(&function).await,
        [
            "Stream route: function public.judge(bigint) does not exist (SQLSTATE 42883), in PL/pgSQL function stop() line 1."
        ]
    );
    // The consumer group's offset is moved back, so the event source mapping will deliver the record.
    function.log.commit("sluice-routes", "routes", 0, 1);
    compare(&function).await.expect("the comparison succeeds");
    assert_eq!(stalls(&function).await, []);
}

#[tokio::test]
async fn a_comparison_leaves_the_stall_of_a_failed_batch_as_it_is() {
    let function = Function::new().await;
    execute(&function, NO_LATITUDE).await;
    function.deliver(&records("routes", [route(1, 1.0)])).await.expect_err("the batch fails");
    let by_batch = stalls(&function).await;
    compare(&function).await.expect("the comparison succeeds");
    assert_eq!(stalls(&function).await, by_batch);
    execute(&function, LATITUDE).await;
    compare(&function).await.expect("the comparison succeeds");
    assert_eq!(stalls(&function).await, by_batch, "the failed batch has not landed yet");
}

#[tokio::test]
async fn if_no_event_can_enter_a_table_the_partitions_of_its_stream_are_stalled_even_before_a_batch_fails() {
    for (fault, mending, difference) in [
        (
            NO_LATITUDE,
            LATITUDE,
            "table public.routes_table, column latitude: expected double precision, found no such column",
        ),
        (
            "alter table public.routes_table rename to elsewhere",
            "alter table public.elsewhere rename to routes_table",
            "table public.routes_table: expected a table, found no such table",
        ),
        (
            "alter table public.routes_table drop column latitude,
                 add column latitude double precision generated always as (longitude) stored",
            "alter table public.routes_table drop column latitude, add column latitude double precision",
            "table public.routes_table, column latitude: expected a column that can be written, found generated always",
        ),
        (
            "alter table public.routes_table add column extra integer not null",
            "alter table public.routes_table drop column extra",
            "table public.routes_table, column extra: expected a default or a nullable column, because the contract does \
             not fill it, found not null without a default",
        ),
    ] {
        let function = Function::new().await;
        function.log.create("routes", 2);
        compare(&function).await.expect("the comparison succeeds");
        assert_eq!(stalls(&function).await, [], "{fault}");

        execute(&function, fault).await;
        compare(&function).await.expect("the comparison succeeds");
        let expected = format!("New events cannot land: stream route: {difference}.");
        assert_eq!(reasons(&function).await, [expected.clone(), expected], "both partitions are listed");
        function.deliver(&[record("routes", 0, &route(1, 1.0))]).await.expect_err("the batch fails");
        execute(&function, mending).await;
        compare(&function).await.expect("the comparison succeeds");
        let left: Vec<i32> = stalls(&function).await.into_iter().map(|stall| stall.partition).collect();
        assert_eq!(left, [0], "{fault}: only the partition of the failed batch is still stalled");
        function.land(&[record("routes", 0, &route(1, 1.0))]).await;
        assert_eq!(stalls(&function).await, [], "{fault}");
    }
}

#[tokio::test]
async fn if_some_events_may_still_enter_a_drifted_table_its_stream_is_not_stalled_before_a_batch_fails() {
    for difference in [
        // A small batch lands, because PostgreSQL converts the batch's numbers.
        "alter table public.routes_table alter column user_id type numeric",
        // A trigger fills the new column.
        "alter table public.routes_table add column extra integer not null;
         create function public.fill() returns trigger language plpgsql
         as $$ begin new.extra := 1; return new; end $$;
         create trigger fill before insert on public.routes_table for each row execute function public.fill()",
        // A large batch lands, because it is sent by COPY, which needs no index.
        "alter table public.user_events drop constraint user_events_pkey",
    ] {
        let function = Function::new().await;
        function.log.create("routes", 1);
        function.log.create("user-events", 1);
        execute(&function, difference).await;
        compare(&function).await.expect("the comparison succeeds");
        assert_eq!(stalls(&function).await, [], "{difference}");
    }
}
