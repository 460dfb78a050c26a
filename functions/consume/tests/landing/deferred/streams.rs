//! Deferred constraints in each mode, for records with ids and for waiting commands.

use serde_json::{Value, json};

use super::{dead_letters, function};
use crate::support::{Function, Record, record, records, route, user_event};

#[tokio::test]
async fn in_a_stream_that_skips_known_ids_a_deferred_constraint_rejects_only_the_event_that_violates_it() {
    let function = function("alter table public.user_events add unique (city) deferrable initially deferred").await;
    let batch = [user_event(1, "Delft"), user_event(2, "Delft"), user_event(1, "Delft"), user_event(3, "Lima")];
    let summary = function.land(&records("user-events", batch)).await;
    assert_eq!((summary.written, summary.duplicates, summary.rejected), (2, 1, 1));
    assert_eq!(function.outcomes("user-events", 0..4).await, ["written", "rejected: 23505", "duplicate", "written"]);
}

#[tokio::test]
async fn an_upsert_that_violates_a_deferred_constraint_is_rejected_and_a_swap_of_unique_values_lands() {
    let folder = tempfile::tempdir().expect("a folder");
    let contract = json!({
        "type": "object",
        "required": ["id", "seat"],
        "properties": {"id": {"type": "integer"}, "seat": {"type": "integer"}},
        "x-sluice": {
            "topic": "seats", "partitions": 1, "key": ["/id"], "mode": "upsert", "table": "public.seats",
            "columns": {"id": {"from": "/id", "type": "bigint"}, "seat": {"from": "/seat", "type": "bigint"}}
        }
    });
    std::fs::write(folder.path().join("seat.json"), contract.to_string()).expect("the contract is written");
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    let migration =
        "create table public.seats (id bigint primary key, seat bigint unique deferrable initially deferred)";
    std::fs::write(folder.path().join("migrations/1000_seats.sql"), migration).expect("the migration is written");
    let function = Function::with_contracts(Some(folder.path())).await;
    let sit = |id: i64, seat: i64| json!({"id": id, "seat": seat});

    // Two people swap their seats, which is possible only because the constraint is deferred.
    function.land(&records("seats", [sit(1, 1), sit(2, 2)])).await;
    let batch: Vec<Record> = (2..)
        .zip([sit(1, 2), sit(2, 1), sit(3, 1), sit(4, 4)])
        .map(|(offset, event)| record("seats", offset, &event))
        .collect();
    function.land(&batch).await;
    assert_eq!(function.outcomes("seats", 2..6).await, ["written", "written", "rejected: 23505", "written"]);
    let rows = function.database.json("select id, seat from public.seats order by id").await;
    assert_eq!(rows, json!([{"id": 1, "seat": 2}, {"id": 2, "seat": 1}, {"id": 4, "seat": 4}]));
}

#[tokio::test]
async fn a_waiting_child_that_violates_a_deferred_constraint_does_not_block_its_parent() {
    let unique = "alter table public.countries add unique (area) deferrable initially deferred";
    let function = function(unique).await;
    let country = |name: &str, continent: &str, area: i64| json!({"name": name, "continent": continent, "area": area});
    function.land(&records("continent", [json!({"name": "Europe"})])).await;
    function
        .land(&records(
            "country",
            [country("Malta", "Europe", 1), country("Oman", "Asia", 1), country("Laos", "Asia", 2)],
        ))
        .await;
    assert_eq!(function.outcomes("country", 0..3).await, ["written", "waiting", "waiting"]);

    let summary = function.land(&[record("continent", 1, &json!({"name": "Asia"}))]).await;
    assert_eq!((summary.written, summary.released, summary.rejected, summary.waiting), (2, 2, 1, 0));
    assert_eq!(function.outcomes("continent", 1..2).await, ["written"]);
    assert_eq!(function.outcomes("country", 0..3).await, ["written", "rejected: 23505", "written"]);
    assert_eq!(function.database.count("select count(*) from sluice.waiting").await, 0);
}

#[tokio::test]
async fn a_parent_that_violates_a_deferred_constraint_leaves_its_children_waiting() {
    let unique = "alter table public.continents add unique (area) deferrable initially deferred";
    let function = function(unique).await;
    let continent = |name: &str, area: i64| json!({"name": name, "area": area});
    function.land(&records("country", [json!({"name": "Oman", "continent": "Asia"})])).await;
    function.land(&records("continent", [continent("Europe", 1), continent("Asia", 1), continent("Africa", 2)])).await;
    assert_eq!(function.outcomes("continent", 0..3).await, ["written", "rejected: 23505", "written"]);
    assert_eq!(function.outcomes("country", 0..1).await, ["waiting"]);
    function.land(&[record("continent", 3, &continent("Asia", 3))]).await;
    assert_eq!(function.outcomes("country", 0..1).await, ["written"]);
}

#[tokio::test]
async fn commands_land_if_the_rows_are_consistent_at_the_end_although_they_were_inconsistent_in_between() {
    let unique = "alter table public.continents add unique (area) deferrable initially deferred";
    let function = function(unique).await;
    let command = |op: &str, name: &str, area: i64| json!({"op": op, "name": name, "area": area});
    let batch = [
        command("create", "Europe", 1),
        command("create", "Asia", 1),
        command("update", "Asia", 2),
        command("update", "Europe", 3),
        command("create", "Africa", 3),
    ];
    function.land(&records("continent", batch)).await;
    let rows = function.database.json("select name, area from public.continents order by name").await;
    let outcomes = function.outcomes("continent", 0..5).await;
    // After the first four commands, the areas differ. The last command repeats an area.
    assert_eq!(outcomes, ["written", "written", "written", "written", "rejected: 23505"]);
    assert_eq!(rows, json!([{"name": "Asia", "area": 2}, {"name": "Europe", "area": 3}]));
}

fn keyed(offset: i64, key: &str, event: &Value) -> Record {
    Record { headers: vec![("idempotency-key".to_owned(), key.to_owned())], ..record("routes", offset, event) }
}

#[tokio::test]
async fn a_record_that_violates_a_deferred_constraint_keeps_its_id_so_its_repeats_are_rejected_too() {
    let unique = r#"alter table public.routes_table add unique (user_id, "timestamp") deferrable initially deferred"#;
    let function = function(unique).await;
    function.land(&[keyed(0, "a", &route(1, 1.0)), keyed(1, "b", &route(1, 1.0)), keyed(2, "c", &route(2, 1.0))]).await;
    function.land(&[keyed(3, "b", &route(1, 1.0)), keyed(4, "c", &route(2, 1.0))]).await;
    assert_eq!(
        function.outcomes("routes", 0..5).await,
        ["written", "rejected: 23505", "written", "rejected: 23505", "duplicate"]
    );
    assert_eq!(dead_letters(&function, "routes").await, json!([[1, "23505"]]));
    assert_eq!(function.database.count("select count(*) from public.routes_table").await, 2);

    let delete = "delete from public.routes_table where user_id = 1";
    sqlx::raw_sql(delete).execute(&function.database.pool).await.expect("the row is deleted");
    let mut replay = keyed(5, "b", &route(1, 1.0));
    replay.headers.push(("sluice-replay".to_owned(), "1".to_owned()));
    function.land(&[replay]).await;
    assert_eq!(function.outcomes("routes", 5..6).await, ["written"]);
}

#[tokio::test]
async fn violations_of_immediate_and_of_deferred_constraints_in_one_batch_are_all_isolated() {
    let constraints = r#"alter table public.routes_table add unique (user_id, "timestamp") deferrable initially deferred;
                         alter table public.routes_table add check (user_id <> 13)"#;
    let function = function(constraints).await;
    let users = [1, 13, 2, 1, 3, 13, 3, 4];
    let summary = function.land(&records("routes", users.map(|user| route(user, 1.0)))).await;
    assert_eq!((summary.written, summary.rejected), (4, 4));
    assert_eq!(
        dead_letters(&function, "routes").await,
        json!([[1, "23514"], [3, "23505"], [5, "23514"], [6, "23505"]])
    );
}
