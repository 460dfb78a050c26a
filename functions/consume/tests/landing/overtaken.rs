//! `consume` rejects replays that a later event with the same key has overtaken. Before `console` sends a replay, it
//! searches for such events up to an offset. Another event may be sent between that offset and the replay. `consume`
//! finds that event in Kafka.

use serde_json::json;

use crate::own_stream::{Own, order, orders, replay, streams};
use crate::support::Record;

const TABLE: &str = "
    create table public.orders (number text primary key, state text, constraint good check (state <> 'bad'))";

/// Creates a stream without a version. Its event at offset 0 was rejected, but could land now.
async fn with_rejected(number: &str) -> (Own, Record) {
    let own = orders("upsert", &json!({}), &json!({}), TABLE).await;
    let rejected = order(0, &json!({"number": number, "state": "bad"}));
    own.function.land(std::slice::from_ref(&rejected)).await;
    let drop = "alter table public.orders drop constraint good";
    sqlx::query(drop).execute(&own.function.database.pool).await.expect("the check is dropped");
    (own, rejected)
}

/// Returns a replay of a record. `console` has searched up to `searched_until`: partitions and offsets such as
/// `0/17,1/4`.
fn checked_replay(of: &Record, offset: i64, searched_until: &str) -> Record {
    with_search(replay(of, of, offset), searched_until)
}

fn with_search(mut record: Record, searched_until: &str) -> Record {
    record.headers.push(("sluice-replay-checked".to_owned(), searched_until.to_owned()));
    record
}

#[tokio::test]
async fn an_event_that_landed_between_the_search_and_the_replay_overtakes_the_replay() {
    // The later event is in partition 0, at offset 1. The first search ended before it, and the second search did not
    // cover its partition.
    for searched_until in ["0/1", "1/9"] {
        let (own, rejected) = with_rejected("a").await;
        own.function.land(&[order(1, &json!({"number": "a", "state": "new"}))]).await;
        own.function.land(&[checked_replay(&rejected, 2, searched_until)]).await;
        assert_eq!(own.outcomes(0..3).await, ["rejected: 23514", "written", "rejected: overtaken"], "{searched_until}");
        assert_eq!(own.rows().await, json!([{"number": "a", "state": "new"}]), "{searched_until}");
    }
}

#[tokio::test]
async fn an_event_with_another_key_or_before_the_end_of_the_search_does_not_overtake_a_replay() {
    for (number, searched_until) in [("b", "0/1"), ("a", "0/2")] {
        let (own, rejected) = with_rejected("a").await;
        own.function.land(&[order(1, &json!({"number": number, "state": "other"}))]).await;
        own.function.land(&[checked_replay(&rejected, 2, searched_until)]).await;
        assert_eq!(own.outcomes(2..3).await, ["written"], "{number} {searched_until}");
        let state = "select state from public.orders where number = 'a'";
        assert_eq!(own.function.database.json(state).await, json!([{"state": "bad"}]), "{number} {searched_until}");
    }
}

#[tokio::test]
async fn the_later_of_two_events_stays_in_the_table_whichever_is_replayed_first() {
    for is_first_replayed_first in [true, false] {
        let (own, first) = with_rejected("a").await;
        let check = "alter table public.orders add constraint good check (state <> 'worse')";
        sqlx::query(check).execute(&own.function.database.pool).await.expect("the check is added");
        let second = order(1, &json!({"number": "a", "state": "worse"}));
        own.function.land(std::slice::from_ref(&second)).await;
        let drop = "alter table public.orders drop constraint good";
        sqlx::query(drop).execute(&own.function.database.pool).await.expect("the check is dropped");

        let (one, other) = if is_first_replayed_first { (&first, &second) } else { (&second, &first) };
        own.function.land(&[checked_replay(one, 2, "0/2")]).await;
        own.function.land(&[checked_replay(other, 3, "0/2")]).await;
        let outcome = if is_first_replayed_first { "written" } else { "rejected: overtaken" };
        assert_eq!(own.outcomes(2..4).await, ["written", outcome]);
        assert_eq!(own.rows().await, json!([{"number": "a", "state": "worse"}]));
    }
}

#[tokio::test]
async fn an_event_overtakes_a_replay_even_if_it_writes_the_number_of_the_key_in_another_way() {
    let contract = json!({
        "type": "object",
        "required": ["number"],
        "properties": {"number": {"type": "number"}},
        "x-sluice": {
            "topic": "orders", "partitions": 2, "key": ["/number"], "mode": "upsert", "table": "public.orders",
            "columns": {
                "number": {"from": "/number", "type": "numeric"}, "state": {"from": "/state", "type": "text"}
            }
        }
    });
    let own = streams(&[("order", contract)], &TABLE.replace("number text", "number numeric")).await;
    let spelled = |offset: i64, number: &str, state: &str| {
        let event = format!(r#"{{"number": {number}, "state": "{state}"}}"#);
        order(offset, &serde_json::from_str(&event).expect("the event is JSON"))
    };
    let rejected = spelled(0, "1.5", "bad");
    own.function.land(std::slice::from_ref(&rejected)).await;
    own.function.land(&[spelled(1, "1.50", "new")]).await;
    own.function.land(&[checked_replay(&rejected, 2, "0/1")]).await;
    // If one batch has both spellings, the later event wins, too.
    own.function.land(&[spelled(3, "2.5", "old"), spelled(4, "2.50", "new")]).await;
    let outcomes = ["rejected: 23514", "written", "rejected: overtaken", "written", "written"];
    assert_eq!(own.outcomes(0..5).await, outcomes);
    let states = "select number::float8, state from public.orders order by number";
    let expected = json!([{"number": 1.5, "state": "new"}, {"number": 2.5, "state": "new"}]);
    assert_eq!(own.function.database.json(states).await, expected);
}

#[tokio::test]
async fn a_replay_is_rejected_if_the_events_before_it_cannot_be_read() {
    let (own, rejected) = with_rejected("a").await;
    own.function.land(&[order(1, &json!({"number": "b", "state": "other"}))]).await;
    own.function.log.delete_before("orders", 0, 2);
    let unread = checked_replay(&rejected, 2, "0/1");
    own.function.land(std::slice::from_ref(&unread)).await;
    assert_eq!(own.outcomes(2..3).await, ["rejected: overtaken"]);
    // If the search ended at the replay, no event lies in between, and nothing has to be read.
    own.function.land(&[with_search(replay(&unread, &rejected, 3), "0/3")]).await;
    assert_eq!(own.outcomes(3..4).await, ["written"]);
}
