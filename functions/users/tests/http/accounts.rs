//! Tests the lists of users and blocks, and who may see and delete users.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, TestUsers, basic};

#[tokio::test]
async fn users_are_listed_a_page_at_a_time_in_the_order_of_their_names() {
    let function = TestUsers::start().await;
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
async fn only_admins_see_and_delete_other_users() {
    let function = TestUsers::start().await;
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

#[tokio::test]
async fn the_audit_log_says_who_created_or_unblocked_or_deleted_which_user() {
    let function = TestUsers::start().await;
    function.register("Ann").await;
    let block = "insert into sluice.blocks (name_key, name, blocked_until_ms, touched_at_ms) values ('ann', 'Ann', 9223372036854775807, 0)";
    assert!(sqlx::query(block).execute(&function.database.pool).await.is_ok());
    let unblocked = function.send("DELETE", "/blocked/ann", ADMIN, &Value::Null).await;
    assert_eq!(unblocked.status, StatusCode::NO_CONTENT);
    assert_eq!(function.send("DELETE", "/users/ann", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    // A failed action is not in the audit log.
    assert_eq!(function.send("DELETE", "/users/ann", ADMIN, &Value::Null).await.status, StatusCode::NOT_FOUND);
    let audit = function.database.json(r#"select "user", action, object from sluice.audit order by id"#).await;
    let expected = json!([
        {"user": "Ann", "action": "created", "object": "users/Ann"},
        {"user": "admin", "action": "unblocked", "object": "users/ann"},
        {"user": "admin", "action": "deleted", "object": "users/ann"},
    ]);
    assert_eq!(audit, expected);
}

#[tokio::test]
async fn an_action_that_cannot_be_recorded_in_the_audit_log_is_not_done() {
    let function = TestUsers::start().await;
    function.register("ann").await;
    let key = json!({"name": "k", "streams": ["route"]});
    assert_eq!(function.send("POST", "/keys", ADMIN, &key).await.status, StatusCode::CREATED);
    let block = "insert into sluice.blocks (name_key, name, blocked_until_ms, touched_at_ms) values ('bob', 'bob', 9223372036854775807, 0)";
    let refuse = "alter table sluice.audit add constraint nothing check (false) not valid";
    for statement in [block, refuse] {
        sqlx::query(statement).execute(&function.database.pool).await.unwrap();
    }
    let actions = [
        ("POST", "/register", json!({"user": "eve", "pass": "test1234"})),
        ("DELETE", "/blocked/bob", Value::Null),
        ("DELETE", "/users/ann", Value::Null),
        ("POST", "/keys", key),
        ("DELETE", "/keys/1", Value::Null),
    ];
    let counts = async || {
        let count = "
            select (select count(*) from sluice.users) as users, (select count(*) from sluice.keys) as keys,
                   (select count(*) from sluice.blocks where blocked_until_ms is not null) as blocked,
                   (select count(*) from sluice.audit) as entries";
        function.database.json(count).await
    };
    let before = counts().await;
    for (method, path, body) in &actions {
        let answer = function.send(method, path, ADMIN, body).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}");
    }
    assert_eq!(counts().await, before);
    let allow = "alter table sluice.audit drop constraint nothing";
    sqlx::query(allow).execute(&function.database.pool).await.unwrap();
    for (method, path, body) in &actions {
        let answer = function.send(method, path, ADMIN, body).await;
        assert!(answer.status.is_success(), "{method} {path}");
    }
    let entries = function.database.count("select count(*) from sluice.audit").await;
    assert_eq!(Value::from(entries), json!(before[0]["entries"].as_i64().unwrap() + 5));
}

/// Creates another admin with the password `test1234`.
async fn another_admin(function: &TestUsers, name: &str) {
    function.register(name).await;
    let update = format!("update sluice.users set role = 'admin' where name = '{name}'");
    sqlx::raw_sql(&update).execute(&function.database.pool).await.unwrap();
}

#[tokio::test]
async fn the_last_admin_cannot_be_deleted() {
    let function = TestUsers::start().await;
    function.register("ann").await;
    let answer = function.send("DELETE", "/users/admin", ADMIN, &Value::Null).await;
    assert_eq!((answer.status, &answer.body["type"]), (StatusCode::CONFLICT, &json!("/problems/last-admin")));
    assert_eq!(function.get("/users", ADMIN).await.status, StatusCode::OK);

    another_admin(&function, "bob").await;
    assert_eq!(function.send("DELETE", "/users/admin", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    let bob = basic("bob", "test1234");
    assert_eq!(function.send("DELETE", "/users/bob", &bob, &Value::Null).await.status, StatusCode::CONFLICT);
    assert_eq!(function.send("DELETE", "/users/ann", &bob, &Value::Null).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_of_the_last_two_admins_stays_if_they_delete_each_other_or_themselves_at_the_same_time() {
    let function = TestUsers::start().await;
    for round in 0..20 {
        let (ann, bob) = (format!("ann{round}"), format!("bob{round}"));
        another_admin(&function, &ann).await;
        another_admin(&function, &bob).await;
        let only_these = format!("delete from sluice.users where name not in ('{ann}', '{bob}')");
        sqlx::raw_sql(&only_these).execute(&function.database.pool).await.unwrap();
        let delete = async |caller: &str, user: &str| {
            let path = format!("/users/{user}");
            function.send("DELETE", &path, &basic(caller, "test1234"), &Value::Null).await.status
        };
        // The process verifies both passwords in advance, so that the deletions reach the database at the same time.
        for name in [&ann, &bob] {
            assert_eq!(function.who(&basic(name, "test1234")).await.status, StatusCode::OK);
        }
        let (first, second) = if round % 2 == 0 {
            tokio::join!(delete(&ann, &bob), delete(&bob, &ann))
        } else {
            tokio::join!(delete(&ann, &ann), delete(&bob, &bob))
        };
        let mut statuses = [first.as_u16(), second.as_u16()];
        statuses.sort_unstable();
        assert!(statuses == [204, 409] || statuses == [204, 401], "{statuses:?}");
        assert_eq!(function.database.count("select count(*) from sluice.users where role = 'admin'").await, 1);
    }
}
