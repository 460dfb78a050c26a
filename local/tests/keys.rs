//! Tests service keys through the whole gateway: what a caller may do with a key, and that a deleted key stops working
//! in every process. `SLUICE_GUESSES` sets how many times a stranger guesses a user's password.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may panic if its setup fails"
)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use local::template::{self, Template};
use serde_json::{Value, json};
use support::database::TestDatabase;
use support::gateway::{ADMIN, client_of, plan};
use support::kafka::{records_in, settings};
use support::process::UpProcess;
use support::secrecy;

const ROUTE: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;
const PATIENCE: Duration = Duration::from_secs(30);
/// The default number of guesses.
const GUESSES: usize = 5_000;

/// A gateway's address, and the credentials that requests contain.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
    bearer: Option<String>,
}

impl Client {
    /// Creates a client with an admin's Basic credentials.
    fn admin(url: &str) -> Self {
        Self { http: client_of(ADMIN), url: url.to_owned(), bearer: None }
    }

    /// Creates a client without credentials.
    fn anonymous(url: &str) -> Self {
        Self { http: reqwest::Client::new(), ..Self::admin(url) }
    }

    /// Creates a client with a service key.
    fn with_key(url: &str, key: &str) -> Self {
        Self { bearer: Some(key.to_owned()), ..Self::anonymous(url) }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = match &self.bearer {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Registers a user with the password `test1234`.
    async fn register(&self, user: &str) {
        let (status, body) = self.post("/register", &json!({"user": user, "pass": "test1234"}).to_string()).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Creates a key for a user. Returns the key's id and text.
    async fn create_key(&self, user: &str, streams: &[&str]) -> (i64, String) {
        let body = json!({"name": "checkout", "streams": streams, "user": user});
        let (status, body) = self.post("/keys", &body.to_string()).await;
        assert_eq!(status, 201, "{body}");
        (body["id"].as_i64().unwrap(), body["key"].as_str().unwrap().to_owned())
    }
}

/// Returns the contract of `route` with another topic and without roles.
fn sensor() -> Value {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/contracts/route.json");
    let mut contract: Value = serde_json::from_slice(&std::fs::read(shipped).unwrap()).unwrap();
    contract["x-sluice"]["topic"] = json!("sensors");
    contract["x-sluice"]["roles"] = json!([]);
    contract
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_posts_to_its_streams_as_its_user_and_reads_receipts() {
    let gateway = plan().contract("sensor", sensor()).start().await;
    let admin = Client::admin(&gateway.url);
    admin.register("Ann").await;
    let (_, key) = admin.create_key("ann", &["route", "continent", "user-event", "sensor"]).await;
    let ann = Client::with_key(&gateway.url, &key);
    let wait = [("content-type", "application/json"), ("prefer", "wait=20")];
    for (method, path, body) in [
        ("POST", "/events/route", ROUTE),
        ("POST", "/events/sensor", ROUTE),
        ("POST", "/continent", r#"{"name": "Europe"}"#),
        ("PUT", "/continent", r#"{"name": "Europe", "area": 10180000}"#),
        ("DELETE", "/continent", r#"{"name": "Europe"}"#),
        ("POST", "/submit/2", ""),
        ("GET", "/submit/2", ""),
    ] {
        let (status, body) = ann.send(method, path, &wait, body).await;
        assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("written")), "{method} {path} {body}");
        let href = body["receipts"][0]["href"].as_str().unwrap();
        let (status, receipt) = ann.send("GET", href, &[], "").await;
        assert_eq!((status, &receipt["status"]), (200, &json!("written")), "{href}");
        let ids = href.strip_prefix("/receipts/").unwrap();
        let (status, receipts) = ann.send("GET", &format!("/receipts?ids={ids}"), &[], "").await;
        assert_eq!((status, &receipts["items"][0]["status"]), (200, &json!("written")), "{receipts}");
    }
    for stream in ["route", "sensor"] {
        for record in records_in(&settings(), gateway.topic(stream)).await {
            let sender = record.headers.iter().find(|(name, _)| name == "sluice-user");
            assert_eq!(sender.and_then(|(_, value)| value.as_deref()), Some(&b"Ann"[..]), "{stream}");
        }
    }
    assert_eq!(gateway.database.count("select count(*) from public.routes_table").await, 2);

    for (method, path) in [("POST", "/events/city"), ("POST", "/city"), ("DELETE", "/city"), ("POST", "/events/login")]
    {
        let (status, body) = ann.send(method, path, &wait, "{}").await;
        assert_eq!((status, &body["type"]), (403, &json!("/problems/forbidden")), "{method} {path} {body}");
    }
    let (_, city) = admin.create_key("ann", &["city"]).await;
    let city = Client::with_key(&gateway.url, &city);
    assert_eq!(city.post("/submit/1", "").await.0, 403, "the key is not for user-event");
    // The contract of `sensor` lists no roles, so no user may post to the stream. A key may post only if the key names
    // the stream; `*` is not enough.
    let (_, all) = admin.create_key("ann", &["*"]).await;
    for other in [&city, &admin, &Client::with_key(&gateway.url, &all)] {
        assert_eq!(other.post("/events/sensor", ROUTE).await.0, 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admins_key_can_only_post_events_and_read_receipts() {
    let gateway = plan().without_consuming().start().await;
    let (_, key) = Client::admin(&gateway.url).create_key(ADMIN.0, &["*"]).await;
    let (with_key, anonymous) = (Client::with_key(&gateway.url, &key), Client::anonymous(&gateway.url));
    let template = Template::read(&template::own_path()).unwrap();
    let events = template.resources().filter_map(|(_, resource)| resource["Properties"]["Events"].as_mapping());
    let (mut for_keys, mut refused) = (Vec::new(), 0);
    for event in events.flat_map(|events| events.values()) {
        let (Some(method), Some(path)) = (event["Properties"]["Method"].as_str(), event["Properties"]["Path"].as_str())
        else {
            continue;
        };
        let place =
            path.replace("{stream}", "city").replace("{entity}", "city").replace("{topic}", gateway.topic("city"));
        let place = place.replace(['{', '}'], "");
        // No request changes anything: those that could are invalid because of these headers, or because their path
        // lacks a number, as in `/submit/n`.
        let headers = [("content-encoding", "none"), ("content-type", "text/plain")];
        let (status, problem) = with_key.send(method, &place, &headers, "").await;
        if status == 403 {
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with("A service key can only post events and read receipts."), "{path}: {detail}");
            assert_eq!(anonymous.send(method, &place, &headers, "").await.0, 401, "{method} {path}");
            refused += 1;
        } else if anonymous.send(method, &place, &headers, "").await.0 == 401 {
            for_keys.push(format!("{method} {path}"));
        }
    }
    for_keys.sort();
    let expected = [
        "DELETE /{entity}",
        "GET /receipts/{topic}/{partition}/{offset}",
        "GET /submit/{n}",
        "POST /events/{stream}",
        "POST /submit/{n}",
        "POST /{entity}",
        "PUT /{entity}",
    ];
    // The template has no separate route for `GET /receipts`: the route `/{entity}` matches it.
    assert_eq!(for_keys, expected);
    assert!(refused >= 15, "{refused}");
    for path in ["/cities", "/city?country=a&name=b", "/gaps"] {
        assert_eq!(with_key.send("GET", path, &[], "").await.0, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_a_users_password_do_not_slow_that_users_keys() {
    const CLIENTS: usize = 8;
    let guesses = std::env::var("SLUICE_GUESSES").map_or(GUESSES, |number| number.parse().unwrap());
    let gateway = plan().start().await;
    let admin = Client::admin(&gateway.url);
    let mut users = Vec::new();
    for user in ["attacked", "other"] {
        admin.register(user).await;
        let (_, key) = admin.create_key(user, &["route"]).await;
        users.push((Client::with_key(&gateway.url, &key), Vec::new()));
    }

    let made = AtomicUsize::new(0);
    let guess = json!({"user": "attacked", "pass": "wrong password"}).to_string();
    let guessing = join_all((0..CLIENTS).map(|_| async {
        let stranger = Client::anonymous(&gateway.url);
        while made.fetch_add(1, Ordering::Relaxed) < guesses {
            let (status, body) = stranger.post("/login", &guess).await;
            assert!([401, 403].contains(&status), "{body}");
        }
    }));
    // The two keys post in turn, so that anything else on this machine slows both of them.
    let posting = async {
        while made.load(Ordering::Relaxed) < guesses {
            for (client, times) in &mut users {
                let started = Instant::now();
                let (status, body) = client.post("/events/route", ROUTE).await;
                times.push(started.elapsed());
                assert_eq!(status, 202, "{body}");
            }
        }
    };
    futures::future::join(guessing, posting).await;

    let [attacked, other] = [0, 1].map(|index| {
        let times: &mut Vec<Duration> = &mut users[index].1;
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1_000.0
    });
    let posts = users[0].1.len();
    eprintln!(
        "{guesses} guesses; median times of {posts} posts: attacked user {attacked:.2} ms, other user {other:.2} ms"
    );
    assert!(posts >= 50, "{posts} posts are too few to compare");
    assert!(attacked < 1.1 * other, "{attacked} ms and {other} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_or_user_is_refused_at_once_by_the_deleting_process_and_within_5_s_by_another() {
    let database = TestDatabase::create().await;
    let plan = plan();
    let start = || UpProcess::start(&database.url, plan.contracts(), &[]);
    // Starts the processes one after another, because each of them applies the migrations.
    let (mut a, mut b) = (start().await, start().await);
    let admin = Client::admin(&a.url);
    admin.register("ann").await;
    let (id, revoked) = admin.create_key("ann", &["route"]).await;
    let (_, replacement) = admin.create_key("ann", &["route"]).await;
    let status = async |url: &str, key: &str| Client::with_key(url, key).post("/events/route", ROUTE).await.0;
    let ends_in_b = async |key: &str| {
        let begun = Instant::now();
        while status(&b.url, key).await != 401 {
            assert!(begun.elapsed() < PATIENCE, "the key still works");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    };
    for url in [&a.url, &b.url] {
        assert_eq!((status(url, &revoked).await, status(url, &replacement).await), (202, 202));
    }
    let (deleted, _) = admin.send("DELETE", &format!("/keys/{id}"), &[], "").await;
    assert_eq!((deleted, status(&a.url, &revoked).await), (204, 401));
    let took = ends_in_b(&revoked).await;
    eprintln!("a deleted key ended in the other process after {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(5), "{took:?}");

    // If a stranger's guesses block the user, the user's keys still work.
    let anonymous = Client::anonymous(&a.url);
    let guess = json!({"user": "ann", "pass": "wrong password"}).to_string();
    let statuses = join_all((0..20).map(|_| anonymous.post("/login", &guess))).await;
    assert_eq!(statuses.iter().filter(|(status, _)| *status == 403).count(), 15);
    for url in [&a.url, &b.url] {
        assert_eq!(status(url, &replacement).await, 202);
    }

    let (deleted, _) = admin.send("DELETE", "/users/ann", &[], "").await;
    assert_eq!((deleted, status(&a.url, &replacement).await), (204, 401));
    let took = ends_in_b(&replacement).await;
    eprintln!("a deleted user's key ended in the other process after {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(5), "{took:?}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_topic_and_no_table_and_no_log_line_contains_a_key() {
    let database = TestDatabase::create().await;
    let plan = plan();
    let mut process = UpProcess::start(&database.url, plan.contracts(), &[("RUST_LOG", "debug")]).await;
    let admin = Client::admin(&process.url);
    let (id, used) = admin.create_key(ADMIN.0, &["*"]).await;
    let (_, unused) = admin.create_key(ADMIN.0, &["*"]).await;
    let with_key = Client::with_key(&process.url, &used);
    let wait = [("content-type", "application/json"), ("prefer", "wait=20")];
    assert_eq!(with_key.send("POST", "/events/route", &wait, ROUTE).await.0, 200);
    assert_eq!(with_key.send("POST", "/events/route", &wait, "{}").await.0, 422);
    assert_eq!(with_key.send("GET", "/keys", &[], "").await.0, 403);
    let mistyped = format!("{used}0");
    assert_eq!(Client::with_key(&process.url, &mistyped).post("/events/route", ROUTE).await.0, 401);
    let (_, listed) = admin.send("GET", "/keys", &[], "").await;
    assert!(!listed.to_string().contains(&used[12..]), "{listed}");
    assert_eq!(admin.send("DELETE", &format!("/keys/{id}"), &[], "").await.0, 204);
    assert_eq!(with_key.post("/events/route", ROUTE).await.0, 401);
    process.stop().await;

    let texts = secrecy::texts(&process, plan.contracts(), &database).await;
    // The gateway shows a key's first 12 characters, so that people can recognise the key. Only the rest is a secret.
    let needles: Vec<String> = [&used[12..], &unused[12..]].into_iter().flat_map(secrecy::spellings).collect();
    eprintln!("{} texts searched for {} spellings", texts.len(), needles.len());
    let is_in = |place: &str, needle: &str| {
        texts.iter().any(|(found, text)| found == place && String::from_utf8_lossy(text).contains(needle))
    };
    assert!(is_in("sluice.keys", &unused[..12]), "the search does not find the key's first characters");
    for (place, text) in &texts {
        let text = String::from_utf8_lossy(text);
        assert!(!needles.iter().any(|needle| text.contains(needle)), "{place} contains a key");
    }
}
