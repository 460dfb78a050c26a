//! Tokens, Basic credentials, and what is remembered of them.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};
use shared::http::edge::Origin;

use crate::support::{ADMIN, Function, basic, identity, send};

#[tokio::test]
async fn a_login_gives_a_token_that_works_until_it_expires() {
    let function = Function::start().await;
    function.register("Ann").await;
    let answer = function.post_form("/login", "username=ann&password=test1234").await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    let body = &answer.body;
    assert_eq!(
        (&body["success"], &body["token_type"], &body["expires_in"]),
        (&json!(true), &json!("Bearer"), &json!(3_600))
    );
    let token = format!("bearer {}", body["token"].as_str().unwrap());
    assert_eq!(function.who(&token).await.body, "Ann");
    function.clock.advance(3_600_000);
    let expired = function.who(&token).await;
    let challenge = "Bearer error=\"invalid_token\"";
    assert_eq!((expired.status, expired.header("www-authenticate")), (StatusCode::UNAUTHORIZED, challenge));
}

#[tokio::test]
async fn strangers_get_nothing_and_one_challenge() {
    let function = Function::start().await;
    let challenge = "Basic realm=\"sluice\", charset=\"UTF-8\"";
    for authorization in ["", "Basic", "Basic !!", "Digest x", &basic("nobody", "test1234"), &basic("admin", "wrong")] {
        for path in ["/who", "/users", "/blocked"] {
            let answer = function.get(path, authorization).await;
            let challenges: Vec<_> =
                answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!((answer.status, challenges), (StatusCode::UNAUTHORIZED, vec![challenge]), "{authorization}");
            // Not to be blocked by the next.
            function.clock.advance(60_000);
        }
    }
    for token in ["Bearer", "Bearer x", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30."] {
        let answer = function.who(token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
    }
}

#[tokio::test]
async fn a_changed_password_and_a_deleted_user_are_void_at_once_here_and_within_5_s_elsewhere() {
    let function = Function::start().await;
    let another = function.another();
    function.register("ann").await;
    function.register("bob").await;
    let (token, right) = (function.token("ann").await, basic("ann", "test1234"));
    let bobs = function.token("bob").await;
    for authorization in [&token, &right, &bobs] {
        assert_eq!(function.who(authorization).await.status, StatusCode::OK);
        assert_eq!(send(&another, "GET", "/who", authorization, &Value::Null).await.status, StatusCode::OK);
    }
    let change = json!({"old": "test1234", "new": "another password"});
    assert_eq!(function.send("PUT", "/users/Ann/password", &token, &change).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.send("DELETE", "/users/bob", &bobs, &Value::Null).await.status, StatusCode::NO_CONTENT);
    let changed = Instant::now();
    let anew = function.log_in("ann", "another password").await;
    let anew = format!("Bearer {}", anew.body["token"].as_str().unwrap());
    // What is young is taken at once even where what is remembered is old.
    assert_eq!(send(&another, "GET", "/who", &anew, &Value::Null).await.status, StatusCode::OK);
    for authorization in [&token, &right, &bobs] {
        assert_eq!(function.who(authorization).await.status, StatusCode::UNAUTHORIZED);
    }
    tokio::time::sleep_until((changed + Duration::from_millis(4_900)).into()).await;
    for authorization in [&token, &right, &bobs] {
        let answer = send(&another, "GET", "/who", authorization, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    // A name that is registered again is another user.
    function.register("bob").await;
    assert_eq!(function.who(&bobs).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_repeated_request_needs_neither_database_nor_hash() {
    let function = Function::start().await;
    function.register("ann").await;
    let token = function.token("ann").await;
    let identity = identity(&function.database.pool, &function.clock);
    let ask = async |authorization: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        let begun = Instant::now();
        let caller = identity.authenticate(&headers, &Origin::default()).await;
        (caller.map(|caller| caller.name).map_err(|denied| denied.to_string()), begun.elapsed())
    };
    let right = basic("ann", "test1234");
    assert_eq!(ask(&right).await.0, Ok("ann".to_owned()));
    assert_eq!(ask(&right).await.0, Ok("ann".to_owned()));
    function.database.pool.close().await;
    for authorization in [&right, &token] {
        let (name, elapsed) = ask(authorization).await;
        assert_eq!(name, Ok("ann".to_owned()));
        assert!(elapsed < Duration::from_millis(5), "{elapsed:?}");
    }
    // What was right says nothing of what is like it.
    assert!(ask(&basic("ann", "test12345")).await.0.is_err());
}

#[tokio::test]
async fn a_user_who_fails_to_know_the_old_password_counts_as_guessing() {
    let function = Function::start().await;
    function.register("ann").await;
    let token = function.token("ann").await;
    let change = json!({"old": "wrong-password", "new": "another password"});
    for _ in 0..5 {
        let answer = function.send("PUT", "/users/ann/password", &token, &change).await;
        assert_eq!(
            (answer.status, answer.body["type"].as_str()),
            (StatusCode::FORBIDDEN, Some("/problems/wrong-password"))
        );
    }
    let answer = function.send("PUT", "/users/ann/password", &token, &change).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::FORBIDDEN, "900"));
    let by_admin = json!({"new": "another password"});
    assert_eq!(function.send("PUT", "/users/ann/password", ADMIN, &by_admin).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.send("PUT", "/users/nobody/password", ADMIN, &by_admin).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_changes_at_once_that_know_the_same_old_password_one_is_made() {
    let function = Function::start().await;
    let another = function.another();
    function.register("ann").await;
    let token = &function.token("ann").await;
    let change = async |number: usize| {
        let change = json!({"old": "test1234", "new": format!("password number {number}")});
        match number % 2 {
            0 => function.send("PUT", "/users/ann/password", token, &change).await.status,
            _ => send(&another, "PUT", "/users/ann/password", token, &change).await.status,
        }
    };
    let statuses = join_all((0..4).map(change)).await;
    let count = |status| statuses.iter().filter(|answered| **answered == status).count();
    assert_eq!((count(StatusCode::NO_CONTENT), count(StatusCode::FORBIDDEN)), (1, 3), "{statuses:?}");
    let made = statuses.iter().position(|answered| *answered == StatusCode::NO_CONTENT).unwrap();
    assert_eq!(function.log_in("ann", &format!("password number {made}")).await.status, StatusCode::OK);
    assert_eq!(function.database.count("select max(generation)::bigint from sluice.users").await, 2);
}

#[tokio::test]
async fn a_deleted_users_credentials_neither_delete_nor_change_who_has_the_name_now() {
    let function = Function::start().await;
    let another = function.another();
    function.register("ann").await;
    let token = function.token("ann").await;
    let ask = async |method: &str, path: &str, body: &Value| send(&another, method, path, &token, body).await.status;
    assert_eq!(ask("GET", "/who", &Value::Null).await, StatusCode::OK);
    assert_eq!(function.send("DELETE", "/users/ann", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    function.register("ann").await;
    // The other process still remembers who had the name before.
    assert_eq!(ask("GET", "/who", &Value::Null).await, StatusCode::OK);
    assert_eq!(ask("DELETE", "/users/ann", &Value::Null).await, StatusCode::NOT_FOUND);
    let change = json!({"old": "test1234", "new": "another password"});
    assert_ne!(ask("PUT", "/users/ann/password", &change).await, StatusCode::NO_CONTENT);
    assert_eq!(function.log_in("ann", "test1234").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bearer_token_that_is_not_text_gets_the_challenge_of_tokens() {
    let function = Function::start().await;
    for bytes in [&b"Bearer \xff\xfe"[..], b"bearer a.\xc3\xa9.c"] {
        let request = Request::get("/who").header("authorization", HeaderValue::from_bytes(bytes).unwrap());
        let answer = function.ask(request.body(Body::empty()).unwrap()).await;
        let challenge = "Bearer error=\"invalid_token\"";
        assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, challenge));
    }
}
