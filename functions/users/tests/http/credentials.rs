//! Tokens and Basic credentials, and how long a process remembers a caller.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};
use shared::http::edge::Origin;

use crate::support::{ADMIN, TestUsers, basic, identity, send};

#[tokio::test]
async fn a_login_returns_a_token_that_works_until_it_expires() {
    let function = TestUsers::start().await;
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
async fn unauthenticated_callers_get_401_with_a_single_challenge() {
    let function = TestUsers::start().await;
    let challenge = "Basic realm=\"sluice\", charset=\"UTF-8\"";
    for authorization in ["", "Basic", "Basic !!", "Digest x", &basic("nobody", "test1234"), &basic("admin", "wrong")] {
        for path in ["/who", "/users", "/blocked"] {
            let answer = function.get(path, authorization).await;
            let challenges: Vec<_> =
                answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!((answer.status, challenges), (StatusCode::UNAUTHORIZED, vec![challenge]), "{authorization}");
            // Without this pause, the failures would block the user in the next case.
            function.clock.advance(60_000);
        }
    }
    for token in ["Bearer", "Bearer x", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30."] {
        let answer = function.who(token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
    }
}

#[tokio::test]
async fn changing_a_password_or_deleting_a_user_takes_effect_at_once_in_this_process_and_within_5_s_in_others() {
    let function = TestUsers::start().await;
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
    let again = function.log_in("ann", "another password").await;
    let again = format!("Bearer {}", again.body["token"].as_str().unwrap());
    // A new credential works at once even in a process that remembers the old account.
    assert_eq!(send(&another, "GET", "/who", &again, &Value::Null).await.status, StatusCode::OK);
    for authorization in [&token, &right, &bobs] {
        assert_eq!(function.who(authorization).await.status, StatusCode::UNAUTHORIZED);
    }
    tokio::time::sleep_until((changed + Duration::from_millis(4_900)).into()).await;
    for authorization in [&token, &right, &bobs] {
        let answer = send(&another, "GET", "/who", authorization, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    // A name that is registered again belongs to a different user.
    function.register("bob").await;
    assert_eq!(function.who(&bobs).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_repeated_request_needs_no_database_and_no_hash_of_the_password() {
    let function = TestUsers::start().await;
    function.register("ann").await;
    let token = function.token("ann").await;
    let identity = identity(&function.database.pool, &function.clock);
    let ask = async |authorization: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        let started = Instant::now();
        let caller = identity.authenticate(&headers, &Origin::default()).await;
        (caller.map(|caller| caller.name).map_err(|denied| denied.to_string()), started.elapsed())
    };
    let right = basic("ann", "test1234");
    assert_eq!(ask(&right).await.0, Ok("ann".to_owned()));
    assert_eq!(ask(&right).await.0, Ok("ann".to_owned()));
    function.database.pool.close().await;
    for authorization in [&right, &token] {
        // A hash would make every request slow. Other programs on the machine delay only some of the requests.
        let mut shortest = Duration::MAX;
        for _ in 0..20 {
            let (name, elapsed) = ask(authorization).await;
            assert_eq!(name, Ok("ann".to_owned()));
            shortest = shortest.min(elapsed);
        }
        assert!(shortest < Duration::from_millis(5), "{shortest:?}");
    }
    // A remembered correct password says nothing about similar ones.
    assert!(ask(&basic("ann", "test12345")).await.0.is_err());
}

#[tokio::test]
async fn a_wrong_old_password_counts_as_a_failed_attempt() {
    let function = TestUsers::start().await;
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
async fn only_one_of_several_concurrent_password_changes_succeeds() {
    let function = TestUsers::start().await;
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
async fn the_credentials_of_a_deleted_user_cannot_change_the_account_of_the_next_owner_of_the_name() {
    let function = TestUsers::start().await;
    let another = function.another();
    function.register("ann").await;
    let token = function.token("ann").await;
    let ask = async |method: &str, path: &str, body: &Value| send(&another, method, path, &token, body).await.status;
    assert_eq!(ask("GET", "/who", &Value::Null).await, StatusCode::OK);
    assert_eq!(function.send("DELETE", "/users/ann", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    function.register("ann").await;
    // The other process still remembers the previous owner of the name.
    assert_eq!(ask("GET", "/who", &Value::Null).await, StatusCode::OK);
    assert_eq!(ask("DELETE", "/users/ann", &Value::Null).await, StatusCode::NOT_FOUND);
    let change = json!({"old": "test1234", "new": "another password"});
    assert_ne!(ask("PUT", "/users/ann/password", &change).await, StatusCode::NO_CONTENT);
    assert_eq!(function.log_in("ann", "test1234").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_bearer_token_that_is_not_text_gets_the_bearer_challenge() {
    let function = TestUsers::start().await;
    for bytes in [&b"Bearer \xff\xfe"[..], b"bearer a.\xc3\xa9.c"] {
        let request = Request::get("/who").header("authorization", HeaderValue::from_bytes(bytes).unwrap());
        let answer = function.ask(request.body(Body::empty()).unwrap()).await;
        let challenge = "Bearer error=\"invalid_token\"";
        assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, challenge));
    }
}
