//! How `consume` handles replays, especially after the database was restored to a time before the dead letters were
//! marked as replayed. In these tests, a new database takes the place of a restored one, so the log is read from its
//! start.

use serde_json::{Value, json};

use crate::own_stream::{Own, order, orders, replay};
use crate::support::Record;

async fn appended() -> Own {
    let table = "create table public.orders (number text, state text,
                                             constraint good check (state <> 'bad'))";
    orders("append", &json!({}), &json!({}), table).await
}

async fn allow_all(own: &Own) {
    let drop = "alter table public.orders drop constraint good";
    sqlx::query(drop).execute(&own.function.database.pool).await.expect("the check is dropped");
}

fn bad(offset: i64) -> Record {
    order(offset, &json!({"number": offset.to_string(), "state": "bad"}))
}

async fn letters(own: &Own) -> Value {
    let select = r#"select "offset", status, replayed_offset as replay from sluice.dead_letters order by "offset""#;
    own.function.database.json(select).await
}

async fn count(own: &Own) -> i64 {
    own.function.database.count("select count(*) from public.orders").await
}

#[tokio::test]
async fn reading_a_replay_marks_its_dead_letter_as_replayed_and_further_replays_are_duplicates() {
    let own = appended().await;
    own.function.land(&[bad(0)]).await;
    allow_all(&own).await;
    own.function.land(&[replay(&bad(0), &bad(0), 1), replay(&bad(0), &bad(0), 2)]).await;
    own.function.land(&[replay(&bad(0), &bad(0), 3)]).await;
    assert_eq!(letters(&own).await, json!([{"offset": 0, "status": "replayed", "replay": 1}]));
    assert_eq!(own.outcomes(0..4).await, ["rejected: 23514", "written", "duplicate", "duplicate"]);
    assert_eq!(count(&own).await, 1);
}

#[tokio::test]
async fn an_edited_event_lands_once_in_place_of_its_dead_letter_although_the_payload_differs() {
    for headers in [vec![], vec![("idempotency-key".to_owned(), "k".to_owned())]] {
        let own = appended().await;
        let first = Record { headers, ..bad(0) };
        own.function.land(std::slice::from_ref(&first)).await;
        let edited = |offset: i64, number: &str| {
            let mut edited = replay(&first, &first, offset);
            edited.value = Some(json!({"number": number, "state": "good"}).to_string().into_bytes());
            let place = edited.headers.iter().find(|(name, _)| name == "sluice-replay").expect("the header").1.clone();
            edited.headers.push(("sluice-replay-edited".to_owned(), place));
            edited
        };
        // The edited event is sent twice, as after a crash. Then the event is edited in a different way.
        own.function.land(&[edited(1, "7"), edited(2, "7"), edited(3, "8")]).await;
        let expected = ["rejected: 23514", "written", "duplicate", "rejected: idempotency_conflict"];
        assert_eq!(own.outcomes(0..4).await, expected);
        assert_eq!(letters(&own).await[0], json!({"offset": 0, "status": "replayed", "replay": 1}));
        // A repeat of the original event with the same idempotency key has the original's outcome.
        if !first.headers.is_empty() {
            own.function.land(&[Record { offset: 4, ..first.clone() }]).await;
            assert_eq!(own.outcomes(4..5).await, ["rejected: 23514"]);
        }
        assert_eq!(count(&own).await, 1);
    }
}

#[tokio::test]
async fn after_a_restore_the_outcomes_of_a_dead_letter_and_its_replays_do_not_depend_on_how_they_are_batched() {
    for in_one_batch in [false, true] {
        let own = appended().await;
        let log = [bad(0), replay(&bad(0), &bad(0), 1), replay(&replay(&bad(0), &bad(0), 1), &bad(0), 2)];
        if in_one_batch {
            own.function.land(&log).await;
        } else {
            for record in &log {
                own.function.land(std::slice::from_ref(record)).await;
            }
        }
        let expected = json!([
            {"offset": 0, "status": "replayed", "replay": 1},
            {"offset": 1, "status": "replayed", "replay": 2},
            {"offset": 2, "status": "open", "replay": null}
        ]);
        assert_eq!(letters(&own).await, expected, "{in_one_batch}");
        assert_eq!(own.outcomes(0..3).await, ["rejected: 23514"; 3], "{in_one_batch}");
        // An operator replays the event two more times. The first of these replays lands, and the second is a
        // duplicate.
        allow_all(&own).await;
        let again = replay(&log[2], &log[0], 3);
        own.function.land(&[again.clone(), replay(&log[2], &log[0], 4)]).await;
        assert_eq!(own.outcomes(3..5).await, ["written", "duplicate"], "{in_one_batch}");
        assert_eq!(count(&own).await, 1);
    }
}

#[tokio::test]
async fn an_event_that_lands_after_a_restore_does_not_land_again_when_its_replay_is_read() {
    for in_one_batch in [false, true] {
        for headers in [vec![], vec![("idempotency-key".to_owned(), "k".to_owned())]] {
            let own = appended().await;
            allow_all(&own).await;
            let first = Record { headers, ..bad(0) };
            let log = [first.clone(), replay(&first, &first, 1), replay(&replay(&first, &first, 1), &first, 2)];
            if in_one_batch {
                own.function.land(&log).await;
            } else {
                for record in &log {
                    own.function.land(std::slice::from_ref(record)).await;
                }
            }
            assert_eq!(own.outcomes(0..3).await, ["written", "duplicate", "duplicate"], "{in_one_batch}");
            assert_eq!((count(&own).await, letters(&own).await), (1, json!([])), "{in_one_batch}");
        }
    }
}

#[tokio::test]
async fn a_replay_that_is_read_before_its_event_on_another_partition_shares_the_outcome_of_the_event() {
    for is_rejected in [false, true] {
        let own = appended().await;
        if !is_rejected {
            allow_all(&own).await;
        }
        let first = Record { partition: 1, ..bad(0) };
        let replayed = Record { partition: 0, ..replay(&first, &first, 5) };
        own.function.land(std::slice::from_ref(&replayed)).await;
        assert_eq!(own.outcomes(5..6).await, ["pending"]);
        own.function.land(std::slice::from_ref(&first)).await;
        let (outcome, rows) = if is_rejected { ("rejected: 23514", 0) } else { ("duplicate", 1) };
        assert_eq!((own.outcomes(5..6).await, count(&own).await), (vec![outcome.to_owned()], rows));
        if is_rejected {
            allow_all(&own).await;
            let again = Record { partition: 0, ..replay(&first, &first, 6) };
            own.function.land(&[again]).await;
            assert_eq!((own.outcomes(6..7).await, count(&own).await), (vec!["written".to_owned()], 1));
        }
    }
}

#[tokio::test]
async fn a_dead_letter_is_marked_as_replayed_even_if_its_replay_breaks_the_contract_again() {
    let own = appended().await;
    let broken = order(0, &json!({"number": 7}));
    let log = [broken.clone(), replay(&broken, &broken, 1)];
    own.function.land(&log).await;
    let expected = json!([
        {"offset": 0, "status": "replayed", "replay": 1}, {"offset": 1, "status": "open", "replay": null}
    ]);
    assert_eq!(letters(&own).await, expected);
    // The replay of an event without a dead letter is pending, because the event itself has not been read yet.
    own.function.land(&[replay(&order(90, &json!({"number": 7})), &order(90, &json!({"number": 7})), 2)]).await;
    assert_eq!(letters(&own).await, expected);
    assert_eq!(own.outcomes(2..3).await, ["pending"]);
}

#[tokio::test]
async fn a_replay_that_names_its_dead_letter_by_number_marks_only_a_letter_with_the_same_payload() {
    let numbered = |of: &Record, id: i64, offset: i64| Record {
        offset,
        timestamp_ms: of.timestamp_ms + 100,
        headers: vec![("sluice-replay".to_owned(), id.to_string())],
        ..of.clone()
    };
    let own = appended().await;
    own.function.land(&[bad(0), bad(1)]).await;
    allow_all(&own).await;
    let ids: Vec<i64> = sqlx::query_scalar(r#"select id from sluice.dead_letters order by "offset""#)
        .fetch_all(&own.function.database.pool)
        .await
        .expect("the database answers");
    own.function
        .land(&[numbered(&bad(0), ids[1], 2), numbered(&bad(0), ids[0], 3), numbered(&bad(0), ids[0], 4)])
        .await;
    let expected = json!([
        {"offset": 0, "status": "replayed", "replay": 3}, {"offset": 1, "status": "open", "replay": null}
    ]);
    assert_eq!(letters(&own).await, expected);
    assert_eq!(own.outcomes(3..5).await, ["written", "duplicate"]);
}

#[tokio::test]
async fn a_replay_of_a_dead_letter_from_before_the_topic_was_recreated_marks_only_that_letter() {
    let own = appended().await;
    own.function.land(&[bad(0), bad(1)]).await;
    // The topic is recreated: offsets begin again, and the records are newer.
    let newer = |record: Record| Record { timestamp_ms: record.timestamp_ms + 1_000_000, ..record };
    own.function.land(&[newer(bad(0))]).await;
    allow_all(&own).await;
    let replayed = newer(replay(&bad(0), &bad(0), 1));
    own.function.land(&[replayed]).await;
    let select = r#"select incarnation, "offset", status from sluice.dead_letters order by incarnation, "offset""#;
    let expected = json!([
        {"incarnation": 1, "offset": 0, "status": "replayed"}, {"incarnation": 1, "offset": 1, "status": "open"},
        {"incarnation": 2, "offset": 0, "status": "open"}
    ]);
    assert_eq!(own.function.database.json(select).await, expected);
    assert_eq!(count(&own).await, 1);
}
