//! Tests which row a change applies to.

use serde_json::json;

use super::*;

const ALL: &str = "select * from landing.t order by 1, 2, 3";

#[tokio::test]
async fn a_delete_that_names_part_of_a_row_removes_only_the_row_that_matches() {
    let database = TestDatabase::create().await;
    let insert = |a: i32, c: &str| {
        json!({"kind": "insert", "table": "mytable", "columnnames": ["a", "b", "c"],
               "columntypes": ["INTEGER", "TEXT", "TEXT"], "columnvalues": [a, "Backup and Restore", c]})
    };
    let delete = |a: i32, c: &str, ty: &str| {
        json!({"kind": "delete", "table": "mytable", "oldkeys": {"keynames": ["a", "c"],
               "keytypes": ["INTEGER", ty], "keyvalues": [a, c]}})
    };
    let set = |last_type: &str| {
        json!({"change": [
            insert(1, "2018-03-27 11:58:28.988414"), insert(2, "2018-03-27 11:58:28.988414"),
            insert(3, "2018-03-27 11:58:28.988414"), delete(1, "2018-03-27 11:58:28.988414", "TEXT"),
            delete(3, "2018-03-27 11:58:28.988414", last_type)]})
    };
    let wrong = try_apply(&database, &rules(), &[set("timestamp")]).await.expect("applied");
    assert_eq!(wrong.rejected.len(), 1);
    assert_eq!(wrong.rejected[0].1.code, "type_mismatch");
    assert_eq!(database.count("select count(*) from pg_tables where schemaname = 'landing'").await, 0);

    assert_eq!(apply(&database, &[set("TEXT")]).await, 0);
    assert_eq!(
        database.json("select * from landing.mytable").await,
        json!([{"a": 2, "b": "Backup and Restore", "c": "2018-03-27 11:58:28.988414"}])
    );
}

#[tokio::test]
async fn a_complete_old_row_distinguishes_null_from_a_value_in_both_formats() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        let rows = [[Some(1), Some(5), None], [Some(1), None, None], [Some(1), None, Some(6)]].map(row);
        let inserts: Vec<_> = rows.iter().map(|row| format_2("t", Some(row), None)).collect();
        apply(&database, &inserts).await;

        let change = |new: Option<&[Cell<'_>]>, old: &[Cell<'_>]| both("t", new, Some(old))[format].clone();
        assert_eq!(apply(&database, &[change(Some(&row([Some(2), None, None])), &rows[1])]).await, 0);
        assert_eq!(apply(&database, &[change(None, &rows[2])]).await, 0);
        assert_eq!(database.json(ALL).await, json!([{"a": 1, "b": 5, "c": null}, {"a": 2, "b": null, "c": null}]));
    }
}

#[tokio::test]
async fn a_change_applies_to_only_one_of_several_equal_rows() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        let equal = row([Some(1), None, Some(3)]);
        let insert = format_2("t", Some(&equal), None);
        apply(&database, &[insert.clone(), insert.clone(), insert.clone(), insert]).await;
        let delete = both("t", None, Some(&equal))[format].clone();
        let update = both("t", Some(&row([Some(1), Some(2), Some(3)])), Some(&equal))[format].clone();
        assert_eq!(apply(&database, &[delete.clone(), update.clone(), delete]).await, 0);
        assert_eq!(database.json(ALL).await, json!([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": null, "c": 3}]));
        // Two equal updates are applied in one call. In format 1, the second update must not change the row that the
        // first update has changed.
        let database = TestDatabase::create().await;
        let insert = format_2("t", Some(&equal), None);
        apply(&database, &[insert.clone(), insert.clone()]).await;
        assert_eq!(apply(&database, &[update.clone(), update.clone()]).await, 0);
        assert_eq!(database.count("select count(*) from landing.t where b = 2").await, 2);
    }
}

#[tokio::test]
async fn in_format_1_a_key_shared_by_different_rows_matches_none_of_them() {
    let database = TestDatabase::create().await;
    let rows = [[Some(1), Some(5), None], [Some(1), Some(6), None], [Some(2), Some(7), None], [Some(2), Some(7), None]];
    let inserts: Vec<_> = rows.map(row).iter().map(|row| format_2("t", Some(row), None)).collect();
    apply(&database, &inserts).await;
    let delete = |a: i64| format_1("t", None, Some(&[("a", "integer", json!(a))]));
    assert_eq!(apply(&database, &[delete(1), delete(2), delete(3)]).await, 2);
    assert_eq!(database.count("select count(*) from landing.t where a = 1").await, 2);
    assert_eq!(database.count("select count(*) from landing.t where a = 2").await, 1);
}

#[tokio::test]
async fn changes_of_one_key_in_one_call_are_applied_one_after_the_other() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        let key = |a: i64| [("a", "integer", json!(a))];
        let full = |a, b| row([Some(a), Some(b)]);
        let insert = |a, b| both("t", Some(&full(a, b)), None)[format].clone();
        let update = |old: i64, a, b| both("t", Some(&full(a, b)), Some(&key(old)))[format].clone();
        let delete = |a: i64| both("t", None, Some(&key(a)))[format].clone();
        let skipped = apply(
            &database,
            &[
                insert(1, 10),
                update(1, 1, 11),
                delete(1),
                insert(1, 12),
                update(1, 1, 13),
                update(1, 1, 14),
                insert(2, 20),
                // Two rows swap keys by way of a third key.
                update(1, 99, 14),
                update(2, 1, 20),
                update(99, 2, 14),
                delete(3),
                update(3, 4, 40),
            ],
        )
        .await;
        assert_eq!(skipped, 2);
        assert_eq!(
            database.json("select a, b from landing.t order by a").await,
            json!([{"a": 1, "b": 20}, {"a": 2, "b": 14}])
        );
    }
}

#[tokio::test]
async fn a_column_keeps_its_value_in_an_update_that_does_not_name_it() {
    let database = TestDatabase::create().await;
    let insert = format_2("t", Some(&row([Some(1), Some(2), Some(3)])), None);
    let key: &[Cell<'_>] = &[("a", "integer", json!(1))];
    let update = |b: i64| format_2("t", Some(&[("a", "integer", json!(1)), ("b", "integer", json!(b))]), Some(key));
    let null = format_2("t", Some(&[("b", "integer", json!(null))]), Some(key));
    let none = format_2("t", Some(&[]), Some(key));
    assert_eq!(apply(&database, &[insert, update(7), none]).await, 0);
    assert_eq!(database.json(ALL).await, json!([{"a": 1, "b": 7, "c": 3}]));
    assert_eq!(apply(&database, &[null]).await, 0);
    assert_eq!(database.json(ALL).await, json!([{"a": 1, "b": null, "c": 3}]));
}

#[tokio::test]
async fn a_truncate_removes_only_rows_that_were_inserted_before_it() {
    let database = TestDatabase::create().await;
    let insert = |table: &str, a| format_2(table, Some(&row([Some(a)])), None);
    let truncate = json!({"action": "T", "schema": "public", "table": "t"});
    let sets = [insert("t", 1), insert("u", 1), truncate, insert("t", 2), insert("u", 2)];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.json("select * from landing.t").await, json!([{"a": 2}]));
    assert_eq!(database.count("select count(*) from landing.u").await, 2);

    sql(
        &database,
        "alter table landing.t add primary key (a); create table public.refers (a int references landing.t)",
    )
    .await;
    assert_eq!(apply(&database, &[json!({"action": "T", "table": "t"})]).await, 0);
    assert_eq!(database.count("select count(*) from landing.t").await, 0);
}

#[tokio::test]
async fn three_deletes_that_write_one_number_in_three_ways_delete_three_rows() {
    let database = TestDatabase::create().await;
    let old = |n: &str| [("n", "numeric", serde_json::from_str::<Value>(n).expect("a number"))];
    let texts = ["1", "1.0", "1.00"];
    let inserts: Vec<_> = texts.iter().map(|n| format_2("t", Some(&old(n)), None)).collect();
    let deletes: Vec<_> = texts.iter().map(|n| format_2("t", None, Some(&old(n)))).collect();
    let sets = [inserts, deletes].concat();
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.count("select count(*) from landing.t").await, 0);
}

#[tokio::test]
async fn changes_that_write_one_key_in_different_ways_are_applied_one_after_the_other() {
    let database = TestDatabase::create().await;
    let change = |a: &str, new: Option<i64>| {
        let key = [("a", "integer", json!(a))];
        let new = new.map(|b| [("b", "integer", json!(b))]);
        format_2("t", new.as_ref().map(|new| &new[..]), Some(&key))
    };
    let insert = |a| format_2("t", Some(&row([Some(a), Some(0)])), None);
    apply(&database, &[insert(1), insert(2), insert(2)]).await;
    let updates = [change("1", Some(5)), change("01", Some(6)), change("+1", Some(7))];
    assert_eq!(apply(&database, &updates).await, 0);
    assert_eq!(apply(&database, &[change("2", None), change("02", None), change("002", None)]).await, 1);
    assert_eq!(database.json("select a, b from landing.t").await, json!([{"a": 1, "b": 7}]));
}

#[tokio::test]
async fn a_set_that_swaps_unique_values_is_applied() {
    let database = TestDatabase::create().await;
    sql(&database, "create table landing.t (a int, b int unique, c int)").await;
    let key = |a: i64| [("a", "integer", json!(a))];
    let insert = |a, b| change_1("t", Some(&row([Some(a), Some(b)])), None);
    let update = |a, b| change_1("t", Some(&row([Some(a), Some(b)])), Some(&key(a)));
    let set = json!({"change": [insert(1, 10), insert(2, 20), update(1, 30), update(2, 10), update(1, 20)]});
    assert_eq!(apply(&database, &[set]).await, 0);
    assert_eq!(database.json(ALL).await, json!([{"a": 1, "b": 20, "c": null}, {"a": 2, "b": 10, "c": null}]));
}

#[tokio::test]
async fn two_tables_are_written_in_the_order_of_the_changes_if_one_of_them_refers_to_the_other() {
    let database = TestDatabase::create().await;
    sql(&database, "create table landing.p (a int primary key); create table landing.c (a int references landing.p)")
        .await;
    let insert = |table: &str, a| format_2(table, Some(&row([Some(a)])), None);
    let delete = |table: &str, a| format_2(table, None, Some(&row([Some(a)])));
    let sets = [
        insert("p", 1),
        insert("c", 1),
        insert("p", 2),
        insert("c", 2),
        delete("c", 1),
        delete("p", 1),
        insert("p", 3),
        insert("c", 3),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.json("select a from landing.c order by 1").await, json!([{"a": 2}, {"a": 3}]));
}
