use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use console::Console;
use serde_json::{Value, json};

use crate::schedule::{EVENT, invoke};
use crate::support::{Answer, NOW_MS, TestConsole};

/// Stores open letters of the stream `route`, at offsets from 0 on.
async fn store(function: &TestConsole, letters: i64) {
    let insert = r#"insert into sluice.dead_letters (topic, "partition", "offset", incarnation, payload, headers,
                        record_timestamp_ms, reason, error_code)
                    select $1, 0, n, 1, convert_to(format('{"userID": %s}', n), 'UTF8'), '[]', $2, 'r', 'c'
                    from generate_series(0, $3 - 1) n"#;
    let insert = sqlx::query(insert).bind(function.topic("routes")).bind(NOW_MS).bind(letters);
    insert.execute(&function.pool).await.unwrap();
}

async fn create(function: &TestConsole, body: Value) -> Answer {
    function.post("/dead-letters/replays", &[], body.to_string()).await
}

/// Looks up a run again and again until it has ended. Each lookup advances the run.
async fn finish(function: &TestConsole, href: &str) -> Value {
    let ending = async {
        loop {
            let run = function.get(href).await.body;
            if run["status"] != "running" {
                return run;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ending).await.unwrap()
}

async fn statuses(function: &TestConsole) -> BTreeMap<String, i64> {
    let select = "select status, count(*) from sluice.dead_letters group by 1";
    let found: Vec<(String, i64)> = sqlx::query_as(select).fetch_all(&function.pool).await.unwrap();
    found.into_iter().collect()
}

fn count(statuses: &[(&str, i64)]) -> BTreeMap<String, i64> {
    statuses.iter().map(|(status, count)| ((*status).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_run_replays_exactly_the_letters_that_matched_when_it_was_created() {
    let function = TestConsole::start().await;
    store(&function, 1_200).await;
    let other = function.reject("city", 0, 0, b"{}", &json!([])).await;
    let filter = json!({"stream": "route"});
    let answer = create(&function, json!({"filter": filter, "dry_run": true})).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"count": 1_200})));

    let answer = create(&function, json!({"filter": filter})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let href = answer.body["href"].as_str().unwrap();
    assert_eq!(answer.body["id"], json!(1));
    for (name, value) in [
        ("count", json!(1_200)),
        ("replayed", json!(0)),
        ("skipped", json!(0)),
        ("skip_reasons", json!({})),
        ("status", json!("running")),
        ("href", json!("/dead-letters/replays/1")),
        ("created_by", json!("anyone")),
        ("filter", filter),
        ("force", json!(false)),
    ] {
        assert_eq!(answer.body[name], value, "{name}");
    }
    // A letter that is rejected after the run was created is not part of the run.
    let late = function.reject("routes", 3, 7, b"{}", &json!([])).await;
    let run = finish(&function, href).await;
    assert_eq!(json!([run["status"], run["replayed"], run["skipped"]]), json!(["done", 1_200, 0]));
    assert!(run["finished_at"].is_string(), "{run}");
    for id in [other, late] {
        assert_eq!(function.get(&format!("/dead-letters/{id}")).await.body["status"], "open");
    }
    assert_eq!(statuses(&function).await, count(&[("open", 2), ("replayed", 1_200)]));
    let records = function.records("routes").await;
    let first: BTreeSet<&str> = records.iter().map(|record| &record.headers["sluice-replay"][..]).collect();
    assert_eq!((records.len(), first.len()), (1_200, 1_200));
    let letter = function.get("/dead-letters?status=replayed&limit=1").await.body["items"][0].clone();
    let place = format!("{}/0/{}/{NOW_MS}", function.topic("routes"), letter["offset"]);
    let record = records.iter().find(|record| record.headers["sluice-replay"] == place).unwrap();
    assert_eq!(json!(record.offset), letter["replayed_as"]["offset"]);
    assert_eq!(json!(record.partition), letter["replayed_as"]["partition"]);
    assert_eq!(function.get("/dead-letters/replays").await.body["items"], json!([run]));
    function.end().await;
}

#[tokio::test]
async fn a_run_without_letters_is_done_and_unknown_runs_are_not_found() {
    let function = TestConsole::start().await;
    let run = create(&function, json!({"filter": {"error_code": "none"}})).await.body;
    assert_eq!(json!([run["status"], run["count"]]), json!(["done", 0]));
    for path in ["/dead-letters/replays/2", "/dead-letters/replays/x"] {
        assert_eq!(function.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        let cancel = function.post(&format!("{path}/cancel"), &[], "").await;
        assert_eq!(cancel.status, StatusCode::NOT_FOUND, "{path}");
    }
    for body in [r#"{"filter": {"status": "discarded"}}"#, r#"{"filter": {"cause": 1}}"#, r#"{"force": true}"#, "{}"] {
        let answer = function.post("/dead-letters/replays", &[], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
    }
    function.end().await;
}

#[tokio::test]
async fn an_unforced_run_skips_letters_whose_event_was_replayed_three_times_or_whose_key_may_have_later_events() {
    let function = TestConsole::start().await;
    // Kafka has no event at this offset, so later events with the letter's key cannot be ruled out.
    let refused = function.reject("continent", 0, 41, br#"{"op": "update", "name": "Asia"}"#, &json!([])).await;
    let looping = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    let twice = function.reject("routes", 0, 2, b"{}", &json!([])).await;
    let orphan = function.reject("gone", 0, 3, b"{}", &json!([])).await;
    for (replays, id) in [(3, looping), (2, twice)] {
        let set = "update sluice.dead_letters set replays = $1 where id = $2";
        sqlx::query(set).bind(replays).bind(id).execute(&function.pool).await.unwrap();
    }
    // Waits until the new topic's partition has a leader.
    assert_eq!(function.records("continent").await.len(), 0);

    let run = create(&function, json!({"filter": {}})).await.body;
    let run = finish(&function, run["href"].as_str().unwrap()).await;
    assert_eq!(json!([run["count"], run["replayed"], run["skipped"]]), json!([4, 1, 3]), "{run}");
    assert_eq!(run["skip_reasons"], json!({"later_event_possible": 1, "no_stream": 1, "replayed_often": 1}));
    assert_eq!(function.get(&format!("/dead-letters/{twice}")).await.body["status"], "replayed");

    let run = create(&function, json!({"filter": {}, "force": true})).await.body;
    let run = finish(&function, run["href"].as_str().unwrap()).await;
    assert_eq!(json!([run["count"], run["replayed"], run["skipped"]]), json!([3, 2, 1]), "{run}");
    assert_eq!(run["skip_reasons"], json!({"no_stream": 1}));
    for id in [refused, looping] {
        assert_eq!(function.get(&format!("/dead-letters/{id}")).await.body["status"], "replayed");
    }
    assert_eq!(function.get(&format!("/dead-letters/{orphan}")).await.body["status"], "open");
    function.end().await;
}

#[tokio::test]
async fn each_letter_is_replayed_once_even_if_several_processes_continue_a_run() {
    let function = TestConsole::start().await;
    store(&function, 3_000).await;
    create(&function, json!({"filter": {}})).await;
    let continuing =
        (0..4).map(|_| async { while function.get("/dead-letters/replays/1").await.body["status"] == "running" {} });
    tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(continuing)).await.unwrap();
    assert_eq!(statuses(&function).await, count(&[("replayed", 3_000)]));
    assert_eq!(function.records("routes").await.len(), 3_000);
    let run = function.get("/dead-letters/replays/1").await.body;
    assert_eq!(json!([run["replayed"], run["skipped"]]), json!([3_000, 0]));
    function.end().await;
}

/// If a step is cut off between the send and the commit, the next process repeats the step. Some letters are then sent
/// twice, but under the same id, so their events land once.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_replays_each_letter_under_only_one_id_even_if_its_processes_are_killed() {
    const LETTERS: i64 = 4_000;
    let function = TestConsole::start().await;
    store(&function, LETTERS).await;
    create(&function, json!({"filter": {}})).await;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    for kill in 0..20_u64 {
        let console = Arc::new(Console::in_background(Arc::clone(&function.ingest)));
        let continuing = tokio::spawn(async move { console::advance_forever(&console).await });
        let after_ms = 5 + seed.rotate_left(3 * u32::try_from(kill).unwrap()) % 120;
        // Kills the task at a random moment.
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        continuing.abort();
        let _killed = continuing.await;
    }
    let run = finish(&function, "/dead-letters/replays/1").await;
    assert_eq!(json!([run["status"], run["replayed"], run["skipped"]]), json!(["done", LETTERS, 0]));
    assert_eq!(statuses(&function).await, count(&[("replayed", LETTERS)]));
    let records = function.records("routes").await;
    let ids: BTreeSet<&str> = records.iter().map(|record| &record.headers["sluice-replay"][..]).collect();
    assert_eq!(ids.len() as i64, LETTERS, "{} records", records.len());
    let left: i64 =
        sqlx::query_scalar("select count(*) from sluice.replay_run_letters").fetch_one(&function.pool).await.unwrap();
    assert_eq!(left, 0);
    function.end().await;
}

#[tokio::test]
async fn a_cancelled_run_replays_nothing_more_and_the_schedule_continues_other_runs() {
    let function = TestConsole::start().await;
    store(&function, 100).await;
    create(&function, json!({"filter": {}})).await;
    let cancelled = function.post("/dead-letters/replays/1/cancel", &[], "").await;
    assert_eq!((cancelled.status, &cancelled.body["status"]), (StatusCode::OK, &json!("cancelled")));
    // Cancelling again changes nothing.
    let again = function.post("/dead-letters/replays/1/cancel", &[], "").await;
    assert_eq!(again.body, cancelled.body);
    assert_eq!(invoke(&function, EVENT).await, Ok(json!({"rejected": 0})));
    let run = function.get("/dead-letters/replays/1").await.body;
    assert_eq!(json!([run["status"], run["replayed"]]), json!(["cancelled", 0]));
    assert_eq!(statuses(&function).await, count(&[("open", 100)]));

    create(&function, json!({"filter": {}})).await;
    assert_eq!(invoke(&function, EVENT).await, Ok(json!({"rejected": 0})));
    assert_eq!(statuses(&function).await, count(&[("replayed", 100)]));
    let runs = function.get("/dead-letters/replays?limit=1").await.body;
    assert_eq!(json!([runs["items"][0]["id"], runs["next"]]), json!([2, "2"]));
    let runs = function.get("/dead-letters/replays?limit=1&after=2").await.body;
    assert_eq!(json!([runs["items"][0]["id"], runs["next"]]), json!([1, null]));
    function.end().await;
}

#[tokio::test]
async fn the_audit_log_names_the_user_and_the_object_of_each_replay_and_cancellation_and_discard() {
    let function = TestConsole::start().await;
    let id = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    function.reject("routes", 0, 2, b"{}", &json!([])).await;
    function.post(&format!("/dead-letters/{id}/replay?force=true"), &[], "").await;
    create(&function, json!({"filter": {"stream": "route"}})).await;
    function.post("/dead-letters/replays/1/cancel", &[], "").await;
    let body = json!({"filter": {"stream": "route"}, "note": "sent by a test"}).to_string();
    function.post("/dead-letters/discard", &[], body).await;

    let audit = function.get("/audit").await.body;
    let entries: Vec<Value> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            assert!(entry["at"].is_string(), "{entry}");
            json!([entry["user"], entry["action"], entry["object"], entry["detail"]])
        })
        .collect();
    let expected = [
        json!(["anyone", "discarded", "dead-letters", {"filter": {"stream": "route"}, "note": "sent by a test", "count": 1}]),
        json!(["anyone", "cancelled", "dead-letters/replays/1", {}]),
        json!(["anyone", "replayed", "dead-letters/replays/1", {"filter": {"stream": "route"}, "count": 1, "force": false}]),
        json!(["anyone", "replayed", format!("dead-letters/{id}"), {"force": true, "edited": false}]),
    ];
    assert_eq!(entries, expected);
    let page = function.get("/audit?limit=3").await.body;
    assert_eq!(page["items"], json!(audit["items"].as_array().unwrap()[..3]));
    let after = page["next"].as_str().unwrap();
    let rest = function.get(&format!("/audit?after={after}")).await.body;
    assert_eq!(rest, json!({"items": [audit["items"][3]], "next": null}));
    function.end().await;
}
