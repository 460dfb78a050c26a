//! Tests each kind of constraint that can be deferred.

use serde_json::json;

use super::{ACCOUNTS, FAMILY, dead_letters, delete, entry, function, ids, insert};
use crate::support::{Record, record, records, route};

#[tokio::test]
async fn an_event_that_repeats_a_users_timestamp_becomes_a_dead_letter_and_the_events_of_other_users_land() {
    let unique = r#"alter table public.routes_table add unique (user_id, "timestamp") deferrable initially deferred"#;
    let function = function(unique).await;
    let batch = records("routes", [route(1, 1.0), route(2, 1.0), route(1, 1.0), route(3, 1.0)]);
    let summary = function.land(&batch).await;
    assert_eq!((summary.written, summary.rejected), (3, 1));
    assert_eq!(dead_letters(&function, "routes").await, json!([[2, "23505"]]));

    let summary = function.land(&[record("routes", 4, &route(2, 1.0)), record("routes", 5, &route(4, 1.0))]).await;
    assert_eq!((summary.written, summary.rejected), (1, 1));
    assert_eq!(function.outcomes("routes", 4..6).await, ["rejected: 23505", "written"]);
    assert_eq!(function.database.count("select next_offset from sluice.watermarks").await, 6);
}

#[tokio::test]
async fn a_child_whose_parent_comes_in_the_next_batch_becomes_a_dead_letter_and_lands_when_it_is_replayed() {
    let function = function(FAMILY).await;
    let child = insert("child", &[("id", 1), ("parent", 1)]);
    function.land(&[record("changes", 0, &child)]).await;
    function.land(&[record("changes", 1, &insert("parent", &[("id", 1)]))]).await;
    assert_eq!(function.outcomes("changes", 0..2).await, ["rejected: 23503", "written"]);
    assert_eq!(function.database.count("select next_offset from sluice.watermarks").await, 2);

    let replay = Record { headers: vec![("sluice-replay".to_owned(), "1".to_owned())], ..record("changes", 2, &child) };
    function.land(&[replay]).await;
    assert_eq!(function.outcomes("changes", 2..3).await, ["written"]);
    assert_eq!(ids(&function, "child").await, json!([1]));
}

#[tokio::test]
async fn the_delete_of_a_parent_with_children_is_rejected_but_one_batch_may_delete_parent_and_children() {
    let function = function(FAMILY).await;
    let family = |id| [insert("parent", &[("id", id)]), insert("child", &[("id", id), ("parent", id)])];
    function.land(&records("changes", [family(1), family(2)].concat())).await;

    function.land(&[record("changes", 4, &delete("parent", 1))]).await;
    assert_eq!(function.outcomes("changes", 4..5).await, ["rejected: 23503"]);

    let orphan = insert("child", &[("id", 9), ("parent", 9)]);
    let changes = [delete("parent", 2), orphan, delete("child", 2), delete("child", 1)];
    let batch: Vec<_> = (5..).zip(&changes).map(|(offset, change)| record("changes", offset, change)).collect();
    function.land(&batch).await;
    assert_eq!(function.outcomes("changes", 5..9).await, ["written", "rejected: 23503", "written", "written"]);
    assert_eq!((ids(&function, "parent").await, ids(&function, "child").await), (json!([1]), json!([])));
}

#[tokio::test]
async fn an_exclusion_constraint_rejects_the_later_of_two_rows() {
    let bookings = "create table landing.booking (id int primary key, first int, last int,
                        exclude using gist (int4range(first, last) with &&) deferrable initially deferred)";
    let function = function(bookings).await;
    let booking = |id, first, last| insert("booking", &[("id", id), ("first", first), ("last", last)]);
    let batch = [booking(1, 1, 5), booking(2, 4, 8), booking(3, 5, 9), booking(4, 20, 21)];
    function.land(&records("changes", batch)).await;
    assert_eq!(dead_letters(&function, "changes").await, json!([[1, "23P01"]]));
    assert_eq!(ids(&function, "booking").await, json!([1, 3, 4]));
}

#[tokio::test]
async fn a_constraint_trigger_that_raises_at_commit_rejects_only_the_rows_for_which_it_raises() {
    let function = function(ACCOUNTS).await;
    let batch = [entry(1, 1, 5), entry(2, 2, 7), entry(3, 3, 1), entry(4, 1, -5), entry(5, 3, -1)];
    function.land(&records("changes", batch)).await;
    assert_eq!(dead_letters(&function, "changes").await, json!([[1, "P0001"]]));
    assert_eq!(ids(&function, "entry").await, json!([1, 3, 4, 5]));
}

#[tokio::test]
async fn a_deferrable_constraint_that_is_initially_immediate_is_still_checked_at_once() {
    let tables = "
        create table landing.parent (id int primary key);
        create table landing.prompt (id int primary key, parent int references landing.parent deferrable);
        create table landing.late (id int primary key, parent int references landing.parent deferrable initially deferred)";
    let function = function(tables).await;
    let batch = [
        insert("prompt", &[("id", 1), ("parent", 1)]),
        insert("late", &[("id", 1), ("parent", 1)]),
        insert("late", &[("id", 2), ("parent", 2)]),
        insert("parent", &[("id", 1)]),
        insert("prompt", &[("id", 2), ("parent", 1)]),
    ];
    function.land(&records("changes", batch)).await;
    assert_eq!(dead_letters(&function, "changes").await, json!([[0, "23503"], [2, "23503"]]));
    assert_eq!((ids(&function, "prompt").await, ids(&function, "late").await), (json!([2]), json!([1])));
}

#[tokio::test]
async fn a_table_is_truncated_although_checks_of_its_rows_are_pending() {
    let function = function(FAMILY).await;
    let truncate = json!({"action": "T", "table": "child"});
    let batch = [
        insert("parent", &[("id", 1)]),
        insert("child", &[("id", 1), ("parent", 1)]),
        truncate,
        insert("child", &[("id", 2), ("parent", 1)]),
        insert("child", &[("id", 3), ("parent", 3)]),
    ];
    function.land(&records("changes", batch)).await;
    assert_eq!(dead_letters(&function, "changes").await, json!([[4, "23503"]]));
    assert_eq!(ids(&function, "child").await, json!([2]));
}
