//! Tests registration, and which requests are rejected.

use axum::http::StatusCode;
use futures::future::join_all;
use serde_json::{Value, json};
use shared::identity::password::Blocklist;
use users::{Registration, UsersSettings};

use crate::support::{ADMIN, TestUsers, basic, settings};

#[tokio::test]
async fn a_user_can_register_with_json_or_a_form_and_with_either_pair_of_field_names() {
    let function = TestUsers::start().await;
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
async fn exactly_one_of_50_concurrent_registrations_of_one_name_succeeds() {
    let function = TestUsers::start().await;
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
async fn invalid_values_are_listed_with_their_pointers() {
    let function = TestUsers::start().await;
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
async fn a_posted_role_is_refused_and_never_ignored() {
    let function = TestUsers::start().await;
    for role in [json!("admin"), json!("user"), json!(""), json!(null), json!(["admin"])] {
        for path in ["/register", "/new_user"] {
            let body = json!({"user": "ann", "pass": "test1234", "role": role});
            let answer = function.send("POST", path, ADMIN, &body).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["errors"][0]["pointer"]),
                (422, &json!("/role")),
                "{body}"
            );
        }
    }
    for form in ["user=ann&pass=test1234&role=admin", "role=&username=ann&password=test1234"] {
        let answer = function.post_form("/register", form).await;
        assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["pointer"]), (422, &json!("/role")), "{form}");
    }
    assert_eq!(function.database.count("select count(*) from sluice.users").await, 1);
}

#[tokio::test]
async fn common_passwords_are_refused_if_the_blocklist_is_on() {
    let function = TestUsers::start_with(UsersSettings { blocklist: Blocklist::Common, ..settings() }).await;
    let register = async |password: &str| {
        function.post("/register", json!({"user": "ann", "pass": password})).await.status.as_u16()
    };
    assert_eq!(register("password1").await, 422);
    assert_eq!(register("kV9#qLw2pZ").await, 201);
}

#[tokio::test]
async fn closed_registration_is_for_admins_only() {
    let function = TestUsers::start_with(UsersSettings { registration: Registration::Closed, ..settings() }).await;
    let register = async |authorization: &str, name: &str| {
        let body = json!({"user": name, "pass": "test1234"});
        function.send("POST", "/register", authorization, &body).await.status.as_u16()
    };
    assert_eq!(register("", "ann").await, 401);
    assert_eq!(register(ADMIN, "ann").await, 201);
    assert_eq!(register(&basic("ann", "test1234"), "bob").await, 403);
}
