//! User names: which are equal, and which are invalid.

use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;

use crate::support::{ADMIN, TestUsers, basic};

#[tokio::test]
async fn the_composed_and_the_decomposed_form_of_a_name_are_the_same_name_at_any_length() {
    let function = TestUsers::start().await;
    // The decomposed name has 80 characters.
    let (composed, decomposed) = ("\u{e9}".repeat(40), "e\u{301}".repeat(40));
    function.register(&decomposed).await;
    assert_eq!(function.post("/register", json!({"user": composed, "pass": "test1234"})).await.status, 409);
    for name in [&composed, &decomposed] {
        let who = function.who(&basic(name, "test1234")).await;
        assert_eq!((who.status, who.body), (StatusCode::OK, json!(composed)));
        assert_eq!(function.log_in(name, "test1234").await.status, StatusCode::OK);
    }
    let token = function.token(&composed).await;
    let path = format!("/users/{}", "e%CC%81".repeat(40));
    let change = json!({"old": "test1234", "new": "another password"});
    let changed = function.send("PUT", &format!("{path}/password"), &token, &change).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    let authorization = basic(&decomposed, "another password");
    assert_eq!(function.send("DELETE", &path, &authorization, &Value::Null).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn failed_guesses_are_counted_together_for_all_spellings_of_a_name() {
    let function = TestUsers::start().await;
    let (composed, decomposed) = ("\u{e9}".repeat(40), "e\u{301}".repeat(40));
    function.register(&composed).await;
    let right = basic(&composed, "test1234");
    assert_eq!(function.who(&right).await.status, StatusCode::OK);
    for number in 0..5 {
        let answer = function.who(&basic(&decomposed, &format!("guess number {number}"))).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(function.who(&right).await.status, StatusCode::FORBIDDEN);
    assert_eq!(function.who(&basic(&decomposed, "test1234")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_new_name_must_not_contain_a_character_that_is_ambiguous_in_a_path() {
    let function = TestUsers::start().await;
    for c in [':', '/', '?', '#', '%', '\\'] {
        let answer = function.post("/register", json!({"user": format!("eve{c}1"), "pass": "test1234"})).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{c}");
        let expected = "must not contain control characters or any of : / ? # % \\";
        assert_eq!(
            (&answer.body["errors"][0]["pointer"], &answer.body["errors"][0]["detail"]),
            (&json!("/user"), &json!(expected))
        );
    }
}

#[tokio::test]
async fn a_path_decoded_by_api_gateway_still_names_the_user_that_the_caller_named() {
    let function = TestUsers::start().await;
    function.register("eve").await;
    function.register("bob").await;
    // Users may have registered these names when `?`, `#` and `%` were still allowed.
    for name in ["eve?1", "eve#1", "a%41"] {
        let name = UserName::parse_existing(name).unwrap();
        make_admin(&function.database.pool, &name, Password::given("test1234")).await.unwrap();
        assert_eq!(function.who(&basic(name.shown(), "test1234")).await.status, StatusCode::OK);
    }
    for (raw_path, status) in [
        ("/users/eve?2", 404),
        ("/users/eve#2", 404),
        ("/users/eve?1", 204),
        ("/users/eve#1", 204),
        ("/users/a%41", 204),
        ("/users/aa", 404),
        ("/users/a/../bob", 400),
        ("/users/./bob", 400),
        ("/users/bob/x", 404),
    ] {
        assert_eq!(function.deleted_over_api_gateway(raw_path).await, status, "{raw_path}");
    }
    assert_eq!(function.database.count("select count(*) from sluice.users where name in ('eve', 'bob')").await, 2);
    assert_eq!(function.database.count("select count(*) from sluice.users").await, 3);
    assert_eq!(function.deleted_over_api_gateway("/users/eve").await, 204);
    assert_eq!(function.database.count("select count(*) from sluice.users where name = 'eve'").await, 0);
}

#[tokio::test]
async fn slashes_in_a_path_after_users_or_blocked_belong_to_the_name() {
    let function = TestUsers::start().await;
    function.register("eve").await;
    let old = UserName::parse_existing("eve/1/password").unwrap();
    make_admin(&function.database.pool, &old, Password::given("test1234")).await.unwrap();
    let new = json!({"new": "another password"});
    for (method, path, status) in [
        ("PUT", "/users/eve%2F1", 404),
        ("PUT", "/users/eve/1/password", 404),
        ("PUT", "/users/eve%2F1%2Fpassword/password", 204),
        ("DELETE", "/users/eve%2F1", 404),
        ("DELETE", "/users/eve/", 404),
        ("DELETE", "/users//eve", 404),
        ("DELETE", "/users/eve%2F1%2Fpassword", 204),
    ] {
        assert_eq!(function.send(method, path, ADMIN, &new).await.status.as_u16(), status, "{method} {path}");
    }
    assert_eq!(function.database.count("select count(*) from sluice.users where name = 'eve'").await, 1);

    // A name is blocked even if no user has it.
    for name in ["eve/1", "a//b/"] {
        for _ in 0..5 {
            function.log_in(name, "wrong password").await;
        }
    }
    assert_eq!(function.get("/blocked", ADMIN).await.body, json!({"users-blocked": ["a//b/", "eve/1"]}));
    assert_eq!(function.deleted_over_api_gateway("/blocked/eve/1").await, 204);
    assert_eq!(function.deleted_over_api_gateway("/blocked/eve/1").await, 404);
    let lifted = function.send("DELETE", "/blocked/a%2F%2Fb%2F", ADMIN, &Value::Null).await;
    assert_eq!(lifted.status, StatusCode::NO_CONTENT);
    assert_eq!(function.get("/blocked", ADMIN).await.body, json!({"users-blocked": []}));
}

#[tokio::test]
async fn an_invalid_name_belongs_to_nobody() {
    let function = TestUsers::start().await;
    let long = "a".repeat(65);
    for (name, in_path) in [("ab\0c", "ab%00c"), ("ab", "ab"), (&long, &long), ("ann ", "ann%20")] {
        let answer = function.who(&basic(name, "test1234")).await;
        let challenge = "Basic realm=\"sluice\", charset=\"UTF-8\"";
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (StatusCode::UNAUTHORIZED, challenge),
            "{name:?}"
        );
        assert_eq!(function.log_in(name, "test1234").await.status, StatusCode::UNAUTHORIZED, "{name:?}");
        let new = json!({"new": "another password"});
        for (method, path) in [
            ("DELETE", format!("/users/{in_path}")),
            ("PUT", format!("/users/{in_path}/password")),
            ("DELETE", format!("/blocked/{in_path}")),
        ] {
            assert_eq!(
                function.send(method, &path, ADMIN, &new).await.status,
                StatusCode::NOT_FOUND,
                "{method} {path}"
            );
        }
    }
    // The admin's attempts to log in are counted. Attempts with an invalid name are not.
    assert_eq!(function.database.count("select count(*) from sluice.blocks where name <> 'admin'").await, 0);
}

#[tokio::test]
async fn a_name_that_differs_from_another_only_in_invisible_characters_cannot_be_registered() {
    let function = TestUsers::start().await;
    function.register("eve").await;
    let register = async |name: &str| {
        let answer = function.post("/register", json!({"user": name, "pass": "test1234"})).await;
        (answer.status.as_u16(), answer.body["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
    };
    for taken in ["eve\u{200b}", "e\u{ad}ve", "E\u{2060}VE", "\u{feff}eve", "eve\u{fe0f}", "e\u{200d}v\u{200c}e"] {
        assert_eq!(register(taken).await, (409, String::new()), "{taken:?}");
    }
    for refused in [
        " eve",
        "eve ",
        "eve\u{a0}",
        "\u{3000}eve",
        "eve \u{200b}",
        "e\u{2028}ve",
        "e\u{2029}ve",
        "e\u{202e}ve",
        "eve\u{200f}",
        "e\u{2066}v\u{2069}e",
        "\u{200b}\u{200b}\u{200b}",
        "e\u{200b}\u{200b}",
    ] {
        assert_eq!(register(refused).await, (422, "/user".to_owned()), "{refused:?}");
    }
    assert_eq!(register("eve \u{1f469}\u{200d}\u{1f4bb}").await.0, 201);
}
