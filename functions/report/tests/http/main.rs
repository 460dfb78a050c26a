//! Tests the function's routes against a real PostgreSQL. Run these tests with
//! `cargo local with-servers -- cargo test`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where its setup fails")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use report::{ReportSettings, Reports};
use serde_json::{Value, json};
use shared::aws::Aws;
use shared::http::edge::serve;
use shared::identity::lockout::Rule;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Identity, IdentitySettings, TokenKeys, make_admin};
use shared::process::clock::Clock;
use testing::TestDatabase;
use tower::ServiceExt as _;

/// `admin:admin's password`
const ADMIN: &str = "Basic YWRtaW46YWRtaW4ncyBwYXNzd29yZA==";

struct TestReport {
    database: TestDatabase,
    routes: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl TestReport {
    async fn start() -> Self {
        let database = TestDatabase::create().await;
        let name = UserName::parse("admin").unwrap();
        make_admin(&database.pool, &name, Password::given("admin's password")).await.unwrap();
        let clock = Clock::fixed(1_557_258_853_563);
        let settings = IdentitySettings {
            token_keys: TokenKeys::parse(&"5a".repeat(32)).unwrap(),
            token_for: Duration::from_secs(3_600),
            lockout: Rule { after: 5, window_ms: 60_000, for_ms: 900_000 },
        };
        let identity = Identity::new(database.pool.clone(), clock.clone(), &settings, None);
        let reports =
            Reports::new(database.pool.clone(), clock, &ReportSettings { mail: None }, &Aws::default()).unwrap();
        Self { database, routes: serve(report::routes(reports, identity)) }
    }

    async fn land(&self, city: &str, country: Option<&str>, datetime: &str) {
        sqlx::query(
            "insert into public.user_events (id, city, country, datetime)
             values (gen_random_uuid(), $1, $2, $3::timestamp)",
        )
        .bind(city)
        .bind(country)
        .bind(datetime)
        .execute(&self.database.pool)
        .await
        .unwrap();
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = Request::get(path).header("authorization", ADMIN);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.routes.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }
}

#[tokio::test]
async fn a_report_is_empty_at_first_and_counts_spellings_of_a_city_as_one() {
    let function = TestReport::start().await;
    let answer = function.get("/report", &[]).await;
    assert_eq!(answer.json(), json!({"timestamp": "2019-05-07T19:54:13.563Z", "stats": {}}));

    for city in ["baltimore", "Baltimore ", "SÃO PAULO", "Sa\u{303}o\u{a0}Paulo", "McAllen", "<script>"] {
        function.land(city, None, "2019-05-07 19:54:13.563").await;
    }
    let answer = function.get("/report", &[]).await;
    assert_eq!(answer.json()["stats"], json!({"Baltimore": 2, "São Paulo": 2, "McAllen": 1, "<Script>": 1}));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn events_are_counted_by_country_or_hour_within_a_range() {
    let function = TestReport::start().await;
    function.land("Holland", Some("United States"), "2019-05-07 19:54:13.563").await;
    function.land("Holland", Some("UNITED STATES"), "2019-05-07 20:00:00").await;
    function.land("Amsterdam", None, "2019-05-08 00:00:00").await;

    let stats = async |query: &str| function.get(&format!("/report?{query}"), &[]).await.json()["stats"].clone();
    assert_eq!(stats("by=country").await, json!({"United States": 2, "": 1}));
    assert_eq!(stats("by=hour").await, json!({"2019-05-07T19:00": 1, "2019-05-07T20:00": 1, "2019-05-08T00:00": 1}));
    assert_eq!(stats("from=2019-05-07T19:54:13.563&to=2019-05-07T20:00").await, json!({"Holland": 1}));
    assert_eq!(stats("from=2019-05-07T19:54:13.564&to=2019-05-08").await, json!({"Holland": 1}));
    assert_eq!(stats("from=2019-05-08").await, json!({"Amsterdam": 1}));
    assert_eq!(stats("from=2019-05-09&to=2019-05-07").await, json!({}));
    for wrong in ["by=planet", "from=yesterday", "to=2019-13-01", "from=2019-05-07&from=2019-05-08"] {
        let answer = function.get(&format!("/report?{wrong}"), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.json()["type"].as_str()), (400, Some("/problems/malformed")));
    }
}

#[tokio::test]
async fn a_page_runs_no_script_whatever_a_city_is_called() {
    let function = TestReport::start().await;
    function.land("<script>alert('x')</script>", Some("\"><img src=x>"), "2019-05-07").await;
    for query in ["", "?by=country", "?by=hour&from=2019-05-07&to=2019-05-08"] {
        let answer = function.get(&format!("/report{query}"), &[("accept", "text/html, */*;q=0.1")]).await;
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.headers["vary"], "accept");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'none'; base-uri 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["referrer-policy"], "same-origin");
        assert!(!answer.text.contains(" style="), "{}", answer.text);
        assert!(answer.text.starts_with("<!DOCTYPE html>") && answer.text.contains("<svg"), "{}", answer.text);
        let lower = answer.text.to_lowercase();
        assert!(!lower.contains("<script") && !lower.contains("<img"), "{}", answer.text);
    }
}

#[tokio::test]
async fn unauthenticated_callers_get_no_report() {
    let function = TestReport::start().await;
    let answer = function.send(Request::get("/report").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
