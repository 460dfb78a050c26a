//! Registering, and what is refused.

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::{Value, json};
use shared::identity::password::Blocklist;
use users::{Registration, UsersSettings};

use crate::support::{ADMIN, Function, basic, settings};

#[tokio::test]
async fn a_user_registers_as_json_or_form_under_both_spellings_and_is_known() {
    let function = Function::start().await;
    let answers = [
        function.post("/register", json!({"user": "Ann", "pass": "test1234"})).await,
        function.post("/new_user", json!({"username": "bob", "password": "test1234"})).await,
        function.post_form("/register", "user=carl&pass=test1234").await,
        function.post_form("/new_user", "username=J%C3%B6rg+K&password=test1234").await,
    ];
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
    for (name, shown) in [("ANN", "Ann"), ("bob", "bob"), ("carl", "carl"), ("JÖRG k", "Jörg K")] {
        let who = function.who(&basic(name, "test1234")).await;
        assert_eq!((who.status, who.body), (StatusCode::OK, json!(shown)), "{name}");
    }
}

#[tokio::test]
async fn of_50_who_register_one_name_at_once_one_gets_it() {
    let function = Function::start().await;
    let spellings = ["straße", "STRASSE", "Strasse", "ＳＴＲＡＳＳＥ"];
    let register = |number: usize| {
        let body = json!({"user": spellings[number % spellings.len()], "pass": "test1234"});
        function.post("/register", body)
    };
    let answers = join_all((0..50).map(register)).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (1, 49));
    assert_eq!(function.database.count("select count(*) from sluice.users").await, 2);
}

#[tokio::test]
async fn refused_values_are_named() {
    let function = Function::start().await;
    let refusal = async |body: Value| {
        let answer = function.post("/register", body).await;
        (answer.status.as_u16(), answer.body["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
    };
    for (body, pointer) in [
        (json!({"user": "ab", "pass": "test1234"}), "/user"),
        (json!({"username": "a:bc", "password": "test1234"}), "/username"),
        (json!({"user": "a\u{0}bc", "pass": "test1234"}), "/user"),
        (json!({"user": "ann", "pass": "1234567"}), "/pass"),
        (json!({"username": "annabelle", "password": "AnnaBelle"}), "/password"),
        (json!({"user": "ann"}), "/pass"),
        (json!({"user": 7, "pass": "test1234"}), "/user"),
        (json!(["ann", "test1234"]), ""),
    ] {
        assert_eq!(refusal(body.clone()).await, (422, pointer.to_owned()), "{body}");
    }
    assert_eq!(function.post("/register", json!({"user": "a", "username": "b", "pass": "test1234"})).await.status, 400);
    assert_eq!(function.post("/register", json!("x".repeat(20_000))).await.status, 413);
    assert_eq!(function.database.count("select count(*) from sluice.users").await, 1);
}

#[tokio::test]
async fn common_passwords_are_refused_where_that_is_set() {
    let function = Function::start_with(UsersSettings { blocklist: Blocklist::Common, ..settings() }).await;
    let register = async |password: &str| {
        function.post("/register", json!({"user": "ann", "pass": password})).await.status.as_u16()
    };
    assert_eq!(register("password1").await, 422);
    assert_eq!(register("kV9#qLw2pZ").await, 201);
}

#[tokio::test]
async fn closed_registration_leaves_it_to_admins() {
    let function = Function::start_with(UsersSettings { registration: Registration::Closed, ..settings() }).await;
    let register = async |authorization: &str, name: &str| {
        let body = json!({"user": name, "pass": "test1234"});
        function.send("POST", "/register", authorization, &body).await.status.as_u16()
    };
    assert_eq!(register("", "ann").await, 401);
    assert_eq!(register(ADMIN, "ann").await, 201);
    assert_eq!(register(&basic("ann", "test1234"), "bob").await, 403);
}
