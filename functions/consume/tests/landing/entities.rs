//! Entities: commands are applied in the order of their offsets. Parents land before their children, even if the
//! children arrive first.

use std::time::Duration;

use serde_json::{Value, json};
use testing::TestDatabase;

use crate::own_stream::streams;
use crate::support::{Function, Record, record, records};

#[tokio::test]
async fn commands_are_decided_in_order_although_their_rows_are_written_together() {
    let function = Function::new().await;
    let batch = [
        json!({"name": "Asia", "population": 1}),
        json!({"op": "create", "name": "Asia"}),
        json!({"op": "update", "name": "Asia", "area": 2.5}),
        json!({"op": "update", "name": "Atlantis", "area": 1}),
        json!({"name": "Pangaea"}),
        json!({"op": "delete", "name": "Pangaea"}),
        json!({"op": "delete", "name": "Pangaea"}),
        json!({"name": "Europe", "population": 3}),
        json!({"op": "delete", "name": "Europe"}),
        json!({"name": "Europe", "population": 4}),
        json!({"op": "update", "name": "Europe", "population": null}),
    ];
    function.land(&records("continent", batch)).await;
    let rows = function.database.json("select name, population, area from public.continents order by name").await;
    assert_eq!(
        rows,
        json!([{"name": "Asia", "population": 1, "area": 2.5}, {"name": "Europe", "population": null, "area": null}])
    );
    assert_eq!(
        function.outcomes("continent", 0..11).await,
        [
            "written",
            "rejected: already_exists",
            "written",
            "rejected: not_found",
            "written",
            "written",
            "rejected: not_found",
            "written",
            "written",
            "written",
            "written"
        ]
    );
}

#[tokio::test]
async fn an_update_in_a_later_batch_changes_only_the_given_columns() {
    let function = Function::new().await;
    function.land(&records("continent", [json!({"name": "Asia", "population": 1, "area": 1})])).await;
    function
        .land(&[
            record("continent", 1, &json!({"op": "update", "name": "Asia", "population": 2})),
            record("continent", 2, &json!({"op": "update", "name": "Asia"})),
        ])
        .await;
    let rows = function.database.json("select population, area from public.continents").await;
    assert_eq!(rows, json!([{"population": 2, "area": 1}]));
    function.land(&[record("continent", 3, &json!({"op": "delete", "name": "Asia"}))]).await;
    assert_eq!(function.database.count("select count(*) from public.continents").await, 0);
}

fn city(name: &str, country: &str) -> Value {
    json!({"name": name, "country": country, "population": 5})
}

fn country(name: &str, continent: &str) -> Value {
    json!({"name": name, "continent": continent})
}

#[tokio::test]
async fn children_wait_for_their_parent_and_land_in_its_transaction() {
    let function = Function::new().await;
    let first =
        function.land(&records("city", [city("Muscat", "Oman"), city("Muscat", "Oman"), city("Lima", "Peru")])).await;
    assert_eq!((first.written, first.waiting, first.rejected), (0, 3, 0));
    assert_eq!(function.outcomes("city", 0..3).await, ["waiting"; 3]);
    let update = json!({"op": "update", "name": "Muscat", "country": "Oman", "population": 9});
    assert_eq!(function.land(&[record("city", 3, &update)]).await.waiting, 1);
    let second = function.land(&records("country", [country("Oman", "Asia")])).await;
    assert_eq!((second.waiting, second.released), (1, 0));
    let third = function.land(&records("continent", [json!({"name": "Asia"})])).await;
    assert_eq!((third.written, third.released, third.rejected), (4, 4, 1));
    assert_eq!(function.outcomes("city", 0..4).await, ["written", "rejected: already_exists", "waiting", "written"]);
    let cities = function.database.json("select country, name, population from public.cities").await;
    assert_eq!(cities, json!([{"country": "Oman", "name": "Muscat", "population": 9}]));
}

#[tokio::test]
async fn a_parent_with_children_is_not_deleted() {
    let function = Function::new().await;
    function.land(&records("continent", [json!({"name": "Asia"})])).await;
    function.land(&records("country", [country("Oman", "Asia")])).await;
    function.land(&[record("continent", 1, &json!({"op": "delete", "name": "Asia"}))]).await;
    assert_eq!(function.outcomes("continent", 0..2).await, ["written", "rejected: has_children"]);
    function.land(&[record("country", 1, &json!({"op": "delete", "name": "Oman"}))]).await;
    function.land(&[record("continent", 2, &json!({"op": "delete", "name": "Asia"}))]).await;
    assert_eq!(function.outcomes("continent", 2..3).await, ["written"]);
    assert_eq!(function.database.count("select count(*) from public.continents").await, 0);
}

#[tokio::test]
async fn parents_and_children_in_one_batch_need_not_wait() {
    let function = Function::new().await;
    let mut batch = records("city", [city("Muscat", "Oman")]);
    batch.extend(records("country", [country("Oman", "Asia")]));
    batch.extend(records("continent", [json!({"name": "Asia"})]));
    let summary = function.land(&batch).await;
    assert_eq!((summary.written, summary.waiting, summary.released), (3, 0, 0));
}

#[tokio::test]
async fn a_command_that_waits_for_over_an_hour_is_rejected_and_may_be_sent_again() {
    let function = Function::new().await;
    let keyed = |offset| Record {
        headers: vec![("idempotency-key".to_owned(), "k".to_owned())],
        ..record("city", offset, &city("Muscat", "Oman"))
    };
    function.land(&[keyed(0)]).await;
    function.clock.advance(3_600_000);
    function.land(&records("routes", [])).await;
    assert_eq!(function.outcomes("city", 0..1).await, ["waiting"]);
    function.clock.advance(1_001);
    function.land(&records("routes", [])).await;
    assert_eq!(function.outcomes("city", 0..1).await, ["rejected: parent_missing"]);
    assert_eq!(function.land(&[keyed(1), keyed(2)]).await.waiting, 1);
    assert_eq!(function.outcomes("city", 0..3).await, ["rejected: parent_missing", "waiting", "waiting"]);
}

#[tokio::test]
async fn a_child_that_lands_at_the_same_time_as_its_parent_does_not_wait_forever() {
    let function = Function::new().await;
    function.land(&records("continent", [json!({"name": "Asia"})])).await;
    for round in 0..40 {
        let name = format!("Country {round}");
        let parent = [record("country", round, &country(&name, "Asia"))];
        let children = [record("city", round, &city("Capital", &name))];
        let (a, b) = tokio::join!(function.deliver(&parent), function.deliver(&children));
        a.expect("the country lands");
        b.expect("the city lands or waits");
    }
    assert_eq!(function.database.count("select count(*) from sluice.waiting").await, 0);
    assert_eq!(function.database.count("select count(*) from public.cities").await, 40);
}

#[tokio::test]
async fn a_command_that_changes_the_parent_waits_for_the_new_parent_and_so_do_later_commands() {
    let function = Function::new().await;
    function.land(&records("continent", [json!({"name": "Asia"})])).await;
    function.land(&records("country", [country("Turkey", "Asia")])).await;
    let moved = json!({"op": "update", "name": "Turkey", "continent": "Europe"});
    let grown = json!({"op": "update", "name": "Turkey", "population": 7});
    let summary = function.land(&[record("country", 1, &moved), record("country", 2, &grown)]).await;
    assert_eq!(summary.waiting, 2);
    function.land(&[record("continent", 1, &json!({"name": "Europe"}))]).await;
    let rows = function.database.json("select continent, population from public.countries").await;
    assert_eq!(rows, json!([{"continent": "Europe", "population": 7}]));
}

#[tokio::test]
async fn a_parent_is_found_by_a_key_of_any_type_and_in_any_spelling() {
    let text = json!({"type": "string"});
    for (ty, schema, parent, child) in [
        ("timestamptz", &text, json!("2019-05-07T10:00:00Z"), json!("2019-05-07T12:00:00+02:00")),
        ("timestamp", &text, json!("2019-05-07 10:00:00"), json!("2019-05-07T10:00:00")),
        ("date", &text, json!("2019-05-07"), json!("2019-05-07")),
        ("uuid", &text, json!("abcdef00-0000-0000-0000-000000000007"), json!("ABCDEF00-0000-0000-0000-000000000007")),
        ("double precision", &json!({"type": "number"}), json!(1), json!(1.0)),
        ("numeric", &json!({"type": "number"}), json!(1), json!(1.0)),
        ("boolean", &json!({"type": "boolean"}), json!(true), json!(true)),
        ("text", &text, json!("Bouak\u{e9}"), json!("Bouake\u{301}")),
        ("bigint", &json!({"type": "number"}), json!(7), json!(7.0)),
        ("real", &json!({"type": "number"}), json!(0), json!(-0.0)),
    ] {
        let groups = json!({
            "properties": {"id": schema},
            "x-sluice": {
                "topic": "groups", "partitions": 1, "key": ["/id"], "mode": "entity", "table": "public.groups",
                "columns": {"id": {"from": "/id", "type": ty}}
            }
        });
        let members = json!({
            "properties": {"id": {"type": "integer"}, "group": schema},
            "x-sluice": {
                "topic": "members", "partitions": 1, "key": ["/id"], "mode": "entity", "table": "public.members",
                "columns": {"id": {"from": "/id", "type": "bigint"}, "group_id": {"from": "/group", "type": ty}},
                "parent": {"stream": "group", "from": "/group"}
            }
        });
        let tables = format!(
            "create table public.groups (id {ty} primary key);
             create table public.members (id bigint primary key, group_id {ty} references public.groups)"
        );
        let own = streams(&[("group", groups), ("member", members)], &tables).await;
        let member = |id: i64| record("members", id, &json!({"id": id, "group": child}));
        own.function.land(&[member(0)]).await;
        assert_eq!(own.function.outcomes("members", 0..1).await, ["waiting"], "{ty}");
        own.function.land(&[record("groups", 0, &json!({"id": parent}))]).await;
        own.function.land(&[member(1)]).await;
        assert_eq!(own.function.outcomes("members", 0..2).await, ["written", "written"], "{ty}");
        own.function.land(&[record("groups", 1, &json!({"op": "delete", "id": child}))]).await;
        assert_eq!(own.function.outcomes("groups", 0..2).await, ["written", "rejected: has_children"], "{ty}");
    }
}

#[tokio::test]
async fn rows_are_found_by_the_index_once_the_table_has_grown_although_its_first_plans_read_all_of_it() {
    const BATCHES: i64 = 80;
    const RECORDS: i64 = 250;
    let database = TestDatabase::create().await;
    // A pool of its own, because the function closes it.
    let pool = shared::database::connect(&database.url, 1).expect("a pool");
    let function = Function::connected(database, pool, None).await;
    for batch in 0..BATCHES {
        let continents = batch * RECORDS..(batch + 1) * RECORDS;
        let continent = |number: i64| record("continent", number, &json!({"name": format!("Continent {number}")}));
        let batch: Vec<_> = continents.map(continent).collect();
        assert_eq!(function.land(&batch).await.written, batch.len());
    }
    // PostgreSQL adds a connection's counts to its statistics no later than when the connection is closed.
    function.consume.close().await;
    let count = async |column: &str| {
        let count = format!("select {column} from pg_stat_user_tables where relname = 'continents'");
        function.database.count(&count).await
    };
    let reported = tokio::time::timeout(Duration::from_secs(30), async {
        while count("n_tup_ins").await < BATCHES * RECORDS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    reported.await.expect("PostgreSQL reports its statistics");
    // If each batch read the whole table, that would be forty times as many rows as were written.
    let scanned = count("seq_tup_read").await;
    assert!(scanned < 10 * BATCHES * RECORDS, "{scanned} rows were read without an index");
}
