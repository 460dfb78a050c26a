//! A batch lands once, even if it is delivered several times: whole, in pieces, or at the same time as a copy of
//! itself.

use crate::support::{Function, NOW_MS, Record, record, records, route, user_event};
use serde_json::json;

async fn positions(function: &Function) -> i64 {
    function.database.count("select count(*) from public.routes_table").await
}

fn routes(count: i64) -> Vec<Record> {
    records("routes", (0..count).map(|user| route(user, 1_557_258_853.563)))
}

#[tokio::test]
async fn the_values_of_an_event_land_with_the_types_of_their_columns() {
    let function = Function::new().await;
    function.land(&records("routes", [route(9_007_199_254_740_993, 1_557_258_853.563)])).await;
    let rows =
        function.database.json("select user_id::text, timestamp, latitude, longitude from public.routes_table").await;
    assert_eq!(
        rows,
        json!([{"user_id": "9007199254740993", "timestamp": "2019-05-07T19:54:13.563+00:00", "latitude": 52.5, "longitude": 4.25}])
    );
    function.land(&records("user-events", [user_event(7, "Baltimore")])).await;
    let rows = function.database.json("select * from public.user_events").await;
    assert_eq!(
        rows,
        json!([{"id": "00000000-0000-0000-0000-000000000007", "city": "Baltimore", "state": "Maryland", "country": null,
                "post_code": "21201", "datetime": "2019-05-07T19:54:13.563"}])
    );
}

#[tokio::test]
async fn a_redelivered_batch_of_any_size_changes_nothing() {
    for count in [1, 10, 2_000] {
        let function = Function::new().await;
        let batch = routes(count);
        let first = function.land(&batch).await;
        assert_eq!((first.written, first.redelivered), (batch.len(), 0));
        let second = function.land(&batch).await;
        assert_eq!((second.written, second.redelivered), (0, batch.len()));
        assert_eq!(positions(&function).await, count);
    }
}

#[tokio::test]
async fn only_the_tail_of_a_batch_that_straddles_the_watermark_lands() {
    let function = Function::new().await;
    let all = routes(30);
    function.land(&all[..20]).await;
    let tail = function.land(&all[10..]).await;
    assert_eq!((tail.written, tail.redelivered), (10, 10));
    assert_eq!(positions(&function).await, 30);
}

#[tokio::test]
async fn two_concurrent_copies_of_a_batch_land_once() {
    let function = Function::new().await;
    let batch = routes(1_000);
    let (a, b) = tokio::join!(function.deliver(&batch), function.deliver(&batch));
    let written: usize = [a, b].into_iter().map(|summary| summary.map_or(0, |summary| summary.written)).sum();
    assert_eq!(written, 1_000);
    assert_eq!(positions(&function).await, 1_000);
}

#[tokio::test]
async fn one_batch_may_mix_topics_and_partitions() {
    let function = Function::new().await;
    let mut batch = routes(3);
    batch.extend(routes(3).into_iter().map(|route| Record { partition: 1, ..route }));
    batch.extend(records("user-events", [user_event(1, "Delft")]));
    let summary = function.land(&batch).await;
    assert_eq!((summary.records, summary.written), (7, 7));
    let watermarks =
        function.database.json(r#"select topic, "partition", next_offset from sluice.watermarks order by 1, 2"#).await;
    assert_eq!(
        watermarks,
        json!([{"topic": "routes", "partition": 0, "next_offset": 3}, {"topic": "routes", "partition": 1, "next_offset": 3},
               {"topic": "user-events", "partition": 0, "next_offset": 1}])
    );
}

#[tokio::test]
async fn a_tombstone_is_skipped_and_counted() {
    let function = Function::new().await;
    let tombstone = Record { value: None, ..record("routes", 0, &json!(null)) };
    let summary = function.land(&[tombstone, record("routes", 1, &route(1, 1.0))]).await;
    assert_eq!((summary.tombstones, summary.written, summary.rejected), (1, 1, 0));
}

#[tokio::test]
async fn the_records_of_a_recreated_topic_land_and_its_new_incarnation_is_counted() {
    let function = Function::new().await;
    function.land(&routes(10)).await;
    let recreated: Vec<Record> =
        routes(4).into_iter().map(|route| Record { timestamp_ms: NOW_MS + 60_000 + route.offset, ..route }).collect();
    let summary = function.land(&recreated).await;
    assert_eq!((summary.incarnations, summary.written, summary.redelivered), (1, 4, 0));
    assert_eq!(function.land(&recreated).await.redelivered, 4);
    assert_eq!(positions(&function).await, 14);
    assert_eq!(
        function.outcomes("routes", 0..6).await,
        ["written", "written", "written", "written", "pending", "pending"]
    );
}

#[tokio::test]
async fn skipped_offsets_are_counted() {
    let function = Function::new().await;
    let all = routes(10);
    function.land(&all[..4]).await;
    let summary = function.land(&all[7..]).await;
    assert_eq!((summary.skipped_offsets, summary.written), (3, 3));
    let gaps = function.database.json("select first_offset, last_offset, cause from sluice.gaps").await;
    assert_eq!(gaps, json!([{"first_offset": 4, "last_offset": 6, "cause": "transaction"}]));
}

#[tokio::test]
async fn a_topic_without_a_contract_fails_the_invocation() {
    let function = Function::new().await;
    let error = function.deliver(&[record("unheard-of", 0, &json!({}))]).await.expect_err("the batch fails");
    assert_eq!(error.to_string(), "no contract has the topic unheard-of: is CONTRACTS_DIR right?");
}

#[tokio::test]
async fn an_event_with_an_idempotency_key_lands_once_and_its_repeats_are_duplicates() {
    let function = Function::new().await;
    let keyed = |offset, key: &str, user: &str, event| Record {
        headers: vec![("idempotency-key".to_owned(), key.to_owned()), ("sluice-user".to_owned(), user.to_owned())],
        ..record("routes", offset, &event)
    };
    function.land(&[keyed(0, "a", "ann", route(1, 1.0)), keyed(1, "a", "ann", route(1, 1.0))]).await;
    function
        .land(&[
            keyed(2, "a", "ann", route(1, 1.0)),
            keyed(3, "a", "ann", route(2, 1.0)),
            keyed(4, "a", "bob", route(2, 1.0)),
            keyed(5, "b", "ann", route(3, 1.0)),
        ])
        .await;
    assert_eq!(
        function.outcomes("routes", 0..6).await,
        ["written", "duplicate", "duplicate", "rejected: idempotency_conflict", "written", "written"]
    );
    assert_eq!(positions(&function).await, 3);
}

/// Returns a record with headers.
fn with_headers(topic: &str, offset: i64, event: &serde_json::Value, headers: &[(&str, &str)]) -> Record {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Record { headers, ..record(topic, offset, event) }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_adds_neither_rows_nor_dead_letters() {
    let function = Function::new().await;
    let create = json!({"name": "Atlantis"});
    let delete = json!({"op": "delete", "name": "Atlantis"});
    let batch = |offset: i64| -> Vec<Record> {
        [&create, &create, &delete]
            .iter()
            .zip(0..)
            .map(|(event, index)| {
                with_headers("continent", offset + index, event, &[("idempotency-key", &format!("k {index}"))])
            })
            .collect()
    };
    let once = ["written", "rejected: already_exists", "written"];
    let again = ["duplicate", "rejected: already_exists", "duplicate"];
    function.land(&batch(0)).await;
    let summary = function.land(&batch(3)).await;
    assert_eq!((summary.duplicates, summary.rejected), (3, 0));
    assert_eq!(function.outcomes("continent", 0..6).await, [once, again].concat());
    assert_eq!(function.database.count("select count(*) from public.continents").await, 0);
    assert_eq!(function.database.count("select count(*) from sluice.dead_letters").await, 1);
    // The id of a rejected event is kept for longer than seven days, so the receipts of its repeats stay the same.
    function.clock.advance(8 * 24 * 3_600 * 1_000);
    function.land(&batch(6)).await;
    assert_eq!(function.outcomes("continent", 4..5).await, ["rejected: already_exists"]);
}

#[tokio::test]
async fn a_rejected_event_and_its_repeat_in_one_batch_make_one_dead_letter() {
    let function = Function::new().await;
    let delete = json!({"op": "delete", "name": "Atlantis"});
    let keyed = |offset, event| with_headers("continent", offset, event, &[("idempotency-key", "k")]);
    let summary = function.land(&[keyed(0, &delete), keyed(1, &delete), keyed(2, &json!({"name": "Atlantis"}))]).await;
    assert_eq!((summary.rejected, summary.duplicates), (2, 1));
    let outcomes = function.outcomes("continent", 0..3).await;
    assert_eq!(outcomes, ["rejected: not_found", "rejected: not_found", "rejected: idempotency_conflict"]);
}

#[tokio::test]
async fn a_replay_of_a_dead_letter_is_processed_like_a_new_event_and_lands_once() {
    let function = Function::new().await;
    let delete = json!({"op": "delete", "name": "Atlantis"});
    let send = |offset, headers: &[(&str, &str)]| with_headers("continent", offset, &delete, headers);
    let keyed = ("idempotency-key", "k");
    let replay = ("sluice-replay", "1");
    function.land(&[send(0, &[keyed]), send(1, &[])]).await;
    // The entity still does not exist, so the replay becomes a dead letter, too.
    function.land(&[send(2, &[keyed, replay])]).await;
    function.land(&[record("continent", 3, &json!({"name": "Atlantis"}))]).await;
    // The replay is sent twice, as if `console` had died before it marked the dead letter as replayed. Only the first
    // of the two replays lands. The event itself, sent again without the header `sluice-replay`, does not land.
    function.land(&[send(4, &[keyed]), send(5, &[keyed, replay]), send(6, &[keyed, replay])]).await;
    function.land(&[send(7, &[("sluice-replay", "2")]), send(8, &[("sluice-replay", "2")])]).await;
    assert_eq!(
        function.outcomes("continent", 0..9).await,
        [
            "rejected: not_found",
            "rejected: not_found",
            "rejected: not_found",
            "written",
            "duplicate",
            "written",
            "duplicate",
            "rejected: not_found",
            "rejected: not_found"
        ]
    );
    assert_eq!(function.database.count("select count(*) from sluice.dead_letters").await, 4);
}

#[tokio::test]
async fn a_repeat_of_a_waiting_command_has_the_status_waiting() {
    let function = Function::new().await;
    let keyed = |offset| {
        let city = json!({"name": "Muscat", "country": "Oman"});
        with_headers("city", offset, &city, &[("idempotency-key", "k")])
    };
    function.land(&[keyed(0)]).await;
    function.land(&[keyed(1)]).await;
    assert_eq!(function.outcomes("city", 0..2).await, ["waiting", "waiting"]);
    function.land(&[record("continent", 0, &json!({"name": "Asia"}))]).await;
    function.land(&[record("country", 0, &json!({"name": "Oman", "continent": "Asia"}))]).await;
    assert_eq!(function.outcomes("city", 0..2).await, ["written", "duplicate"]);
}

#[tokio::test]
async fn ids_are_forgotten_after_seven_days() {
    let function = Function::new().await;
    let keyed = |offset| Record {
        headers: vec![("idempotency-key".to_owned(), "k".to_owned())],
        ..record("routes", offset, &route(1, 1.0))
    };
    const DAY_MS: i64 = 24 * 3_600 * 1_000;
    function.land(&[keyed(0)]).await;
    function.clock.advance(7 * DAY_MS - 1);
    function.land(&[keyed(1)]).await;
    function.clock.advance(3_600_000);
    function.land(&[keyed(2)]).await;
    assert_eq!(function.outcomes("routes", 0..3).await, ["written", "duplicate", "written"]);
    assert_eq!(positions(&function).await, 2);
}

#[tokio::test]
async fn an_event_that_repeats_the_id_in_the_dedupe_column_is_a_duplicate_in_a_batch_of_any_size() {
    for count in [3_u128, 1_000] {
        let function = Function::new().await;
        function.land(&records("user-events", [user_event(1, "Delft")])).await;
        let mut batch: Vec<Record> = records("user-events", (1..=count).map(|number| user_event(number, "Delft")));
        batch.push(record("user-events", count as i64, &user_event(2, "Gouda")));
        batch.iter_mut().for_each(|record| record.offset += 1);
        batch.iter_mut().for_each(|record| record.timestamp_ms += 1);
        let summary = function.land(&batch).await;
        assert_eq!((summary.duplicates, summary.written), (2, batch.len() - 2));
        assert_eq!(function.outcomes("user-events", 0..3).await, ["written", "duplicate", "written"]);
        assert_eq!(function.database.count("select count(*) from public.user_events").await, count as i64);
    }
}

#[tokio::test]
async fn events_that_survive_a_truncation_keep_their_receipts() {
    let function = Function::new().await;
    let mut log = routes(6);
    log[1].value = Some(b"{".to_vec());
    log[4].value = Some(b"{".to_vec());
    function.land(&log).await;
    let rewritten: Vec<Record> = (3..6)
        .map(|offset| Record { timestamp_ms: NOW_MS + 60_000, ..record("routes", offset, &route(offset, 2.0)) })
        .collect();
    assert_eq!(function.land(&rewritten).await.incarnations, 1);
    assert_eq!(
        function.outcomes("routes", 0..6).await,
        ["written", "rejected: not_json", "written", "written", "written", "written"]
    );
}
