//! Tests partitioned landing tables.

use serde_json::json;

use super::*;

/// A table with partitions on two levels. Some partitions have the columns in a different order than the table.
const PARTITIONED: &str = "
    create table landing.t (a int, b int) partition by range (a);
    create table landing.low (b int, a int) partition by list (b);
    create table landing.low_odd partition of landing.low for values in (1, 3, 5);
    create table landing.low_rest partition of landing.low default;
    alter table landing.t attach partition landing.low for values from (0) to (10);
    create table landing.high partition of landing.t for values from (10) to (100);
    create table landing.elsewhere (a int);";

const ALL: &str = "select tableoid::regclass::text as at, a, b from landing.t order by a, b";

#[tokio::test]
async fn a_partitioned_table_takes_every_kind_of_change() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        sql(&database, PARTITIONED).await;
        let full = |a: i64, b: i64| row([Some(a), Some(b)]);
        let change = |new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>| both("t", new, old)[format].clone();
        let insert = |a, b| change(Some(&full(a, b)), None);
        let update = |from: (i64, i64), to: (i64, i64)| change(Some(&full(to.0, to.1)), Some(&full(from.0, from.1)));
        let delete = |a, b| change(None, Some(&full(a, b)));
        let key = [("a", "integer", json!(50))];
        let sets = [
            insert(1, 1),
            insert(1, 2),
            insert(20, 1),
            insert(20, 1),
            insert(50, 1),
            // The row stays in its partition, or moves to another one on either level.
            update((1, 1), (2, 1)),
            update((1, 2), (1, 3)),
            update((20, 1), (3, 4)),
            change(Some(&full(51, 2)), Some(&key)),
            delete(20, 1),
        ];
        assert_eq!(apply(&database, &sets).await, 0);
        assert_eq!(
            database.json(ALL).await,
            json!([{"at": "landing.low_odd", "a": 1, "b": 3}, {"at": "landing.low_odd", "a": 2, "b": 1},
                   {"at": "landing.low_rest", "a": 3, "b": 4}, {"at": "landing.high", "a": 51, "b": 2}])
        );
        // Rows of different partitions may have the same `ctid`: each change must find its own row.
        let sets = [update((1, 3), (1, 5)), update((51, 2), (51, 3)), delete(3, 4), delete(2, 1)];
        assert_eq!(apply(&database, &sets).await, 0);
        assert_eq!(
            database.json(ALL).await,
            json!([{"at": "landing.low_odd", "a": 1, "b": 5}, {"at": "landing.high", "a": 51, "b": 3}])
        );
        assert_eq!(apply(&database, &[json!({"action": "T", "table": "t"}), insert(7, 7)]).await, 0);
        assert_eq!(database.json(ALL).await, json!([{"at": "landing.low_rest", "a": 7, "b": 7}]));
    }
}

#[tokio::test]
async fn equal_rows_in_a_partitioned_table_are_changed_one_by_one() {
    let database = TestDatabase::create().await;
    sql(&database, PARTITIONED).await;
    let whole = row([Some(1), Some(1)]);
    let insert = format_2("t", Some(&whole), None);
    apply(&database, &[insert.clone(), insert.clone(), insert]).await;
    let move_one = |format: usize| both("t", Some(&row([Some(20), Some(1)])), Some(&whole))[format].clone();
    assert_eq!(apply(&database, &[move_one(0), move_one(1)]).await, 0);
    assert_eq!(database.count("select count(*) from landing.high").await, 2);
    assert_eq!(database.count("select count(*) from landing.low").await, 1);
}

#[tokio::test]
async fn a_change_that_names_a_partition_applies_to_the_partitions_rows() {
    let database = TestDatabase::create().await;
    sql(&database, PARTITIONED).await;
    let full = |a: i64, b: i64| row([Some(a), Some(b)]);
    let sets = [
        format_2("low", Some(&full(1, 1)), None),
        format_2("low_odd", Some(&full(1, 3)), None),
        format_2("high", Some(&full(20, 1)), None),
        format_2("low", Some(&full(1, 2)), Some(&full(1, 1))),
        format_1("low_odd", Some(&full(2, 5)), Some(&full(1, 3))),
        format_2("high", None, Some(&full(20, 1))),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(
        database.json(ALL).await,
        json!([{"at": "landing.low_rest", "a": 1, "b": 2}, {"at": "landing.low_odd", "a": 2, "b": 5}])
    );
    for wrong in [format_2("high", Some(&full(1, 1)), None), format_2("t", Some(&full(1000, 1)), None)] {
        let Err(Failure::Sql(error)) = try_apply(&database, &rules(), &[wrong]).await else {
            panic!("a row outside the bounds was written")
        };
        assert_eq!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("23514"));
    }
    // For `truncate low`, the source sends a truncate of `low` and of each of its partitions.
    let truncate = |table: &str| json!({"action": "T", "table": table});
    assert_eq!(apply(&database, &[truncate("low"), truncate("low_odd"), truncate("low_rest")]).await, 0);
    assert_eq!(database.count("select count(*) from landing.t").await, 0);
}

#[tokio::test]
async fn new_columns_are_added_to_the_root_and_so_to_every_partition() {
    let database = TestDatabase::create().await;
    sql(&database, PARTITIONED).await;
    let with = |a: i64, columns: &[Cell<'static>]| [&row([Some(a), Some(1)])[..], columns].concat();
    let c = ("c", "integer", json!(1));
    let d = ("d", "text", json!("x"));
    let sets = [
        format_2("low_odd", Some(&with(1, &[c.clone(), d.clone()])), None),
        format_2("t", Some(&with(20, std::slice::from_ref(&c))), None),
        format_2("high", Some(&with(21, &[d])), None),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(
        database.json("select a, c, d from landing.t order by a").await,
        json!([{"a": 1, "c": 1, "d": "x"}, {"a": 20, "c": 1, "d": null}, {"a": 21, "c": null, "d": "x"}])
    );
    // Two sets name different partitions of one root. The sets give the same new column different types, so one of the
    // sets is rejected.
    let e = |ty| ("e", ty, json!("1"));
    let sets =
        [format_2("low", Some(&with(1, &[e("text")])), None), format_2("high", Some(&with(30, &[e("bigint")])), None)];
    let applied = try_apply(&database, &rules(), &sets).await.expect("applied");
    let codes: Vec<&str> = applied.rejected.iter().map(|(_, rejection)| rejection.code.as_str()).collect();
    assert_eq!(codes, ["type_mismatch"]);
}

#[tokio::test]
async fn a_partition_whose_root_is_in_another_schema_is_written_but_not_extended() {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "create table public.root (a int) partition by list (a);
         create table landing.t partition of public.root default",
    )
    .await;
    assert_eq!(apply(&database, &[format_2("t", Some(&row([Some(1)])), None)]).await, 0);
    let applied = try_apply(&database, &rules(), &[format_2("t", Some(&row([Some(1), Some(2)])), None)]).await;
    assert_eq!(applied.expect("planned").rejected[0].1.code, "no_such_column");
}

#[tokio::test]
async fn a_change_of_a_table_does_not_change_rows_of_tables_that_inherit_from_it() {
    let database = TestDatabase::create().await;
    sql(&database, "create table landing.p (a int, b int); create table landing.c () inherits (landing.p)").await;
    let both_tables = |new: &[Cell<'_>]| [format_2("p", Some(new), None), format_2("c", Some(new), None)];
    // The child inherits the parent's new column, whichever table the sets name first.
    assert_eq!(apply(&database, &both_tables(&row([Some(1), Some(1), Some(1)]))).await, 0);
    let [p, c] = both_tables(&row([Some(2), None, None, Some(2)]));
    assert_eq!(apply(&database, &[c, p]).await, 0);
    let key = [("a", "integer", json!(1))];
    assert_eq!(apply(&database, &[format_2("p", None, Some(&key)), json!({"action": "T", "table": "c"})]).await, 0);
    assert_eq!(database.json("select a from landing.p").await, json!([{"a": 2}]));
    assert_eq!(database.count("select count(*) from only landing.p").await, 1);
}

#[tokio::test]
async fn a_key_of_a_partitioned_table_gets_an_index() {
    let database = TestDatabase::create().await;
    sql(&database, PARTITIONED).await;
    let key = [("a", "integer", json!(1))];
    for _ in 0..2 {
        apply(&database, &[format_2("t", None, Some(&key))]).await;
    }
    let indexes =
        "select count(*) from pg_index where indrelid in ('landing.t'::regclass, 'landing.low_odd'::regclass)";
    assert_eq!(database.count(indexes).await, 2);
}
