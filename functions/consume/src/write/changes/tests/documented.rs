//! Tests that the example in docs/CHANGES.md shows the statements that run.

use super::super::{evolve, plan, runs, statement, wal2json};
use super::*;

const PAGE: &str = include_str!("../../../../../../docs/CHANGES.md");

/// Removes differences that come from line breaks.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")")
}

#[tokio::test]
async fn the_documented_example_is_what_runs() {
    let database = TestDatabase::create().await;
    let set = PAGE.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let set = shared::contract::json::parse(set.as_bytes()).expect("JSON");
    let mut connection = database.pool.acquire().await.expect("connected");
    let plan: plan::Plan<'_> = plan(&mut connection, &rules(), &[wal2json::read(&set)]).await.expect("planned");
    let evolving = evolve::statements(&rules(), &plan);
    let of_run = |run: &runs::Run<'_, '_>| statement::for_run(r#""landing"."orders""#, &plan.relations[0], run.shape());
    let applying: Vec<String> = runs::gather(&plan.relations, &plan.steps).iter().map(of_run).collect();
    let page = words(PAGE);
    let missing = evolving.iter().chain(&applying).filter(|statement| !page.contains(&words(statement)));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    assert!(missing.is_empty(), "not in docs/CHANGES.md:\n{}", missing.join(";\n"));
    assert_eq!((evolving.len(), applying.len()), (3, 2));
    assert_eq!(apply(&database, std::slice::from_ref(&set)).await, 0);
    assert_eq!(
        database.json("select id, customer, total::text from landing.orders order by id").await,
        json!([{"id": 1, "customer": "Ann", "total": "12.00"}, {"id": 2, "customer": "Bob", "total": "20.00"}])
    );
}
