//! Versions: an event replaces a row only if the event's version is at least as high as the row's. This holds for every
//! way in which events are written.

use serde_json::{Value, json};
use shared::ledger::event_ids::REMEMBERED_MS;

use crate::own_stream::{Own, order, orders, replay};
use crate::support::Record;

const TABLE: &str = "create table public.orders (number text primary key, state text, version bigint, pos bigint)";

async fn by_event(mode: &str) -> Own {
    let columns = json!({"version": {"from": "/version", "type": "bigint"}});
    orders(mode, &json!({"version": "/version"}), &columns, TABLE).await
}

async fn by_offset(mode: &str) -> Own {
    let columns = json!({"pos": {"meta": "offset", "type": "bigint"}});
    let own = orders(mode, &json!({"version": {"meta": "offset"}}), &columns, TABLE).await;
    let check = "alter table public.orders add constraint good check (state <> 'bad')";
    sqlx::query(check).execute(&own.function.database.pool).await.expect("the check is added");
    own
}

async fn allow_all(own: &Own) {
    let drop = "alter table public.orders drop constraint good";
    sqlx::query(drop).execute(&own.function.database.pool).await.expect("the check is dropped");
}

fn event(number: &str, state: &str, version: impl Into<Value>) -> Value {
    json!({"number": number, "state": state, "version": version.into()})
}

fn command(op: &str, state: &str, version: impl Into<Value>) -> Value {
    json!({"op": op, "number": "a", "state": state, "version": version.into()})
}

#[tokio::test]
async fn in_a_later_batch_an_event_with_a_lower_version_is_superseded_and_one_with_an_equal_version_lands() {
    let own = by_event("upsert").await;
    for (offset, state, version, expected) in
        [(0, "x", 5, "written"), (1, "y", 4, "superseded"), (2, "z", 5, "written"), (3, "w", 6, "written")]
    {
        let summary = own.function.land(&[order(offset, &event("a", state, version))]).await;
        assert_eq!(summary.written + summary.superseded, 1);
        assert_eq!(own.outcomes(offset..offset + 1).await, [expected], "{state}");
    }
    assert_eq!(own.rows().await, json!([{"number": "a", "state": "w", "version": 6, "pos": null}]));
}

#[tokio::test]
async fn the_events_of_one_batch_have_the_same_outcomes_as_in_batches_of_their_own() {
    let events = [
        event("a", "0", 5),
        event("b", "1", 1),
        event("a", "2", 7),
        event("a", "3", 6),
        event("a", "4", 7),
        event("b", "5", null()),
        event("c", "6", null()),
        event("c", "7", null()),
        event("c", "8", -1),
        event("c", "9", null()),
    ];
    let batch: Vec<Record> = events.iter().zip(0..).map(|(event, offset)| order(offset, event)).collect();
    let expected = [
        "written",
        "written",
        "written",
        "superseded",
        "written",
        "superseded",
        "written",
        "written",
        "written",
        "superseded",
    ];
    let rows = json!([
        {"number": "a", "state": "4", "version": 7, "pos": null},
        {"number": "b", "state": "1", "version": 1, "pos": null},
        {"number": "c", "state": "8", "version": -1, "pos": null}
    ]);
    let (whole, single) = (by_event("upsert").await, by_event("upsert").await);
    let summary = whole.function.land(&batch).await;
    assert_eq!((summary.written, summary.superseded), (7, 3));
    for record in &batch {
        single.function.land(std::slice::from_ref(record)).await;
    }
    for own in [whole, single] {
        assert_eq!(own.outcomes(0..10).await, expected);
        assert_eq!(own.rows().await, rows);
        assert_eq!(own.function.land(&batch).await.redelivered, 10);
    }
}

fn null() -> Value {
    Value::Null
}

#[tokio::test]
async fn a_version_may_have_any_type_whose_values_are_ordered() {
    for (ty, low, high) in [
        ("smallint", json!(-1), json!(2)),
        ("integer", json!(9), json!(10)),
        ("numeric", json!(9.5), json!(10)),
        ("double precision", json!(-0.5), json!(0.25)),
        ("real", json!(1.5), json!(2.5)),
        ("date", json!("1999-12-31"), json!("2000-01-01")),
        ("timestamp", json!("1999-12-31 23:59:59"), json!("2000-01-01 00:00:00")),
        ("timestamptz", json!(1), json!("2000-01-01T00:00:00Z")),
    ] {
        for mode in ["upsert", "entity"] {
            let columns = json!({"version": {"from": "/version", "type": ty}});
            let table = format!("create table public.orders (number text primary key, state text, version {ty})");
            let own = orders(mode, &json!({"version": "/version"}), &columns, &table).await;
            let events = [
                command("create", "0", low.clone()),
                command("update", "1", high.clone()),
                command("update", "2", low.clone()),
                command("update", "3", high.clone()),
                command("update", "4", null()),
            ];
            let batch: Vec<Record> = events.iter().zip(0..).map(|(event, offset)| order(offset, event)).collect();
            own.function.land(&batch[..3]).await;
            own.function.land(&batch[3..]).await;
            let expected = ["written", "written", "superseded", "written", "superseded"];
            assert_eq!(own.outcomes(0..5).await, expected, "{ty} {mode}");
            assert_eq!(own.rows().await[0]["state"], json!("3"), "{ty} {mode}");
        }
    }
}

#[tokio::test]
async fn updating_or_deleting_an_entity_needs_an_equal_or_higher_version() {
    let own = by_event("entity").await;
    let batches = [
        vec![command("create", "0", 5)],
        vec![command("update", "1", 4), command("delete", "", 4), command("update", "2", 6)],
        vec![command("update", "3", 5)],
        vec![command("update", "4", 8), command("update", "5", 7), command("delete", "", 7)],
    ];
    let mut offset = 0;
    for batch in batches {
        let records: Vec<Record> = batch.iter().zip(offset..).map(|(event, offset)| order(offset, event)).collect();
        offset += i64::try_from(records.len()).expect("a small number");
        own.function.land(&records).await;
    }
    let expected =
        ["written", "superseded", "superseded", "written", "superseded", "written", "superseded", "superseded"];
    assert_eq!(own.outcomes(0..8).await, expected);
    assert_eq!(own.rows().await, json!([{"number": "a", "state": "4", "version": 8, "pos": null}]));
    own.function.land(&[order(8, &command("delete", "", 8)), order(9, &command("update", "x", 9))]).await;
    assert_eq!(own.outcomes(8..10).await, ["written", "rejected: not_found"]);
    assert_eq!(own.rows().await, json!([]));
}

#[tokio::test]
async fn the_version_of_a_deleted_entity_is_remembered_for_seven_days() {
    for in_one_batch in [false, true] {
        let own = by_event("entity").await;
        let land = async |from: i64, commands: &[Value]| {
            let records: Vec<Record> =
                commands.iter().zip(from..).map(|(command, offset)| order(offset, command)).collect();
            if in_one_batch {
                own.function.land(&records).await;
            } else {
                for record in &records {
                    own.function.land(std::slice::from_ref(record)).await;
                }
            }
        };
        let old = [
            command("create", "0", 5),
            command("delete", "", 7),
            command("create", "1", 6),
            command("update", "2", 6),
            command("delete", "", 6),
            command("create", "3", null()),
            command("update", "4", 8),
        ];
        land(0, &old).await;
        let (written, superseded, missing) = ("written", "superseded", "rejected: not_found");
        let expected = [written, written, superseded, superseded, superseded, superseded, missing];
        assert_eq!(own.outcomes(0..7).await, expected, "{in_one_batch}");
        assert_eq!(own.rows().await, json!([]), "{in_one_batch}");

        // A command with an equal version creates the entity again. Deleting it again remembers version 9, so the
        // command with version 8 is superseded.
        land(7, &[command("create", "5", 7), command("update", "6", 7), command("delete", "", 9)]).await;
        land(10, &[command("create", "7", 8)]).await;
        assert_eq!(own.outcomes(7..11).await, [written, written, written, superseded], "{in_one_batch}");
        assert_eq!(own.rows().await, json!([]), "{in_one_batch}");

        let remembered = "select count(*) from sluice.deleted_versions";
        own.function.clock.advance(REMEMBERED_MS + 1);
        land(11, &[command("create", "8", 1)]).await;
        assert_eq!(own.outcomes(11..12).await, [written], "{in_one_batch}");
        assert_eq!(own.function.database.count(remembered).await, 0, "{in_one_batch}");
    }
}

#[tokio::test]
async fn the_version_of_a_deleted_entity_blocks_no_other_key_and_no_command_after_versions_change_their_type() {
    let own = by_event("entity").await;
    let of =
        |number: &str, op: &str, version: i64| json!({"op": op, "number": number, "state": op, "version": version});
    let first = [of("a", "create", 5), of("a", "delete", 7), of("b", "create", 1)];
    own.function.land(&first.iter().zip(0..).map(|(event, offset)| order(offset, event)).collect::<Vec<_>>()).await;
    let retype = "update sluice.deleted_versions set version_type = 'timestamptz'";
    sqlx::query(retype).execute(&own.function.database.pool).await.expect("the type is changed");
    own.function.land(&[order(3, &of("a", "create", 6))]).await;
    assert_eq!(own.outcomes(2..4).await, ["written", "written"]);
}

#[tokio::test]
async fn a_replay_never_replaces_a_newer_event_if_the_offset_is_the_version() {
    for mode in ["upsert", "entity"] {
        for in_one_batch in [false, true] {
            let own = by_offset(mode).await;
            let create = order(0, &command("create", "first", 0));
            let old = order(1, &command("update", "bad", 0));
            let new = order(2, &command("update", "new", 0));
            let replayed = replay(&old, &old, 3);
            own.function.land(&[create.clone(), old.clone()]).await;
            assert_eq!(own.outcomes(1..2).await, ["rejected: 23514"], "{mode}");
            allow_all(&own).await;
            if in_one_batch {
                own.function.land(&[new.clone(), replayed.clone()]).await;
            } else {
                own.function.land(std::slice::from_ref(&new)).await;
                own.function.land(std::slice::from_ref(&replayed)).await;
            }
            assert_eq!(own.outcomes(0..4).await, ["written", "rejected: 23514", "written", "superseded"], "{mode}");
            assert_eq!(own.rows().await, json!([{"number": "a", "state": "new", "version": null, "pos": 2}]), "{mode}");
        }
    }
}

#[tokio::test]
async fn a_replay_never_brings_a_deleted_entity_back_if_the_offset_is_the_version() {
    for in_one_batch in [false, true] {
        let own = by_offset("entity").await;
        let old = order(0, &command("create", "bad", 0));
        let later = [order(1, &command("create", "new", 0)), order(2, &command("delete", "", 0))];
        own.function.land(std::slice::from_ref(&old)).await;
        allow_all(&own).await;
        if in_one_batch {
            own.function.land(&[later.as_slice(), &[replay(&old, &old, 3)]].concat()).await;
        } else {
            own.function.land(&later).await;
            own.function.land(&[replay(&old, &old, 3)]).await;
        }
        assert_eq!(own.outcomes(0..4).await, ["rejected: 23514", "written", "written", "superseded"], "{in_one_batch}");
        assert_eq!(own.rows().await, json!([]), "{in_one_batch}");
    }
}

#[tokio::test]
async fn a_replay_is_written_with_the_offset_of_the_original_record_if_there_is_no_newer_event() {
    let own = by_offset("upsert").await;
    let old = order(0, &command("create", "bad", 0));
    own.function.land(std::slice::from_ref(&old)).await;
    allow_all(&own).await;
    own.function.land(&[replay(&old, &old, 4)]).await;
    assert_eq!(own.rows().await, json!([{"number": "a", "state": "bad", "version": null, "pos": 0}]));
    assert_eq!(own.outcomes(4..5).await, ["written"]);
}

#[tokio::test]
async fn consecutive_superseded_events_take_one_row_in_the_ledger() {
    let own = by_event("upsert").await;
    let numbers: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let batch = |from: i64, version: i64| -> Vec<Record> {
        numbers.iter().zip(from..).map(|(number, offset)| order(offset, &event(number, "s", version))).collect()
    };
    own.function.land(&batch(0, 2)).await;
    assert_eq!(own.function.land(&batch(500, 1)).await.superseded, 500);
    let ledger = own.function.database.json("select first_offset, last_offset from sluice.superseded").await;
    assert_eq!(ledger, json!([{"first_offset": 500, "last_offset": 999}]));
    assert_eq!(own.outcomes(499..502).await, ["written", "superseded", "superseded"]);
    assert_eq!(own.outcomes(998..1_001).await, ["superseded", "superseded", "pending"]);
}

#[tokio::test]
async fn versions_are_still_compared_when_bad_rows_are_isolated() {
    let own = by_event("upsert").await;
    let check = "alter table public.orders add check (state <> 'bad')";
    sqlx::query(check).execute(&own.function.database.pool).await.expect("the check is added");
    let events = [
        event("a", "ok", 5),
        event("b", "bad", 9),
        event("a", "low", 4),
        event("b", "ok", 1),
        event("a", "bad", 7),
        event("a", "high", 6),
    ];
    let batch: Vec<Record> = events.iter().zip(0..).map(|(event, offset)| order(offset, event)).collect();
    own.function.land(&batch).await;
    let expected = ["written", "rejected: 23514", "superseded", "written", "rejected: 23514", "written"];
    assert_eq!(own.outcomes(0..6).await, expected);
    let states = own.function.database.json("select number, state from public.orders order by number").await;
    assert_eq!(states, json!([{"number": "a", "state": "high"}, {"number": "b", "state": "ok"}]));
}
