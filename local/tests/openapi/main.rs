//! Checks that the routes' answers conform to `/openapi.json`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod document;
#[path = "../support/mod.rs"]
mod support;

use document::{Answer, Document, Operation};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use support::gateway::{ADMIN, TestGateway, client_of, plan};

/// A user who is not an admin.
const USER: (&str, &str) = ("Bob", "the user's password");

/// A gateway whose answers are checked against its OpenAPI document.
struct Checked {
    gateway: TestGateway,
    document: Document,
    user: reqwest::Client,
    nobody: reqwest::Client,
}

impl Checked {
    async fn start() -> Self {
        let gateway = plan().start().await;
        let document = Document::new(gateway.get("/openapi.json").await.1);
        let nobody = reqwest::Client::new();
        let registered = json!({"user": USER.0, "pass": USER.1}).to_string();
        assert_eq!(gateway.post("/register", &[], registered).await.0, 201);
        Self { user: client_of(USER), nobody, gateway, document }
    }

    /// Sends a request and checks its answer. Returns status and body.
    async fn answer(&mut self, operation: &Operation, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let header = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        let media_type = answer.headers().get(CONTENT_TYPE).map(header).unwrap_or_default();
        let body = answer.bytes().await.unwrap();
        let media_type = media_type.split(';').next().unwrap();
        self.document.check(operation, &Answer { status, media_type, body: &body });
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Calls an operation with an admin's credentials. `operation` is a text such as `GET /dead-letters/{id}`, and
    /// `path` is the real path, with its query.
    async fn call(&mut self, operation: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
        let (method, template) = operation.split_once(' ').unwrap();
        let operation = (method.to_owned(), template.to_owned());
        let request = self.gateway.http.request(method.parse().unwrap(), format!("{}{path}", self.gateway.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = if body.is_null() {
            request
        } else {
            request.header(CONTENT_TYPE, "application/json").body(body.to_string())
        };
        self.answer(&operation, request).await
    }

    async fn get(&mut self, operation: &str, path: &str) -> (u16, Value) {
        self.call(&format!("GET {operation}"), path, &[], Value::Null).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_wrong_requests_and_its_own_examples_as_declared() {
    const TOO_LARGE: usize = 6 * 1_024 * 1_024 + 1;
    let mut checked = Checked::start().await;
    for operation in checked.document.operations() {
        let (method, path) =
            (operation.0.parse::<reqwest::Method>().unwrap(), checked.document.example_path(&operation));
        let url = format!("{}{path}", checked.gateway.url);
        let body = checked.document.example_body(&operation);
        let (admin, user, nobody) = (checked.gateway.http.clone(), checked.user.clone(), checked.nobody.clone());
        let json = |request: reqwest::RequestBuilder, body: &Option<String>| match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
            None => request,
        };
        let mut requests = vec![
            json(nobody.request(method.clone(), &url), &body),
            json(user.request(method.clone(), &url), &body),
            json(admin.request(method.clone(), &url), &body),
            admin.request(method.clone(), &url).bearer_auth("not a token"),
            json(admin.request(method.clone(), format!("{url}?unknown=1")), &body),
        ];
        if method != "GET" || path.starts_with("/submit/") {
            requests.push(json(admin.request(method.clone(), &url).header("origin", "https://example.com"), &body));
        }
        if body.is_some() {
            let posted = |text: String| json(admin.request(method.clone(), &url), &Some(text));
            requests.extend([
                posted("{".to_owned()),
                posted("[]".to_owned()),
                posted("{\"unknown\": 1}".to_owned()),
                posted("x".repeat(TOO_LARGE)),
                posted("{}".to_owned()).header("content-encoding", "none"),
                posted("{}".to_owned()).header("idempotency-key", ""),
                admin.request(method.clone(), &url).header(CONTENT_TYPE, "text/plain").body("{}"),
            ]);
        }
        for request in requests {
            checked.answer(&operation, request).await;
        }
    }
    assert!(checked.document.checked > 300, "{}", checked.document.checked);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_about_events_and_receipts_and_dead_letters_are_answered_as_declared() {
    let mut checked = Checked::start().await;
    let wait = [("prefer", "wait=20")];
    let route = json!({"userID": 5, "timestamp": 1_557_258_853.563, "coordinates": [52.3676, 4.9041]});
    let (status, body) = checked.call("POST /events/route", "/events/route", &wait, route.clone()).await;
    assert_eq!(status, 200, "{body}");
    let href = body["receipts"][0]["href"].as_str().unwrap().to_owned();
    const RECEIPT: &str = "/receipts/{topic}/{partition}/{offset}";
    assert_eq!(checked.get(RECEIPT, &href).await, (200, json!({"status": "written"})));
    let ids = href.trim_start_matches("/receipts/").to_owned();
    assert_eq!(checked.get("/receipts", &format!("/receipts?ids={ids}")).await.0, 200);
    assert_eq!(checked.get("/receipts", &format!("/receipts?ids={ids},none/0/0")).await.0, 404);

    let mixed = json!([route, {"userID": "x"}]);
    let lenient = [("prefer", "handling=lenient, wait=20")];
    let (status, body) = checked.call("POST /events/route", "/events/route", &lenient, mixed).await;
    assert_eq!((status, body["errors"].as_array().map(Vec::len) > Some(0)), (200, true), "{body}");

    // A city without its country waits; an update of an absent city is rejected.
    let alvand = json!({"name": "Alvand", "country": "Iran"});
    let (status, body) = checked.call("POST /city", "/city", &[("prefer", "wait=1")], alvand.clone()).await;
    assert_eq!((status, &body["receipts"][0]["status"]), (202, &json!("waiting")), "{body}");
    let (status, body) =
        checked.call("PUT /city", "/city", &wait, json!({"name": "X", "country": "Y", "area": 1})).await;
    assert_eq!((status, &body["type"]), (422, &json!("/problems/rejected")), "{body}");
    let href = body["receipts"][0]["href"].as_str().unwrap().to_owned();

    let (_, letters) = checked.get("/dead-letters", "/dead-letters").await;
    let id = letters["items"][0]["id"].clone();
    let letter = format!("/dead-letters/{id}");
    assert_eq!(checked.get("/dead-letters/{id}", &letter).await.0, 200);
    const REPLAY: &str = "POST /dead-letters/{id}/replay";
    let (status, body) = checked.call(REPLAY, &format!("{letter}/replay"), &wait, Value::Null).await;
    assert_eq!((status, &body["type"]), (422, &json!("/problems/rejected")), "{body}");
    assert_eq!(checked.call(REPLAY, &format!("{letter}/replay"), &[], Value::Null).await.0, 409);
    let (_, status) = checked.get(RECEIPT, &href).await;
    assert_eq!(status["replayed_as"]["status"], json!("rejected"), "{status}");

    for (stream, entity) in [
        ("continent", json!({"name": "Asia", "area": 44_579_000})),
        ("country", json!({"name": "Iran", "continent": "Asia", "population": 89_000_000})),
    ] {
        let (status, body) = checked.call(&format!("POST /{stream}"), &format!("/{stream}"), &wait, entity).await;
        assert_eq!(status, 200, "{body}");
    }
    let landed = async {
        while checked.get("/city", "/city?country=Iran&name=Alvand").await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), landed).await.expect("the city that waited has landed");
    for path in ["/continents", "/countries?continent=Asia", "/cities?country=Iran"] {
        let (_, list) = checked.get(path.split('?').next().unwrap(), path).await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{path}");
    }
    let (status, body) = checked.call("DELETE /city", "/city", &wait, alvand).await;
    assert_eq!(status, 200, "{body}");
    for id in
        ["getReceipt", "listReceipts", "listDeadLetters", "getDeadLetter", "get.city", "list.cities", "delete.city"]
    {
        assert!(checked.document.succeeded.contains(id), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_about_users_and_reports_and_the_service_itself_are_answered_as_declared() {
    let mut checked = Checked::start().await;
    let ann = json!({"user": "ann", "pass": "correct horse"});
    assert_eq!(checked.call("POST /register", "/register", &[], ann.clone()).await.0, 201);
    assert_eq!(checked.call("POST /new_user", "/new_user", &[], ann.clone()).await.0, 409);
    let short = json!({"user": "an", "pass": "x", "role": "admin"});
    let (status, body) = checked.call("POST /register", "/register", &[], short).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/role")), "{body}");
    assert_eq!(checked.call("POST /login", "/login", &[], ann.clone()).await.0, 200);
    let wrong = json!({"user": "ann", "pass": "wrong horse"});
    for status in [401, 401, 401, 401, 401, 403] {
        assert_eq!(checked.call("POST /login", "/login", &[], wrong.clone()).await.0, status);
    }
    let (_, blocked) = checked.get("/blocked", "/blocked").await;
    assert_eq!(blocked, json!({"users-blocked": ["ann"]}));
    let (_, users) = checked.get("/users", "/users?limit=2").await;
    assert!(users["next"].is_string() && users["items"][1]["blocked_until"].is_string(), "{users}");
    assert_eq!(checked.call("DELETE /blocked/{user}", "/blocked/ann", &[], Value::Null).await.0, 204);
    const CHANGE: &str = "PUT /users/{user}/password";
    assert_eq!(checked.call(CHANGE, "/users/ann/password", &[], json!({"new": "battery staple"})).await.0, 204);
    let own = format!("/users/{}/password", ADMIN.0);
    let wrong = json!({"old": "wrong horse", "new": "battery staple"});
    assert_eq!(checked.call(CHANGE, &own, &[], wrong).await.0, 403);
    let admin = format!("/users/{}", ADMIN.0);
    assert_eq!(checked.call("DELETE /users/{user}", &admin, &[], Value::Null).await.0, 409);
    assert_eq!(checked.call("DELETE /users/{user}", "/users/ann", &[], Value::Null).await.0, 204);

    let key = json!({"name": "checkout", "streams": ["route"], "expires_in": 60});
    let (status, key) = checked.call("POST /keys", "/keys", &[], key).await;
    assert_eq!(status, 201, "{key}");
    let (_, keys) = checked.get("/keys", "/keys").await;
    assert_eq!(keys["items"][0]["id"], key["id"], "{keys}");
    let path = format!("/keys/{}", key["id"]);
    assert_eq!(checked.call("DELETE /keys/{id}", &path, &[], Value::Null).await.0, 204);

    let page = [("accept", "text/html")];
    let wait = [("prefer", "wait=20")];
    let (status, body) = checked.call("POST /submit/{n}", "/submit/3", &wait, Value::Null).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(checked.call("POST /submit/{n}", "/submit/0", &[], Value::Null).await.0, 422);
    for by in ["city", "country", "hour"] {
        assert_eq!(checked.get("/report", &format!("/report?by={by}")).await.0, 200);
    }
    assert_eq!(checked.call("GET /report", "/report", &page, Value::Null).await.0, 200);
    assert_eq!(checked.get("/health", "/health").await.0, 200);
    assert_eq!(checked.get("/openapi.json", "/openapi.json").await.0, 200);
    let (_, streams) = checked.get("/streams", "/streams").await;
    for stream in streams["items"].as_array().unwrap() {
        let path = format!("/streams/{}", stream["stream"].as_str().unwrap());
        assert_eq!(checked.get("/streams/{stream}", &path).await.0, 200);
    }
    for known in shared::http::problem_type::ProblemType::ALL {
        let (status, explained) = checked.get("/problems/{code}", &known.uri()).await;
        assert_eq!((status, explained["type"].as_str()), (200, Some(&*known.uri())));
        assert_eq!(checked.call("GET /problems/{code}", &known.uri(), &page, Value::Null).await.0, 200);
    }
    assert_eq!(checked.get("/problems/{code}", "/problems/none").await.0, 404);

    sqlx::query(
        r#"insert into sluice.gaps (topic, "partition", incarnation, first_offset, last_offset, cause)
           values ('routes', 2, 1, 100, 250, 'retention')"#,
    )
    .execute(&checked.gateway.database.pool)
    .await
    .unwrap();
    let (_, gaps) = checked.get("/gaps", "/gaps").await;
    assert_eq!(gaps["items"][0]["cause"], json!("retention"), "{gaps}");
    for id in ["logIn", "liftBlock", "deleteUser", "changePassword", "getReport", "getHealth", "getProblem", "listGaps"]
    {
        assert!(checked.document.succeeded.contains(id), "{id}");
    }
}
