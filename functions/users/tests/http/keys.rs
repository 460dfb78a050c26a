//! Service keys: who may create keys, what a key may do, and when a key stops working.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};
use shared::http::edge::Origin;

use crate::support::{ADMIN, Answer, NOW_MS, TestUsers, basic, identity, send, settings};

/// The time limit for a condition that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

impl TestUsers {
    /// Creates a key. Returns the answer and the key's `Authorization` header.
    async fn create_key(&self, authorization: &str, body: &Value) -> (Value, String) {
        let answer = self.send("POST", "/keys", authorization, body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let bearer = format!("Bearer {}", answer.body["key"].as_str().unwrap());
        (answer.body, bearer)
    }

    async fn may_post(&self, authorization: &str, stream: &str) -> Answer {
        self.get(&format!("/may-post/{stream}"), authorization).await
    }

    async fn listed(&self, authorization: &str) -> Value {
        self.get("/keys", authorization).await.body["items"].take()
    }
}

async fn status_elsewhere(another: &Router, bearer: &str) -> StatusCode {
    send(another, "GET", "/may-post/route", bearer, &Value::Null).await.status
}

/// Waits until another process rejects a key. Returns how long that took.
async fn ends_elsewhere(another: &Router, bearer: &str) -> Duration {
    let begun = Instant::now();
    while status_elsewhere(another, bearer).await != StatusCode::UNAUTHORIZED {
        assert!(begun.elapsed() < PATIENCE, "the key still works");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_key_acts_as_its_user_and_is_shown_only_once_and_is_stored_as_a_hash() {
    let function = TestUsers::start().await;
    function.register("Ann").await;
    let ann = basic("ann", "test1234");
    let body = json!({"name": "checkout", "streams": ["route", "city"], "expires_in": 3_600});
    let answer = function.send("POST", "/keys", &ann, &body).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::CREATED, "no-store"));
    let key = answer.body["key"].as_str().unwrap().to_owned();
    let mut item = json!({
        "id": 1, "name": "checkout", "user": "Ann", "streams": ["route", "city"], "prefix": &key[..12],
        "created": "2023-11-14T22:13:20Z", "expires": "2023-11-14T23:13:20Z", "last_used": null
    });
    assert_eq!(function.listed(&ann).await, json!([item]));
    item["key"] = json!(key);
    assert_eq!(answer.body, item);

    let bearer = format!("bEARER {key}");
    assert_eq!(function.may_post(&bearer, "city").await.body, "Ann");
    let rows = function.database.json("select k::text as row, encode(hash, 'hex') as hash from sluice.keys k").await;
    assert!(!rows[0]["row"].as_str().unwrap().contains(&key[12..]), "{rows}");
    assert_eq!(rows[0]["hash"].as_str().map(str::len), Some(64));
}

#[tokio::test]
async fn users_manage_their_own_keys_and_admins_manage_the_keys_of_everyone() {
    let function = TestUsers::start().await;
    function.register("ann").await;
    function.register("bob").await;
    let (ann, bob) = (basic("ann", "test1234"), basic("bob", "test1234"));
    let of = |user: &str| json!({"name": user, "streams": ["*"], "user": user});
    let (_, anns) = function.create_key(&ann, &of("ANN")).await;
    let (_, bobs) = function.create_key(ADMIN, &of("bob")).await;
    assert_eq!(function.may_post(&anns, "route").await.body, "ann");
    assert_eq!(function.may_post(&bobs, "route").await.body, "bob");
    for others in ["bob", "nobody", "admin"] {
        let answer = function.send("POST", "/keys", &ann, &of(others)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{others}");
    }

    let names = |items: Value| {
        let names = items.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(function.listed(&ann).await), ["ANN"]);
    assert_eq!(names(function.listed(&bob).await), ["bob"]);
    assert_eq!(names(function.listed(ADMIN).await), ["ANN", "bob"]);

    let delete = async |authorization: &str, id: &str| {
        function.send("DELETE", &format!("/keys/{id}"), authorization, &Value::Null).await.status
    };
    for missing in ["2", "3", "0", "-1", "x", "99999999999999999999"] {
        assert_eq!(delete(&ann, missing).await, StatusCode::NOT_FOUND, "{missing}");
    }
    assert_eq!(delete(&ann, "1").await, StatusCode::NO_CONTENT);
    assert_eq!(delete(&ann, "1").await, StatusCode::NOT_FOUND);
    assert_eq!(delete(ADMIN, "2").await, StatusCode::NO_CONTENT);
    assert_eq!(function.listed(ADMIN).await, json!([]));
    for key in [anns, bobs] {
        let answer = function.may_post(&key, "route").await;
        let challenge = "Bearer error=\"invalid_token\"";
        assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, challenge));
    }
}

#[tokio::test]
async fn service_keys_and_unauthenticated_callers_cannot_manage_keys_or_users() {
    let function =
        TestUsers::start_with(users::UsersSettings { registration: users::Registration::Closed, ..settings() }).await;
    let (_, admins) = function.create_key(ADMIN, &json!({"name": "a", "streams": ["*"]})).await;
    assert_eq!(function.may_post(&admins, "changes").await.status, StatusCode::OK);
    for (method, path) in [
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("DELETE", "/keys/1"),
        ("GET", "/users"),
        ("DELETE", "/users/admin"),
        ("PUT", "/users/admin/password"),
        ("GET", "/blocked"),
        ("DELETE", "/blocked/admin"),
        ("POST", "/register"),
        ("POST", "/new_user"),
    ] {
        let body = json!({"name": "b", "streams": ["*"], "user": "ann", "pass": "test1234"});
        assert_eq!(function.send(method, path, "", &body).await.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        let answer = function.send(method, path, &admins, &body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.starts_with("A service key can only post events and read receipts."), "{detail}");
    }
    assert_eq!(function.listed(ADMIN).await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn each_wrong_field_is_listed_with_its_pointer() {
    let function = TestUsers::start().await;
    let right = json!({"name": "n", "streams": ["route"]});
    let pointers = async |changed: &Value| {
        let mut body = right.clone();
        for (name, value) in changed.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = function.send("POST", "/keys", ADMIN, &body).await;
        let code = answer.body["type"].as_str().unwrap_or_default().to_owned();
        assert_eq!((answer.status.as_u16(), code.as_str()), (422, "/problems/refused"), "{changed} {}", answer.body);
        let errors = answer.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (changed, expected) in [
        (json!({"name": null}), "/name"),
        (json!({"name": 5}), "/name"),
        (json!({"name": ""}), "/name"),
        (json!({"name": " n"}), "/name"),
        (json!({"name": "a\u{0}b"}), "/name"),
        (json!({"name": "a\u{202e}b"}), "/name"),
        (json!({"name": "a\u{2028}b"}), "/name"),
        (json!({"name": "n".repeat(101)}), "/name"),
        (json!({"streams": null}), "/streams"),
        (json!({"streams": "route"}), "/streams"),
        (json!({"streams": []}), "/streams"),
        (json!({"streams": ["route", 5, "city", "route", "cities"]}), "/streams/1 /streams/3"),
        (json!({"streams": ["route", "cities", ""]}), "/streams/1 /streams/2"),
        (json!({"streams": ["*", "route"]}), "/streams/0"),
        (json!({"streams": ["route", "login"]}), "/streams/1"),
        (json!({"expires_in": 0}), "/expires_in"),
        (json!({"expires_in": -1}), "/expires_in"),
        (json!({"expires_in": 1.5}), "/expires_in"),
        (json!({"expires_in": "60"}), "/expires_in"),
        (json!({"expires_in": 3_153_600_001_u64}), "/expires_in"),
        (json!({"expires_in": u64::MAX}), "/expires_in"),
        (json!({"user": 5}), "/user"),
        (json!({"user": "nobody"}), "/user"),
        (json!({"user": ":"}), "/user"),
        (json!({"expires": 60}), "/expires"),
        (json!({"a/b~c": 1, "name": ""}), "/a~1b~0c /name"),
    ] {
        assert_eq!(pointers(&changed).await, expected, "{changed}");
    }
    for (body, status) in [("[]", 422), ("{", 400), ("\u{feff}{}", 400)] {
        let request = axum::http::Request::post("/keys").header("authorization", ADMIN);
        let answer = function.ask(request.body(body.into()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}");
    }
    for path in ["/keys?a=1", "/keys?after=x", "/keys?limit=0"] {
        assert_eq!(function.get(path, ADMIN).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(function.listed(ADMIN).await, json!([]));
    function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"], "expires_in": null, "user": null})).await;
    function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"], "expires_in": 3_153_600_000_u64})).await;
}

#[tokio::test]
async fn a_key_is_limited_to_its_streams_and_to_what_its_user_may_do() {
    let function = TestUsers::start().await;
    function.register("ann").await;
    let ann = basic("ann", "test1234");
    let key = async |authorization: &str, streams: Value| {
        function.create_key(authorization, &json!({"name": "n", "streams": streams, "user": "ann"})).await.1
    };
    let refused = async |authorization: &str, streams: Value| {
        let body = json!({"name": "n", "streams": streams, "user": "ann"});
        let answer = function.send("POST", "/keys", authorization, &body).await;
        (answer.status.as_u16(), answer.body["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
    };
    // A user cannot create a key that may do more than the user. Only admins may create keys for streams whose
    // contracts have no roles.
    assert_eq!(refused(&ann, json!(["route", "changes"])).await, (403, String::new()));
    assert_eq!(refused(&ann, json!(["sensor"])).await, (403, String::new()));
    assert_eq!(refused(ADMIN, json!(["route", "changes"])).await, (422, "/streams/1".to_owned()));

    let (named, all) = (key(&ann, json!(["route"])).await, key(&ann, json!(["*"])).await);
    let (by_admin, sensor) = (key(ADMIN, json!(["*"])).await, key(ADMIN, json!(["sensor", "route"])).await);
    let admins = function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"]})).await.1;
    for (bearer, allowed) in [
        (&named, "route"),
        (&all, "city route"),
        (&by_admin, "city route"),
        (&sensor, "route sensor"),
        (&admins, "changes city route"),
    ] {
        let mut found = Vec::new();
        for stream in ["changes", "city", "login", "route", "sensor"] {
            let answer = function.may_post(bearer, stream).await;
            if answer.status == StatusCode::OK {
                found.push(stream);
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
            }
        }
        assert_eq!(found.join(" "), allowed);
    }
    let answer = function.may_post(&named, "city").await;
    assert!(answer.body["detail"].as_str().unwrap().starts_with("This service key is not for this stream."));
    // A key that was not created by an admin gives no access to a stream whose contract lost its roles after the key
    // was created.
    let rename = "update sluice.keys set streams = '{sensor}' where not by_admin";
    sqlx::raw_sql(rename).execute(&function.database.pool).await.unwrap();
    let process = function.another();
    assert_eq!(send(&process, "GET", "/may-post/sensor", &named, &Value::Null).await.status, StatusCode::FORBIDDEN);
    assert_eq!(send(&process, "GET", "/may-post/sensor", &sensor, &Value::Null).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_works_until_it_expires() {
    let function = TestUsers::start().await;
    let (_, bearer) = function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"], "expires_in": 60})).await;
    let (_, lasting) = function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"]})).await;
    function.clock.advance(59_999);
    assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::OK);
    // The key also stops working in a process that remembers the key.
    function.clock.advance(1);
    assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(status_elsewhere(&function.another(), &bearer).await, StatusCode::UNAUTHORIZED);
    let expires: Vec<Value> =
        function.listed(ADMIN).await.as_array().unwrap().iter().map(|k| k["expires"].clone()).collect();
    assert_eq!(expires, [json!("2023-11-14T22:14:20Z"), Value::Null]);
    function.clock.advance(100 * 365 * 86_400_000);
    assert_eq!(function.may_post(&lasting, "route").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_key_stops_working_at_once_in_this_process_and_within_5_s_in_others() {
    let function = TestUsers::start().await;
    let another = function.another();
    let body = json!({"name": "checkout", "streams": ["route"]});
    // While a new key replaces an old one, both may have the same name.
    let ((old, old_bearer), (_, new_bearer)) =
        (function.create_key(ADMIN, &body).await, function.create_key(ADMIN, &body).await);
    for bearer in [&old_bearer, &new_bearer] {
        assert_eq!(function.may_post(bearer, "route").await.status, StatusCode::OK);
        assert_eq!(status_elsewhere(&another, bearer).await, StatusCode::OK);
    }
    let path = format!("/keys/{}", old["id"]);
    assert_eq!(function.send("DELETE", &path, ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.may_post(&old_bearer, "route").await.status, StatusCode::UNAUTHORIZED);
    let took = ends_elsewhere(&another, &old_bearer).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(function.may_post(&new_bearer, "route").await.status, StatusCode::OK);
    assert_eq!(status_elsewhere(&another, &new_bearer).await, StatusCode::OK);
}

#[tokio::test]
async fn a_key_stops_working_when_its_user_is_deleted_but_not_when_the_user_is_blocked_or_gets_a_new_password() {
    let function = TestUsers::start().await;
    let another = function.another();
    function.register("ann").await;
    let (ann, token) = (basic("ann", "test1234"), function.token("ann").await);
    let (_, bearer) = function.create_key(&ann, &json!({"name": "n", "streams": ["*"]})).await;
    for _ in 0..6 {
        function.log_in("ann", "wrong-password").await;
    }
    assert_eq!(function.log_in("ann", "test1234").await.status, StatusCode::FORBIDDEN);
    assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::OK);
    assert_eq!(status_elsewhere(&function.another(), &bearer).await, StatusCode::OK);
    let change = json!({"new": "another password"});
    assert_eq!(function.send("PUT", "/users/ann/password", ADMIN, &change).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.who(&token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::OK);
    assert_eq!(status_elsewhere(&another, &bearer).await, StatusCode::OK);

    assert_eq!(function.send("DELETE", "/users/ann", ADMIN, &Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::UNAUTHORIZED);
    let took = ends_elsewhere(&another, &bearer).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(function.listed(ADMIN).await, json!([]));
    // The next user with this name does not get the keys.
    function.register("ann").await;
    assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_last_use_is_rounded_down_to_the_minute_and_written_at_most_once_per_minute_by_all_processes_together() {
    let function = TestUsers::start().await;
    let another = function.another();
    let counting = "
        create table public.writes (id bigint);
        create function public.note() returns trigger language plpgsql as
            'begin insert into public.writes values (new.id); return new; end';
        create trigger note after update on sluice.keys for each row execute function public.note()";
    sqlx::raw_sql(counting).execute(&function.database.pool).await.unwrap();
    let (key, bearer) = function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"]})).await;
    assert_eq!(key["last_used"], Value::Null);
    // The key is used at 22:13:20, 22:14:00, 22:14:59 and 22:16:00, but not between 22:15 and 22:16.
    for (advance_ms, last_used, writes) in [
        (0, "2023-11-14T22:13:00Z", 1),
        (40_000, "2023-11-14T22:14:00Z", 2),
        (59_999, "2023-11-14T22:14:00Z", 2),
        (60_001, "2023-11-14T22:16:00Z", 3),
    ] {
        function.clock.advance(advance_ms);
        let uses = join_all((0..10).map(|_| async {
            assert_eq!(function.may_post(&bearer, "route").await.status, StatusCode::OK);
            assert_eq!(status_elsewhere(&another, &bearer).await, StatusCode::OK);
        }));
        uses.await;
        let begun = Instant::now();
        while function.listed(ADMIN).await[0]["last_used"] != last_used {
            assert!(begun.elapsed() < PATIENCE, "{last_used} is not recorded: {}", function.listed(ADMIN).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(function.database.count("select count(*) from public.writes").await, writes, "{last_used}");
    }
    assert_eq!(function.clock.now_ms() - NOW_MS, 160_000);
}

#[tokio::test]
async fn repeated_requests_and_requests_with_a_mistyped_key_need_no_database() {
    let function = TestUsers::start().await;
    let (_, bearer) = function.create_key(ADMIN, &json!({"name": "n", "streams": ["*"]})).await;
    let identity = identity(&function.database.pool, &function.clock);
    let ask = async |authorization: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        let started = Instant::now();
        let caller = identity.authenticate_or_key(&headers, &Origin::default()).await;
        (caller.map(|caller| caller.name).map_err(|denied| denied.to_string()), started.elapsed())
    };
    assert_eq!(ask(&bearer).await.0, Ok("admin".to_owned()));
    function.database.pool.close().await;
    let guess = format!("Bearer slk_{}", "a".repeat(49));
    let mistyped = format!("{}{}", &bearer[..bearer.len() - 1], if bearer.ends_with('0') { '1' } else { '0' });
    for (authorization, expected) in [
        (&bearer, Ok("admin".to_owned())),
        (&guess, Err("invalid service key".to_owned())),
        (&mistyped, Err("invalid service key".to_owned())),
    ] {
        let (found, elapsed) = ask(authorization).await;
        assert_eq!(found, expected);
        assert!(elapsed < Duration::from_millis(5), "{elapsed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_with_correct_checksums_are_looked_up_one_at_a_time() {
    let function = TestUsers::start().await;
    let body = json!({"name": "n", "streams": ["*"]});
    // Each key is deleted as soon as it is created. The keys are well formed, but the process that is started below has
    // never seen them.
    let mut guesses = Vec::new();
    for _ in 0..40 {
        let (key, bearer) = function.create_key(ADMIN, &body).await;
        function.send("DELETE", &format!("/keys/{}", key["id"]), ADMIN, &Value::Null).await;
        guesses.push(bearer);
    }
    let another = function.another();
    // Every lookup of a key now waits for this transaction.
    let mut holding = function.database.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table sluice.keys in access exclusive mode").execute(&mut *holding).await.unwrap();
    let flood = join_all(guesses.iter().map(|guess| status_elsewhere(&another, guess)));
    let probe = async {
        const WAITING: &str = "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'";
        let begun = Instant::now();
        while function.database.count(WAITING).await == 0 {
            assert!(begun.elapsed() < PATIENCE, "no guess was looked up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..20 {
            assert_eq!(function.database.count(WAITING).await, 1);
            tokio::task::yield_now().await;
        }
        holding.rollback().await.unwrap();
    };
    let (statuses, ()) = futures::future::join(flood, probe).await;
    assert_eq!(statuses, [StatusCode::UNAUTHORIZED; 40]);
}

#[tokio::test]
async fn keys_are_listed_a_page_at_a_time_in_the_order_of_their_creation() {
    let function = TestUsers::start().await;
    function.register("ann").await;
    for number in 0..5 {
        let user = if number % 2 == 0 { "ann" } else { "admin" };
        function.create_key(ADMIN, &json!({"name": format!("{number}"), "streams": ["*"], "user": user})).await;
    }
    let names = async |authorization: &str| {
        let (mut names, mut after) = (String::new(), String::new());
        loop {
            let page = function.get(&format!("/keys?limit=2{after}"), authorization).await.body;
            for item in page["items"].as_array().unwrap() {
                names += item["name"].as_str().unwrap();
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break names,
            }
            names += " ";
        }
    };
    assert_eq!(names(ADMIN).await, "01 23 4");
    assert_eq!(names(&basic("ann", "test1234")).await, "02 4");
}
