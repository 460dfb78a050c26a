//! Tests users through the whole gateway: requests in the format of the services that Sluice replaces, and attacks on
//! passwords.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may panic if its setup fails"
)]

mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use local::servers::{DataFolder, Kafka};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use shared::identity::lockout::Rule;
use shared::kafka::KafkaSettings;
use support::database::TestDatabase;
use support::gateway::{ADMIN, client_of, plan};
use support::kafka::{settings, values};
use support::process::UpProcess;
use support::secrecy;

/// A limit on failed logins that no test reaches.
const UNBOUNDED: Rule = Rule { after: 1_000_000, window_ms: 60_000, for_ms: 900_000 };

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// Posts JSON without credentials.
async fn post(http: &reqwest::Client, url: &str, path: &str, body: &Value) -> Answer {
    let request = http.post(format!("{url}{path}")).header("content-type", "application/json");
    answer(request.body(body.to_string())).await
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

/// Waits until a query returns this count.
async fn await_count(database: &TestDatabase, query: &str, count: i64) {
    let reached = async {
        while database.count(query).await != count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), reached).await;
    if in_time.is_err() {
        panic!("{query}: {} instead of {count}", database.count(query).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_the_format_of_the_replaced_services_are_answered_as_before() {
    let gateway = plan().start().await;
    let anonymous = reqwest::Client::new();
    let ask = async |path: &str, body: Value| post(&anonymous, &gateway.url, path, &body).await;

    assert_eq!(ask("/register", json!({"user": "test", "pass": "test1234"})).await.status, 201);
    let right = ask("/login", json!({"user": "test", "pass": "test1234"})).await;
    assert_eq!((right.status, &right.body["success"]), (200, &json!(true)));
    for _ in 0..5 {
        let wrong = ask("/login", json!({"user": "test", "pass": "wrong password"})).await;
        assert_eq!((wrong.status, &wrong.body["error"]), (401, &json!("Wrong password")));
    }
    assert_eq!(ask("/login", json!({"user": "test", "pass": "test1234"})).await.status, 403);
    assert_eq!(gateway.get("/blocked").await, (200, json!({"users-blocked": ["test"]})));

    assert_eq!(ask("/new_user", json!({"username": "vector", "password": "test1234"})).await.status, 201);
    let continent = json!({"name": "Europe", "population": 741_000_000, "area": 10_180_000});
    let by_basic = client_of(("vector", "test1234")).post(format!("{}/continent", gateway.url));
    let posted = answer(by_basic.header("prefer", "wait=20").json(&continent)).await;
    assert_eq!(posted.status, 200, "{}", posted.body);
    assert_eq!(ask("/continent", continent).await.status, 401);

    // Every login attempt, and every request whose Basic credentials had to be verified, lands in
    // `sluice.login_attempts`.
    let database = &gateway.database;
    await_count(database, r#"select count(*) from sluice.login_attempts where "user" in ('test', 'vector')"#, 8).await;
    let landed = database
        .json(
            r#"select "user", outcome, via, source_ip, count(*), bool_and(request_id <> '') as has_request
               from sluice.login_attempts where "user" in ('test', 'vector') group by 1, 2, 3, 4 order by 1, 2, 3"#,
        )
        .await;
    let row = |user: &str, outcome: &str, via: &str, count: u64| json!({"user": user, "outcome": outcome, "via": via, "source_ip": "127.0.0.1", "count": count, "has_request": true});
    let expected = [
        row("test", "blocked", "login", 1),
        row("test", "failure", "login", 5),
        row("test", "success", "login", 1),
        row("vector", "success", "basic", 1),
    ];
    assert_eq!(landed, json!(expected));
    assert_eq!(database.count("select count(*) from sluice.login_outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_post_only_what_the_users_role_allows_and_each_record_names_its_sender() {
    let gateway = plan().start().await;
    let anonymous = reqwest::Client::new();
    post(&anonymous, &gateway.url, "/register", &json!({"user": "Ann", "pass": "test1234"})).await;
    let ann = client_of(("ann", "test1234"));
    let as_ann = async |path: &str, body: Value| post(&ann, &gateway.url, path, &body).await.status;
    let change = json!({"change": []});
    let attempt = json!({"user": "ann", "at": "2026-05-07T19:54:13Z", "outcome": "success", "via": "login"});
    let route = json!({"userID": 5, "timestamp": 1, "coordinates": [1, 2]});
    assert_eq!(as_ann("/events/route", route).await, 202);
    assert_eq!(as_ann("/events/changes", change.clone()).await, 403);
    assert_eq!(as_ann("/events/login", attempt.clone()).await, 403);
    assert_eq!(gateway.post("/events/changes", &[], change.to_string()).await.0, 202);
    assert_eq!(gateway.post("/events/login", &[], attempt.to_string()).await.0, 403);
    for path in [
        "/dead-letters",
        "/dead-letters/1",
        "/dead-letters/groups",
        "/dead-letters/replays",
        "/dead-letters/replays/1",
        "/activity",
        "/gaps",
        "/audit",
        "/follow?receipt=routes/0/0",
        "/users",
        "/blocked",
    ] {
        assert_eq!(answer(ann.get(format!("{}{path}", gateway.url))).await.status, 403, "{path}");
    }
    let of_route = values(&settings(), gateway.topic("route")).await;
    assert!(of_route.contains(&b"Ann".to_vec()), "the header sluice-user is missing");

    for (method, path) in [
        ("POST", "/events/route"),
        ("GET", "/receipts/routes/0/0"),
        ("GET", "/dead-letters"),
        ("GET", "/dead-letters/1"),
        ("POST", "/dead-letters/1/replay"),
        ("GET", "/dead-letters/groups"),
        ("POST", "/dead-letters/discard"),
        ("POST", "/dead-letters/replays"),
        ("GET", "/dead-letters/replays/1"),
        ("POST", "/dead-letters/replays/1/cancel"),
        ("GET", "/activity"),
        ("GET", "/gaps"),
        ("GET", "/audit"),
        ("GET", "/follow"),
        ("GET", "/streams"),
        ("GET", "/streams/route"),
        ("GET", "/continents"),
        ("GET", "/continent"),
        ("POST", "/continent"),
        ("PUT", "/city"),
        ("DELETE", "/country"),
        ("GET", "/blocked"),
        ("DELETE", "/blocked/ann"),
        ("GET", "/users"),
        ("DELETE", "/users/ann"),
        ("PUT", "/users/ann/password"),
    ] {
        let request = anonymous.request(method.parse().unwrap(), format!("{}{path}", gateway.url));
        assert_eq!(answer(request).await.status, 401, "{method} {path}");
    }
    for path in ["/health", "/openapi.json"] {
        assert_eq!(answer(anonymous.get(format!("{}{path}", gateway.url))).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_5_of_100_concurrent_wrong_guesses_in_two_processes_are_answered_401_and_the_others_403() {
    let database = TestDatabase::create().await;
    let plan = plan();
    let start = || UpProcess::start(&database.url, plan.contracts(), &[]);
    // Starts the processes one after another, because each of them applies the migrations.
    let (mut a, mut b) = (start().await, start().await);
    let anonymous = reqwest::Client::new();
    post(&anonymous, &a.url, "/register", &json!({"user": "test", "pass": "test1234"})).await;

    let guess = async |number: usize| {
        let url = if number.is_multiple_of(2) { &a.url } else { &b.url };
        post(&anonymous, url, "/login", &json!({"user": "test", "pass": format!("guess number {number}")})).await.status
    };
    let statuses = join_all((0..100).map(guess)).await;
    let count = |status| statuses.iter().filter(|answered| **answered == status).count();
    eprintln!("100 guesses: {} answered 401, {} answered 403", count(401), count(403));
    assert_eq!((count(401), count(403)), (5, 95));

    // The block is still in force after both processes have ended.
    a.stop().await;
    b.stop().await;
    let c = start().await;
    assert_eq!(post(&anonymous, &c.url, "/login", &json!({"user": "test", "pass": "test1234"})).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer_in_the_same_time() {
    const ROUNDS: usize = 500;
    let gateway = plan().lockout(UNBOUNDED).start().await;
    let anonymous = reqwest::Client::new();
    post(&anonymous, &gateway.url, "/register", &json!({"user": "known", "pass": "test1234"})).await;
    let mut elapsed = [Vec::new(), Vec::new()];
    let mut shapes = [Vec::new(), Vec::new()];
    for round in 0..2 * ROUNDS {
        let user = ["known", "other"][round % 2];
        let started = Instant::now();
        let answer = post(&anonymous, &gateway.url, "/login", &json!({"user": user, "pass": "wrong password"})).await;
        elapsed[round % 2].push(started.elapsed());
        let mut body = answer.body;
        body["request_id"].take();
        let headers: Vec<String> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id" && *name != "date")
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        shapes[round % 2].push(format!("{} {headers:?} {body}", answer.status));
    }
    shapes.iter_mut().for_each(Vec::dedup);
    assert_eq!(shapes[0], shapes[1]);
    assert_eq!(shapes[0].len(), 1, "{shapes:?}");
    let [known, unknown] = elapsed.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2].as_secs_f64() * 1_000.0
    });
    let difference = (known / unknown - 1.0).abs();
    eprintln!("medians of {ROUNDS} each: wrong password {known:.2} ms, unknown user {unknown:.2} ms");
    assert!(difference < 0.05, "{known} ms and {unknown} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_topic_and_no_table_and_no_log_line_contains_a_password() {
    let database = TestDatabase::create().await;
    let plan = plan();
    let mut process = UpProcess::start(&database.url, plan.contracts(), &[("RUST_LOG", "debug")]).await;
    let anonymous = reqwest::Client::new();
    let url = process.url.clone();
    let ask = async |path: &str, body: Value| post(&anonymous, &url, path, &body).await.status;

    let [first, second, wrong, refused] = ["first-Secret-1", "second-Secret-2", "wrong-Secret-3", "tiny-4S"];
    assert_eq!(ask("/register", json!({"user": "ann", "pass": first})).await, 201);
    assert_eq!(ask("/register", json!({"user": "ann", "pass": second})).await, 409);
    assert_eq!(ask("/register", json!({"user": "bob", "pass": refused})).await, 422);
    assert_eq!(ask("/login", json!({"user": "ann", "pass": first})).await, 200);
    assert_eq!(ask("/login", json!({"user": "ann", "pass": wrong})).await, 401);
    assert_eq!(ask("/login", json!({"user": "ann", "unheard-of": wrong})).await, 422);
    let broken = anonymous.post(format!("{url}/login")).body(format!("{{\"user\": \"ann\", \"pass\": \"{wrong}\""));
    assert_eq!(answer(broken.header("content-type", "application/json")).await.status, 400);
    let form = anonymous.post(format!("{url}/login")).body(format!("user=ann&pass={wrong}"));
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(answer(form).await.status, 401);
    let in_query = anonymous.post(format!("{url}/login?pass={first}")).json(&json!({"user": "ann", "pass": first}));
    assert_eq!(answer(in_query).await.status, 200);
    for password in [first, wrong] {
        let streams = client_of(("ann", password)).get(format!("{url}/streams"));
        assert_eq!(answer(streams).await.status == 200, password == first);
    }
    let ann = client_of(("ann", first));
    let change = ann.put(format!("{url}/users/ann/password")).json(&json!({"old": first, "new": second}));
    assert_eq!(answer(change).await.status, 204);
    let route = json!({"userID": 5, "timestamp": 1, "coordinates": [1, 2]});
    assert_eq!(post(&client_of(("ann", second)), &url, "/events/route", &route).await.status, 202);
    await_count(&database, "select count(*) from sluice.login_attempts", 7).await;
    process.stop().await;

    let haystack = secrecy::texts(&process, plan.contracts(), &database).await;
    let needles: Vec<String> = [first, second, wrong, refused, ADMIN.1].into_iter().flat_map(spellings).collect();
    eprintln!("{} texts searched for {} spellings", haystack.len(), needles.len());
    for (place, text) in &haystack {
        let text = String::from_utf8_lossy(text).to_lowercase();
        for needle in &needles {
            // The tests pass the admin's password to `up` on the command line. `up` prints this password for the person
            // who started `up`.
            let is_announcement = place == "stdout" && needle.contains("admin");
            assert!(is_announcement || !text.contains(&needle.to_lowercase()), "{place} contains a password");
        }
    }
}

/// Returns a password's spellings, and the password's SHA-256 and SHA-512 hashes, which would be easy to crack.
fn spellings(password: &str) -> Vec<String> {
    use sha2::{Digest as _, Sha256, Sha512};
    let mut spellings = secrecy::spellings(password);
    for hash in [Sha256::digest(password).to_vec(), Sha512::digest(password).to_vec()] {
        spellings.extend([secrecy::hex(&hash), secrecy::base64(&hash)]);
    }
    spellings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_logins_neither_exceeds_the_memory_limit_for_hashing_nor_slows_other_routes() {
    const LOGINS: usize = 500;
    const KIB_PER_HASH: u64 = 19 * 1_024;
    let database = TestDatabase::create().await;
    let plan = plan();
    let process = UpProcess::start(&database.url, plan.contracts(), &[("BLOCK_AFTER", "1000000")]).await;
    let http = reqwest::Client::new();
    let health = || async {
        let started = Instant::now();
        let answer = answer(http.get(format!("{}/health", process.url))).await;
        assert_eq!(answer.status, 200);
        started.elapsed()
    };
    post(&http, &process.url, "/register", &json!({"user": "test", "pass": "test1234"})).await;
    // Opens as many connections as the flood does, with a health check on each, so that the memory of the connections
    // is not attributed to the hashes. Some of these health checks may time out, because they all run at the same time.
    join_all((0..LOGINS).map(|_| answer(http.get(format!("{}/health", process.url))))).await;
    // After a check has timed out, its request to the broker continues, and may slow the checks that are measured
    // below. Therefore, waits until a check succeeds.
    while answer(http.get(format!("{}/health", process.url))).await.status != 200 {}
    process.forget_peak();
    let idle = process.kibibytes("VmRSS");

    let login = async |number: usize| {
        let password = if number.is_multiple_of(2) { "test1234" } else { "wrong password" };
        post(&http, &process.url, "/login", &json!({"user": "test", "pass": password})).await
    };
    let logins = join_all((0..LOGINS).map(login));
    let probe = async {
        let mut times = Vec::new();
        loop {
            times.push(health().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if times.len() >= 400 {
                break;
            }
        }
        times
    };
    let started = Instant::now();
    let (answers, mut times) = tokio::join!(async { (logins.await, started.elapsed()) }, probe);
    let (answers, took) = answers;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    for answer in &answers {
        let is_clear =
            matches!(answer.status, 200 | 401) || answer.status == 503 && answer.headers.contains_key("retry-after");
        assert!(is_clear, "{} {}", answer.status, answer.body);
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    let above = process.kibibytes("VmHWM").saturating_sub(idle);
    let permits = std::thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    eprintln!(
        "{LOGINS} logins in {:.1} s: {} answered 200, {} 401, {} 503; {:.1} MiB above idle with {permits} permits; p99 of /health {} ms",
        took.as_secs_f64(),
        count(200),
        count(401),
        count(503),
        above as f64 / 1_024.0,
        p99.as_millis()
    );
    assert!(above <= permits * KIB_PER_HASH, "{above} KiB above idle");
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_outage_delays_the_events_about_logins_but_never_a_login() {
    let data = DataFolder::temporary().unwrap();
    let mut kafka = Kafka::start(&data).await.unwrap();
    let cluster = KafkaSettings::plaintext(kafka.bootstrap_servers());
    let gateway = plan().cluster(cluster).start().await;
    let anonymous = reqwest::Client::new();
    let log_in = async |pass: &str| {
        let started = Instant::now();
        let answer = post(&anonymous, &gateway.url, "/login", &json!({"user": "test", "pass": pass})).await;
        (answer.status, started.elapsed())
    };
    post(&anonymous, &gateway.url, "/register", &json!({"user": "test", "pass": "test1234"})).await;
    assert_eq!(log_in("test1234").await.0, 200);
    let landed = r#"select count(*) from sluice.login_attempts where "user" = 'test'"#;
    await_count(&gateway.database, landed, 1).await;

    kafka.kill9().await;
    for round in 0..4 {
        let (status, elapsed) = log_in(["test1234", "wrong password"][round % 2]).await;
        assert_eq!(status, [200, 401][round % 2]);
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    }
    assert_eq!(gateway.database.count("select count(*) from sluice.login_outbox").await, 4);
    kafka.restart().await.unwrap();
    await_count(&gateway.database, landed, 5).await;
    assert_eq!(gateway.database.count("select count(*) from sluice.login_outbox").await, 0);
}
