//! Tests that users are blocked after five failed attempts.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use futures::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::{ADMIN, TestUsers, basic, send};

#[tokio::test]
async fn the_fifth_failure_gets_401_and_later_attempts_are_blocked() {
    let function = TestUsers::start().await;
    function.register("test").await;
    for _ in 0..5 {
        let answer = function.log_in("test", "wrong-password").await;
        assert_eq!((answer.status, &answer.body["error"]), (StatusCode::UNAUTHORIZED, &json!("Wrong password")));
    }
    let blocked = function.log_in("test", "test1234").await;
    assert_eq!((blocked.status, blocked.header("retry-after")), (StatusCode::FORBIDDEN, "900"));
    assert_eq!(function.get("/blocked", ADMIN).await.body, json!({"users-blocked": ["test"]}));
    let listed = function.get("/users", ADMIN).await.body;
    assert_eq!(listed["items"][1]["blocked_until"], "2023-11-14T22:28:20Z", "{listed}");

    // Attempts during the block do not extend the block.
    function.clock.advance(899_001);
    let blocked = function.log_in("test", "wrong-password").await;
    assert_eq!((blocked.status, blocked.header("retry-after")), (StatusCode::FORBIDDEN, "1"));
    function.clock.advance(999);
    assert_eq!(function.log_in("test", "test1234").await.status, StatusCode::OK);
    assert_eq!(function.get("/blocked", ADMIN).await.body, json!({"users-blocked": []}));
}

#[tokio::test]
async fn of_100_concurrent_guesses_in_two_processes_only_5_are_compared_with_the_password() {
    let function = TestUsers::start().await;
    function.register("test").await;
    let another = function.another();
    let guess = async |number: usize| {
        let password = format!("guess number {number}");
        match number % 4 {
            0 => function.log_in("test", &password).await,
            1 => send(&another, "POST", "/login", "", &json!({"user": "TEST", "pass": password})).await,
            2 => function.who(&basic("test", &password)).await,
            _ => send(&another, "GET", "/who", &basic("Test", &password), &Value::Null).await,
        }
    };
    let answers = join_all((0..100).map(guess)).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::UNAUTHORIZED), count(StatusCode::FORBIDDEN)), (5, 95));
}

#[tokio::test]
async fn concurrent_requests_with_the_correct_password_block_nobody() {
    let function = TestUsers::start().await;
    function.register("test").await;
    let another = function.another();
    let ask = async |number: usize| match number % 4 {
        0 => function.log_in("test", "test1234").await.status,
        1 => send(&another, "POST", "/login", "", &json!({"user": "test", "pass": "test1234"})).await.status,
        2 => function.who(&basic("test", "test1234")).await.status,
        _ => send(&another, "GET", "/who", &basic("test", "test1234"), &Value::Null).await.status,
    };
    let answers = join_all((0..40).map(ask)).await;
    assert_eq!(answers, [StatusCode::OK; 40]);
}

#[tokio::test]
async fn failures_within_a_minute_count_for_unknown_names_too() {
    let function = TestUsers::start().await;
    for round in 0..6 {
        assert_eq!(function.log_in("Nobody", "guess-1234").await.status, StatusCode::UNAUTHORIZED, "{round}");
        function.clock.advance(15_000);
    }
    for _ in 0..2 {
        function.log_in("nobody", "guess-1234").await;
    }
    assert_eq!(function.log_in("NOBODY", "guess-1234").await.status, StatusCode::FORBIDDEN);
    assert_eq!(function.get("/blocked", ADMIN).await.body, json!({"users-blocked": ["Nobody"]}));
    assert_eq!(function.get("/users", ADMIN).await.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_admin_can_lift_a_block_and_failures_are_counted_from_zero_again() {
    let function = TestUsers::start().await;
    function.register("test").await;
    let token = function.token("test").await;
    for _ in 0..5 {
        function.who(&basic("test", "wrong-password")).await;
    }
    let right = basic("test", "test1234");
    assert_eq!(function.who(&right).await.status, StatusCode::FORBIDDEN);
    // Strangers cannot lock out a user who is logged in.
    assert_eq!(function.who(&token).await.status, StatusCode::OK);

    assert_eq!(function.send("DELETE", "/blocked/test", &token, &Value::Null).await.status, StatusCode::FORBIDDEN);
    assert_eq!(function.send("DELETE", "/blocked/TEST", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.send("DELETE", "/blocked/test", ADMIN, &Value::Null).await.status, StatusCode::NOT_FOUND);
    for _ in 0..4 {
        assert_eq!(function.log_in("test", "wrong-password").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(function.who(&right).await.status, StatusCode::OK);
}

#[tokio::test]
async fn correct_credentials_are_refused_while_the_user_is_blocked() {
    let function = TestUsers::start().await;
    function.register("test").await;
    let right = basic("test", "test1234");
    assert_eq!(function.who(&right).await.status, StatusCode::OK);
    for _ in 0..5 {
        function.log_in("test", "wrong-password").await;
    }
    assert_eq!(function.who(&right).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn idle_names_are_forgotten() {
    let function = TestUsers::start().await;
    for number in 0..20 {
        function.log_in(&format!("nobody {number}"), "guess-1234").await;
    }
    function.clock.advance(61_000);
    function.log_in("somebody", "guess-1234").await;
    assert_eq!(function.database.count("select count(*) from sluice.blocks").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_concurrent_guesses_are_checked_one_at_a_time_for_known_and_unknown_users() {
    let function = TestUsers::start().await;
    function.register("known").await;
    for name in ["known", "nobody"] {
        let guess = basic(name, "wrong-password");
        let guesses = join_all((0..5).map(|_| function.who(&guess)));
        let is_done = AtomicBool::new(false);
        let guessing = async {
            let answers = guesses.await;
            is_done.store(true, Ordering::SeqCst);
            answers
        };
        let watching = async {
            let at_once = "select coalesce(max(cardinality(checking_at_ms)), 0)::bigint from sluice.blocks";
            let mut most = 0;
            while !is_done.load(Ordering::SeqCst) {
                most = most.max(function.database.count(at_once).await);
            }
            most
        };
        let (answers, most_at_once) = join(guessing, watching).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED), "{name}");
        assert_eq!(most_at_once, 1, "{name}");
    }
}
