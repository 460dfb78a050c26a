//! Lists, and who may see and end what.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, Function, basic};

#[tokio::test]
async fn users_are_listed_by_name_a_page_at_a_time() {
    let function = Function::start().await;
    for name in ["Zoe", "ben", "Émile", "carl"] {
        function.register(name).await;
    }
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = function.get(&format!("/users?limit=2{after}"), ADMIN).await.body;
        for item in page["items"].as_array().unwrap() {
            names.push(format!("{} {}", item["user"].as_str().unwrap(), item["role"].as_str().unwrap()));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", next.replace('é', "%C3%A9")),
            None => break,
        }
    }
    assert_eq!(names, ["admin admin", "ben user", "carl user", "Zoe user", "Émile user"]);
}

#[tokio::test]
async fn only_admins_see_and_end_what_is_not_theirs() {
    let function = Function::start().await;
    function.register("ann").await;
    function.register("bob").await;
    let ann = basic("ann", "test1234");
    for (method, path) in [
        ("GET", "/users"),
        ("GET", "/blocked"),
        ("DELETE", "/blocked/bob"),
        ("DELETE", "/users/bob"),
        ("PUT", "/users/bob/password"),
    ] {
        let answer = function.send(method, path, &ann, &json!({"new": "another password"})).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    assert_eq!(function.send("DELETE", "/users/ANN", &ann, &Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.send("DELETE", "/users/bob", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.send("DELETE", "/users/bob", ADMIN, &Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(function.get("/users", ADMIN).await.body["items"].as_array().map(Vec::len), Some(1));
}
