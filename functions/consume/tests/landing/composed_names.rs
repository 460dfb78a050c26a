//! Names and keys of entities are compared in composed form (Unicode NFC).

use serde_json::{Value, json};

use crate::support::{Function, Record, record, records};

const COMPOSED: &str = "Bouak\u{e9}";
const DECOMPOSED: &str = "Bouake\u{301}";

/// Lands each command in its own batch.
async fn land_each(function: &Function, topic: &str, commands: &[Value]) {
    for record in records(topic, commands.iter().cloned()) {
        function.land(&[record]).await;
    }
}

#[tokio::test]
async fn two_spellings_of_a_name_are_one_entity_whose_name_is_stored_in_composed_form() {
    for together in [true, false] {
        let function = Function::new().await;
        let commands = [
            json!({"name": DECOMPOSED, "population": 1}),
            json!({"name": COMPOSED}),
            json!({"op": "update", "name": COMPOSED, "population": 2}),
            json!({"op": "update", "name": DECOMPOSED, "area": 3}),
        ];
        if together {
            function.land(&records("continent", commands)).await;
        } else {
            land_each(&function, "continent", &commands).await;
        }
        let outcomes = function.outcomes("continent", 0..4).await;
        assert_eq!(outcomes, ["written", "rejected: already_exists", "written", "written"], "{together}");
        let rows = function.database.json("select name, population, area from public.continents").await;
        assert_eq!(rows, json!([{"name": COMPOSED, "population": 2, "area": 3}]), "{together}");
        function.land(&[record("continent", 4, &json!({"op": "delete", "name": DECOMPOSED}))]).await;
        assert_eq!(function.database.count("select count(*) from public.continents").await, 0, "{together}");
    }
}

#[tokio::test]
async fn a_parent_is_found_and_waited_for_in_either_spelling() {
    let function = Function::new().await;
    let country = |continent: &str, name: &str| json!({"continent": continent, "name": name});
    let waiting = [country(DECOMPOSED, "a"), country(COMPOSED, "b")];
    function.land(&records("country", waiting)).await;
    assert_eq!(function.outcomes("country", 0..2).await, ["waiting", "waiting"]);
    function.land(&[record("continent", 0, &json!({"name": DECOMPOSED}))]).await;
    function.land(&[record("country", 2, &country(DECOMPOSED, "c"))]).await;
    function.land(&[record("country", 3, &json!({"op": "update", "name": "c", "continent": DECOMPOSED}))]).await;
    assert_eq!(function.outcomes("country", 0..4).await, ["written"; 4]);
    let parents = function.database.json("select distinct continent from public.countries").await;
    assert_eq!(parents, json!([{"continent": COMPOSED}]));
    function.land(&[record("continent", 1, &json!({"op": "delete", "name": DECOMPOSED}))]).await;
    assert_eq!(function.outcomes("continent", 1..2).await, ["rejected: has_children"]);
}

#[tokio::test]
async fn both_columns_of_a_key_are_composed() {
    let function = Function::new().await;
    function.land(&[record("continent", 0, &json!({"name": "Africa"}))]).await;
    function.land(&[record("country", 0, &json!({"continent": "Africa", "name": "C\u{f4}te"}))]).await;
    let city = |country: &str, name: &str| json!({"country": country, "name": name});
    let cities = [city("Co\u{302}te", DECOMPOSED), city("C\u{f4}te", COMPOSED), city("Co\u{302}te", COMPOSED)];
    function.land(&records("city", cities)).await;
    let exists = "rejected: already_exists";
    assert_eq!(function.outcomes("city", 0..3).await, ["written", exists, exists]);
}

#[tokio::test]
async fn a_column_outside_the_key_keeps_its_text() {
    let function = Function::new().await;
    let event = json!({"id": "00000000-0000-0000-0000-000000000007", "datetime": "2019-05-07 19:54:13.563",
                       "address": {"city": DECOMPOSED, "state": null, "country": null, "postCode": null}});
    let event = Record { key: None, ..record("user-events", 0, &event) };
    function.land(&[event]).await;
    assert_eq!(function.database.json("select city from public.user_events").await, json!([{"city": DECOMPOSED}]));
}

#[tokio::test]
async fn the_migration_composes_stored_names_and_leaves_ambiguous_names_as_they_are() {
    const MIGRATION: &str = include_str!("../../../../shared/migrations/0012_composed_names.sql");
    let function = Function::new().await;
    let insert = format!(
        "insert into public.continents (name) values ('{DECOMPOSED}');
         insert into public.countries (continent, name) values ('{DECOMPOSED}', '{DECOMPOSED}'), ('{DECOMPOSED}', 'x');
         insert into public.cities (country, name) values ('{DECOMPOSED}', '{DECOMPOSED}'),
             ('x', '{DECOMPOSED}'), ('x', '{COMPOSED}'), ('x', 'plain')"
    );
    sqlx::raw_sql(&insert).execute(&function.database.pool).await.expect("the rows are inserted");
    sqlx::raw_sql(MIGRATION).execute(&function.database.pool).await.expect("the migration applies");
    let names = function
        .database
        .json(
            "select name from public.continents union all select continent || '/' || name from public.countries
             union all select country || '/' || name from public.cities",
        )
        .await;
    let mut names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str()).collect();
    names.sort_unstable();
    let mut expected = [
        COMPOSED.to_owned(),
        format!("{COMPOSED}/{COMPOSED}"),
        format!("{COMPOSED}/x"),
        format!("{COMPOSED}/{COMPOSED}"),
        format!("x/{DECOMPOSED}"),
        format!("x/{COMPOSED}"),
        "x/plain".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
}
