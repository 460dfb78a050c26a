//! The tests' shared setup: the function with its own database, and a client.

use std::path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use axum::{Router, middleware};
use base64_simd::STANDARD;
use http_body_util::BodyExt as _;
use lambda_http::Context;
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::http::edge::serve;
use shared::http::lambda::HttpFunction;
use shared::identity::lockout::Rule;
use shared::identity::name::UserName;
use shared::identity::password::{Blocklist, Password};
use shared::identity::{
    Caller, Denied, Identity, IdentitySettings, TokenKeys, authenticated, authenticated_or_key, make_admin,
};
use shared::process::clock::Clock;
use sqlx::PgPool;
use testing::TestDatabase;
use tower::ServiceExt as _;
use users::{Registration, Users, UsersSettings};

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
pub(crate) const ADMIN: &str = "Basic YWRtaW46YWRtaW4ncyBwYXNzd29yZA==";

/// The function and its database.
pub(crate) struct TestUsers {
    pub(crate) database: TestDatabase,
    pub(crate) clock: Clock,
    routes: Router,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn settings() -> UsersSettings {
    UsersSettings { registration: Registration::Open, blocklist: Blocklist::Off }
}

impl TestUsers {
    pub(crate) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    /// Starts the function with an admin, whose credentials are [`ADMIN`].
    pub(crate) async fn start_with(settings: UsersSettings) -> Self {
        let database = TestDatabase::create().await;
        shared::database::migrate(&database.pool, None).await.unwrap();
        let name = UserName::parse("admin").unwrap();
        make_admin(&database.pool, &name, Password::given("admin's password")).await.unwrap();
        let clock = Clock::fixed(NOW_MS);
        let routes = routes(&database.pool, &clock, settings);
        Self { database, clock, routes }
    }

    /// Starts another process on the same database.
    pub(crate) fn another(&self) -> Router {
        routes(&self.database.pool, &self.clock, settings())
    }

    pub(crate) async fn send(&self, method: &str, path: &str, authorization: &str, body: &Value) -> Answer {
        send(&self.routes, method, path, authorization, body).await
    }

    /// Deletes a resource as the admin. `raw_path` is the resource's path as API Gateway has decoded it. Returns the
    /// status.
    pub(crate) async fn deleted_over_api_gateway(&self, raw_path: &str) -> u64 {
        let http = json!({"method": "DELETE", "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"});
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": raw_path, "rawQueryString": "",
            "headers": {"authorization": ADMIN}, "isBase64Encoded": false,
            "requestContext": {"http": http, "stage": "$default", "requestId": "x", "timeEpoch": 1}
        });
        let users = Users::new(
            identity(&self.database.pool, &self.clock),
            self.database.pool.clone(),
            registry(),
            self.clock.clone(),
            settings(),
        );
        let function = HttpFunction::new(users::routes(users));
        let answer = function.invoke(&event.to_string(), Context::default()).await.unwrap();
        serde_json::from_str::<Value>(answer.get()).unwrap()["statusCode"].as_u64().unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "", &body).await
    }

    pub(crate) async fn get(&self, path: &str, authorization: &str) -> Answer {
        self.send("GET", path, authorization, &Value::Null).await
    }

    pub(crate) async fn post_form(&self, path: &str, body: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.ask(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// Sends a request unchanged.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        answer(&self.routes, request).await
    }

    /// Registers a user with the password `test1234`.
    pub(crate) async fn register(&self, name: &str) {
        let answer = self.post("/register", json!({"user": name, "pass": "test1234"})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }

    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Answer {
        self.post("/login", json!({"user": name, "pass": password})).await
    }

    /// Logs in a user with the password `test1234`. Returns an `Authorization` header with the token.
    pub(crate) async fn token(&self, name: &str) -> String {
        let answer = self.log_in(name, "test1234").await;
        format!("Bearer {}", answer.body["token"].as_str().unwrap())
    }

    /// Returns the answer of the route `/who`, which names the caller.
    pub(crate) async fn who(&self, authorization: &str) -> Answer {
        self.get("/who", authorization).await
    }
}

pub(crate) fn identity(pool: &PgPool, clock: &Clock) -> Identity {
    let settings = IdentitySettings {
        token_keys: TokenKeys::parse(&"5a".repeat(32)).unwrap(),
        token_for: Duration::from_secs(3_600),
        lockout: Rule { after: 5, window_ms: 60_000, for_ms: 900_000 },
    };
    Identity::new(pool.clone(), clock.clone(), &settings, None)
}

/// Returns the built-in contracts, and `sensor`, whose contract has no roles.
fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    let load = || {
        let folder = tempfile::tempdir().unwrap();
        let shipped = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contracts");
        for file in std::fs::read_dir(&shipped).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let mut sensor: Value = serde_json::from_slice(&std::fs::read(shipped.join("route.json")).unwrap()).unwrap();
        sensor["x-sluice"]["topic"] = json!("sensors");
        sensor["x-sluice"]["roles"] = json!([]);
        std::fs::write(folder.path().join("sensor.json"), sensor.to_string()).unwrap();
        Arc::new(Registry::load(Some(folder.path())).unwrap())
    };
    Arc::clone(REGISTRY.get_or_init(load))
}

/// Returns the function's routes, a route that returns the caller's name, and a route that says whether the caller may
/// post to a stream.
fn routes(pool: &PgPool, clock: &Clock, settings: UsersSettings) -> Router {
    let identity = identity(pool, clock);
    let who = Router::new()
        .route("/who", get(async |caller: Caller| caller.name))
        .route_layer(middleware::from_fn_with_state(identity.clone(), authenticated));
    let may_post = Router::new()
        .route("/may-post/{stream}", get(may_post))
        .route_layer(middleware::from_fn_with_state(identity.clone(), authenticated_or_key))
        .with_state(registry());
    let users = Users::new(identity, pool.clone(), registry(), clock.clone(), settings);
    serve(users::routes(users).merge(who).merge(may_post))
}

async fn may_post(
    State(registry): State<Arc<Registry>>,
    caller: Caller,
    Path(stream): Path<String>,
) -> Result<String, Denied> {
    caller.may_post(registry.stream(&stream).unwrap())?;
    Ok(caller.name)
}

pub(crate) async fn send(routes: &Router, method: &str, path: &str, authorization: &str, body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    answer(routes, request.header("content-type", "application/json").body(body).unwrap()).await
}

async fn answer(routes: &Router, request: Request<Body>) -> Answer {
    let response = routes.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    Answer { status: head.status, headers: head.headers, body }
}

pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode_to_string(format!("{name}:{password}")))
}
