use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

use crate::support::{Lacking, TestIngest};

/// Starts a function without a broker or a database.
async fn start() -> TestIngest {
    TestIngest::start_lacking(Lacking { broker: true, database: true, topics: true, roles: false }).await
}

#[tokio::test]
async fn a_request_keeps_the_request_id_that_its_caller_sent_or_gets_a_new_one() {
    let function = start().await;
    let given = function.send("GET", "/streams", &[("x-request-id", "abc-1")], Body::empty()).await;
    assert_eq!(given.header("x-request-id"), "abc-1");
    let (one, other) = (function.get("/streams").await, function.get("/streams").await);
    assert_eq!(one.header("x-request-id").len(), 36);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    let forged = "x".repeat(129);
    let refused = function.send("GET", "/nothing/here", &[("x-request-id", &forged)], Body::empty()).await;
    assert_eq!(refused.header("x-request-id").len(), 36);
    assert_eq!(refused.body["request_id"], refused.header("x-request-id"));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_answered_with_problems() {
    let function = start().await;
    for (method, path, status, allow) in [
        ("GET", "/", 404, ""),
        ("GET", "/events", 404, ""),
        ("GET", "/no/such/route", 404, ""),
        ("POST", "/console/", 404, ""),
        ("GET", "/console/audit/", 404, ""),
        ("GET", "/events/city", 405, "POST"),
        ("DELETE", "/health", 405, "GET,HEAD"),
        ("PUT", "/submit/1", 405, "GET, POST"),
    ] {
        let answer = function.send(method, path, &[], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
        assert_eq!(answer.body["status"], status);
    }
    assert_eq!(function.send("POST", "/events/%ff", &[], "{}").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_page_of_a_problem_runs_no_script_and_loads_nothing() {
    let function = start().await;
    for code in ["malformed", "blocked"] {
        let answer = function.fetch("GET", &format!("/problems/{code}"), &[("accept", "text/html")], "").await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'none'; base-uri 'none'") && !policy.contains("unsafe"), "{policy}");
        let headers = ["x-content-type-options", "referrer-policy", "vary"].map(|name| answer.header(name));
        assert_eq!(headers, ["nosniff", "same-origin", "accept"]);
    }
}

#[tokio::test]
async fn without_roles_only_service_keys_may_post_and_the_documents_say_so() {
    let lacking = Lacking { broker: true, database: true, topics: true, roles: true };
    let function = TestIngest::start_lacking(lacking).await;
    let keys = "Only service keys may post to this stream: its contract has no roles.";
    for (method, path, detail) in [
        ("POST", "/events/route", keys),
        ("POST", "/events/city", keys),
        ("PUT", "/city", keys),
        ("DELETE", "/country?name=a", keys),
        ("POST", "/submit/5", keys),
        ("POST", "/events/login", "Only Sluice itself writes to this stream."),
    ] {
        let answer = function.send(method, path, &[], "{}").await;
        assert_eq!((answer.status.as_u16(), &answer.body["detail"]), (403, &json!(detail)), "{method} {path}");
    }
    assert_eq!(function.get("/streams/route").await.body["roles"], json!([]));
    let paths = &function.get("/openapi.json").await.body["paths"];
    for (path, method) in [("/events/route", "post"), ("/city", "post"), ("/city", "put"), ("/city", "delete")] {
        assert_eq!(paths[path][method]["security"], json!([{"serviceKey": []}]), "{method} {path}");
    }
    assert_eq!(paths["/events/login"], json!(null));

    let with_roles = start().await;
    let security = &with_roles.get("/openapi.json").await.body["paths"]["/events/route"]["post"]["security"];
    assert_eq!(*security, json!([{"basic": []}, {"bearer": []}, {"serviceKey": []}]));
    assert_eq!(with_roles.get("/streams/route").await.body["roles"], json!(["user"]));
    assert_eq!(with_roles.get("/streams/changes").await.body["roles"], json!(["admin"]));
    assert_eq!(with_roles.get("/streams/login").await.body["roles"], json!([]));
}

#[tokio::test]
async fn requests_from_another_site_change_nothing() {
    let function = start().await;
    let status = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = function.send(method, path, headers, Body::empty()).await;
        (answer.status.as_u16(), answer.body["type"].as_str().unwrap_or_default().to_owned())
    };
    let refused = (403, "/problems/cross-site".to_owned());
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "https://evil.example")]] {
        for (method, path) in [
            ("POST", "/events/route"),
            ("POST", "/city"),
            ("DELETE", "/city?country=a&name=b"),
            ("GET", "/submit/1"),
            ("POST", "/submit/1"),
        ] {
            assert_eq!(status(method, path, &headers).await, refused, "{method} {path}");
        }
        assert_eq!(status("GET", "/streams", &headers).await.0, 200);
    }
    assert_ne!(status("POST", "/events/route", &[("sec-fetch-site", "same-origin")]).await, refused);
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_support_is_refused() {
    let function = start().await;
    for (method, path) in [
        ("GET", "/streams?limits=2"),
        ("GET", "/streams?limit=1001"),
        ("GET", "/streams/city?after=1"),
        ("GET", "/gaps?cause=1"),
        ("GET", "/cities?name=x"),
        ("GET", "/city?nam=x"),
        ("POST", "/events/route?dry_run=true"),
        ("POST", "/city?name=x"),
        ("PUT", "/city?name=x"),
        ("POST", "/submit/1?n=2"),
    ] {
        let answer = function.send(method, path, &[], "{}").await;
        let expected = (StatusCode::BAD_REQUEST, &json!("/problems/malformed"));
        assert_eq!((answer.status, &answer.body["type"]), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn streams_are_listed_with_their_contracts() {
    let function = start().await;
    let list = function.get("/streams").await.body;
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["stream"].as_str().unwrap()).collect();
    assert_eq!(names, ["changes", "city", "continent", "country", "login", "route", "user-event"]);
    assert_eq!(list["next"], json!(null));
    let page = function.get("/streams?after=city&limit=2").await.body;
    assert_eq!((&page["items"][1]["stream"], &page["next"]), (&json!("country"), &json!("country")));

    let city = function.get("/streams/city").await.body;
    assert_eq!((&city["mode"], &city["table"]), (&json!("entity"), &json!("public.cities")));
    assert_eq!(city["contract"]["x-sluice"]["parent"]["stream"], "country");
    assert_eq!(city, list["items"][1]);
    assert_eq!(function.get("/streams/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_answer_about_an_unknown_stream_suggests_the_stream_that_was_probably_meant() {
    let function = start().await;
    let detail = async |method: &str, path: &str| {
        let answer = function.send(method, path, &[], "{}").await;
        assert_eq!((answer.status, &answer.body["type"]), (StatusCode::NOT_FOUND, &json!("/problems/not-found")));
        answer.body["detail"].as_str().unwrap().to_owned()
    };
    let expected = r#"There is no stream "routes". Did you mean "route"?"#;
    assert_eq!(detail("POST", "/events/routes").await, expected);
    assert_eq!(detail("GET", "/streams/routes").await, expected);
    let topic = function.topic("user-events");
    for (name, meant) in [(&topic[..], "user-event"), ("public.cities", "city"), ("contry", "country")] {
        let expected = format!("There is no stream {name:?}. Did you mean {meant:?}?");
        assert_eq!(detail("POST", &format!("/events/{name}")).await, expected);
    }
    let unlike = r#"There is no stream "nothing". `GET /streams` lists the streams."#;
    assert_eq!(detail("GET", "/streams/nothing").await, unlike);
    // No caller may post to the stream `login`, so only `GET` suggests it.
    assert_eq!(detail("GET", "/streams/logins").await, r#"There is no stream "logins". Did you mean "login"?"#);
    assert_eq!(
        detail("POST", "/events/logins").await,
        r#"There is no stream "logins". `GET /streams` lists the streams."#
    );
}
