//! Errors and their consequences. If a row is at fault, its record becomes a dead letter. If an operator or the
//! environment is at fault, the batch fails.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Executor as _;
use sqlx::postgres::PgConnectOptions;
use testing::TestDatabase;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{BUDGET, Function, Record, record, records, route, user_event};

#[tokio::test]
async fn a_poison_record_becomes_a_dead_letter_and_the_others_land() {
    let function = Function::new().await;
    let mut batch = records("routes", (0..1_000).map(|user| route(user, 1.0)));
    let poison: [&[u8]; 9] = [
        b"\xff\xfe",
        b"{",
        b"",
        br#"{"userID":1,"userID":2,"timestamp":1,"coordinates":[1,1]}"#,
        br#"{"userID":1,"timestamp":1e400,"coordinates":[1,1]}"#,
        br#"{"userID":1,"timestamp":1,"coordinates":[91,1]}"#,
        br#"{"userID":"1","timestamp":1,"coordinates":[1,1]}"#,
        br#"{"userID":1,"timestamp":1,"coordinates":[1,1],"more":1}"#,
        br#"{"userID":{"\u0024serde_json::private::Number":"7"},"timestamp":1,"coordinates":[1,1]}"#,
    ];
    for (index, value) in poison.iter().enumerate() {
        batch[index * 100].value = Some(value.to_vec());
    }
    batch[950].key = Some(b"\xff\x00".to_vec());
    batch[950].value = Some(vec![b'['; 100_000]);
    batch[950].headers = vec![("h".to_owned(), "v".to_owned())];
    let summary = function.land(&batch).await;
    assert_eq!((summary.written, summary.rejected), (990, 10));
    assert_eq!(function.database.count("select count(*) from public.routes_table").await, 990);
    let letters = function
        .database
        .json(r#"select "offset", error_code, status from sluice.dead_letters order by "offset""#)
        .await;
    let code = |offset| if offset < 400 || offset == 950 { "not_json" } else { "contract_violation" };
    let expected: Vec<_> = [0, 100, 200, 300, 400, 500, 600, 700, 800, 950]
        .map(|offset| json!({"offset": offset, "error_code": code(offset), "status": "open"}))
        .to_vec();
    assert_eq!(letters, json!(expected));
}

#[tokio::test]
async fn names_that_contain_nul_do_not_block_a_partition() {
    let function = Function::new().await;
    let mut batch = records("routes", (0..3).map(|user| route(user, 1.0)));
    batch[0].headers = vec![("a\0".to_owned(), "b".to_owned())];
    batch[0].value = Some(b"{}".to_vec());
    batch[1].value = Some(br#"{"userID":1,"timestamp":1,"coordinates":[1,1],"a\u0000":1}"#.to_vec());
    let summary = function.land(&batch).await;
    assert_eq!((summary.written, summary.rejected), (1, 2));
    let letters = function.database.json(r#"select headers from sluice.dead_letters order by "offset""#).await;
    assert_eq!(letters[0]["headers"], json!([{"name_bytes": [97, 0], "value": "b"}]));
}

#[tokio::test]
async fn a_dead_letter_keeps_the_record_byte_by_byte() {
    let function = Function::new().await;
    let poison = Record {
        partition: 3,
        key: Some(b"\xff\x00".to_vec()),
        value: Some(b"\xfe\x00{".to_vec()),
        headers: vec![("a".to_owned(), "ü".to_owned()), ("a".to_owned(), "2".to_owned())],
        ..record("routes", 41, &json!(null))
    };
    function.land(std::slice::from_ref(&poison)).await;
    let id = function.database.count("select id from sluice.dead_letters").await;
    let letter = shared::ledger::dead_letters::find(&function.database.pool, id)
        .await
        .expect("the database answers")
        .expect("the letter exists");
    assert_eq!((letter.topic.as_str(), letter.partition, letter.offset), ("routes", 3, 41));
    assert_eq!((&letter.key, &letter.payload), (&poison.key, &b"\xfe\x00{".to_vec()));
    assert_eq!(letter.headers, json!([{"name": "a", "value": "ü"}, {"name": "a", "value": "2"}]));
    assert_eq!(letter.record_timestamp_ms, poison.timestamp_ms);
    assert_eq!(letter.rejection.reason, "not JSON: a value must follow here (line 1, column 1)");
}

#[tokio::test]
async fn rows_that_only_the_database_refuses_are_found_among_many() {
    let function = Function::new().await;
    let check = "alter table public.routes_table add check (user_id not in (17, 18, 700, 1999))";
    function.database.pool.execute(check).await.expect("the check is added");
    let summary = function.land(&records("routes", (0..2_000).map(|user| route(user, 1.0)))).await;
    assert_eq!((summary.written, summary.rejected), (1_996, 4));
    let letters = function
        .database
        .json(r#"select "offset", error_code, reason from sluice.dead_letters order by "offset""#)
        .await;
    let letter = |offset| json!({"offset": offset, "error_code": "23514", "reason": "check routes_table_user_id_check of table public.routes_table rejects the row"});
    assert_eq!(letters, json!([letter(17), letter(18), letter(700), letter(1999)]));
    assert_eq!(function.outcomes("routes", 16..19).await, ["written", "rejected: 23514", "rejected: 23514"]);
}

/// Adds a column that must not be null, and that nothing fills.
const UNFILLED: &str = "alter table public.routes_table add height integer not null default 0;
    alter table public.routes_table alter height drop default";

#[tokio::test]
async fn a_batch_for_a_drifted_table_fails_and_no_event_is_rejected() {
    for (drift, count, complaint) in [
        ("alter table public.routes_table drop column latitude", 10, "latitude"),
        (
            "alter table public.routes_table drop column latitude",
            1_000,
            "stream route: table public.routes_table, column latitude: expected double precision, found no such column",
        ),
        (
            "alter table public.routes_table alter column user_id type double precision",
            1_000,
            "stream route: table public.routes_table, column user_id: expected bigint, found double precision",
        ),
        (UNFILLED, 10, "column height: expected a default or a nullable column"),
        (UNFILLED, 1_000, "column height: expected a default or a nullable column"),
        ("drop table public.routes_table", 10, "does not exist"),
        ("drop table public.routes_table", 1_000, "does not exist"),
    ] {
        let function = Function::new().await;
        function.land(&records("routes", (0..count).map(|user| route(user, 1.0)))).await;
        function.database.pool.execute(drift).await.expect("the table changes");
        let batch: Vec<Record> =
            (count..2 * count).map(|offset| record("routes", offset, &route(offset, 1.0))).collect();
        let error = function.deliver(&batch).await.expect_err("the batch fails").to_string();
        assert!(
            error.starts_with("the batch cannot land until an operator repairs this") && error.contains(complaint),
            "{error}"
        );
        assert_eq!(function.database.count("select count(*) from sluice.dead_letters").await, 0);
        assert_eq!(function.database.count("select next_offset from sluice.watermarks").await, count);
    }
}

#[tokio::test]
async fn a_batch_fails_if_nothing_fills_a_required_column_and_not_even_a_row_that_violates_a_check_is_rejected() {
    let function = Function::new().await;
    let check = format!("{UNFILLED}; alter table public.routes_table add check (user_id <> 0)");
    function.database.pool.execute(check.as_str()).await.expect("the table changes");
    for count in [3, 1_000] {
        let batch = records("routes", (0..count).map(|user| route(user, 1.0)));
        let error = function.deliver(&batch).await.expect_err("the batch fails").to_string();
        assert!(error.contains("column height: expected a default or a nullable column"), "{error}");
    }
    assert_eq!(function.database.count("select count(*) from sluice.dead_letters").await, 0);
}

#[tokio::test]
async fn a_row_is_rejected_if_a_trigger_leaves_a_required_column_null_and_the_other_rows_land() {
    let function = Function::new().await;
    let trigger = "
        alter table public.routes_table add height integer not null;
        create function public.fill() returns trigger language plpgsql
        as $$ begin new.height := nullif(new.user_id, 1); return new; end $$;
        create trigger fill before insert on public.routes_table for each row execute function public.fill()";
    function.database.pool.execute(trigger).await.expect("the table changes");
    let summary = function.land(&records("routes", (0..3).map(|user| route(user, 1.0)))).await;
    assert_eq!((summary.written, summary.rejected), (2, 1));
    let letters = function.database.json("select error_code, \"column\" from sluice.dead_letters").await;
    assert_eq!(letters, json!([{"error_code": "23502", "column": "height"}]));
}

#[tokio::test]
async fn a_batch_fails_while_the_database_is_read_only_and_lands_afterwards() {
    let function = Function::new().await;
    let name = function.database.url.rsplit('/').next().unwrap_or_default().to_owned();
    let set = |value: &str| format!("alter database {name} set default_transaction_read_only = {value}");
    function.database.pool.execute(set("on").as_str()).await.expect("the setting is changed");
    function.database.pool.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").await.expect("the other connections are ended");
    let batch = records("routes", [route(1, 1.0)]);
    // The connection that made the change can still write, but a new connection cannot.
    let mut failures = 0;
    while function.deliver(&records("routes", [])).await.is_ok() && failures == 0 {
        let fresh = shared::database::connect(&function.database.url, 1).expect("an address");
        let registry = Arc::new(shared::contract::Registry::load(None).expect("the contracts are right"));
        let (wait, metrics) = (Duration::from_secs(1), function.metrics.clone());
        let log = function.log.clone();
        let other = consume::Consume::new(fresh, registry, function.clock.clone(), wait, metrics, log);
        let error = other.invoke(&crate::support::event(&batch), BUDGET).await.expect_err("the database is read-only");
        assert!(error.to_string().starts_with("the batch did not land and will be delivered again"), "{error}");
        failures += 1;
    }
    let mut writable = function.database.pool.acquire().await.expect("a connection");
    (*writable).execute("set default_transaction_read_only = off").await.expect("the setting is changed");
    (*writable).execute(set("off").as_str()).await.expect("the setting is changed");
    drop(writable);
    function.database.pool.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").await.expect("the other connections are ended");
    // A connection that is still read-only makes one delivery fail, and is then closed.
    let written = async {
        loop {
            match function.deliver(&batch).await {
                Ok(summary) => break summary.written,
                Err(error) => assert!(matches!(error, consume::ConsumeError::Retry(_)), "{error}"),
            }
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(30), written).await;
    assert_eq!(written.expect("the batch lands"), 1);
    assert_eq!(function.database.count("select count(*) from sluice.dead_letters").await, 0);
}

#[tokio::test]
async fn a_batch_whose_connection_is_killed_fails_and_lands_when_it_is_delivered_again() {
    let function = Function::new().await;
    let batch = records("user-events", (0..500).map(|number| user_event(number, "Delft")));
    let killer = function.database.pool.clone();
    let kill = async {
        for _ in 0..20 {
            let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()";
            // The statement fails if its connection was ended by an earlier kill.
            let _killed = killer.execute(kill).await;
            tokio::task::yield_now().await;
        }
    };
    let deliver = async {
        let mut failures = 0;
        while function.deliver(&batch).await.is_err() {
            failures += 1;
        }
        failures
    };
    let (_failures, ()) = tokio::join!(deliver, kill);
    assert_eq!(function.deliver(&batch).await.map_or(0, |summary| summary.written), 0);
    assert_eq!(function.database.count("select count(*) from public.user_events").await, 500);
}

#[tokio::test]
async fn a_frozen_transaction_delays_the_next_batch_only_as_long_as_its_lock_lasts() {
    let function = Function::new().await;
    let batch = records("routes", [route(1, 1.0)]);
    function.land(&batch).await;
    let mut zombie = function.database.pool.begin().await.expect("a transaction");
    (*zombie).execute("set local idle_in_transaction_session_timeout = '300ms'").await.expect("the setting is changed");
    (*zombie).execute("select * from sluice.watermarks for update").await.expect("the watermarks are locked");
    let started = Instant::now();
    let summary = function.land(&[record("routes", 1, &route(2, 1.0))]).await;
    assert_eq!(summary.written, 1);
    assert!(started.elapsed() >= Duration::from_millis(200), "the batch waited for the lock");
    drop(zombie);
}

#[tokio::test]
async fn the_function_opens_a_new_connection_in_time_if_its_connection_is_cut_silently() {
    let database = TestDatabase::create().await;
    let server = PgConnectOptions::from_str(&database.url).expect("an address");
    let server = format!("{}:{}", server.get_host(), server.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let between = listener.local_addr().expect("an address").to_string();
    let cut = Arc::new(Notify::new());
    let cutting = Arc::clone(&cut);
    let to = server.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (cut, mut server) = (Arc::clone(&cutting), TcpStream::connect(&to).await.expect("PostgreSQL"));
            tokio::spawn(async move {
                tokio::select! {
                    _ended = copy_bidirectional(&mut client, &mut server) => {}
                    // Both connections stay open, but no more bytes are passed on.
                    () = cut.notified() => std::future::pending().await,
                }
            });
        }
    });
    let pool = shared::database::connect(&database.url.replace(&server, &between), 1).expect("an address");
    let function = Function::connected(database, pool.clone(), None).await;
    function.land(&records("routes", [route(1, 1.0)])).await;
    pool.execute("select 1").await.expect("the database answers");

    cut.notify_waiters();
    let asked = Instant::now();
    pool.execute("select 1").await.expect("another connection answers");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    // The function's own connection has been idle for over a second, so the function tests the connection before use.
    let delivered = Instant::now();
    assert_eq!(function.land(&[record("routes", 1, &route(2, 1.0))]).await.written, 1);
    assert!(delivered.elapsed() < Duration::from_secs(3), "{:?}", delivered.elapsed());
}

#[tokio::test]
async fn an_invocation_succeeds_although_the_server_has_ended_the_connection_of_the_previous_invocation() {
    let function = Function::new().await;
    for offset in 0..3 {
        assert_eq!(function.land(&[record("routes", offset, &route(offset, 1.0))]).await.written, 1);
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
        function.database.pool.execute(end).await.expect("the other connections are ended");
    }
    function.consume.compare(BUDGET).await.expect("the comparison succeeds");
}
