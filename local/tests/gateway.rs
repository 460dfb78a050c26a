//! The whole path in one process: an event posted over HTTP is in PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground gives way")]

mod support;

use std::collections::BTreeSet;

use local::template::{self, Template};
use serde_json::{Value, json};
use support::gateway::plan;
use support::kafka::{committed, settings};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_posted_with_wait_is_in_the_table_when_the_answer_comes_and_its_receipt_says_so() {
    let mut gateway = plan().start().await;

    let event = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;
    let (status, body) = gateway.post("/events/route", &[("prefer", "wait=20")], event).await;

    assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("written")), "{body}");
    let row: (i64, f64, f64) = sqlx::query_as("select user_id, latitude, longitude from public.routes_table")
        .fetch_one(&gateway.database.pool)
        .await
        .unwrap();
    assert_eq!(row, (5, 52.3676, 4.9041));
    let (status, receipt) = gateway.get(body["receipts"][0]["href"].as_str().unwrap()).await;
    assert_eq!((status, &receipt["status"]), (200, &json!("written")));

    gateway.stop_consuming().await;
    let contract = gateway.registry.stream("route").unwrap();
    let group = gateway.group("route");
    let next_offsets = committed(&settings(), &group, &contract.topic, contract.partitions).await;
    assert_eq!(next_offsets.into_iter().flatten().sum::<i64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_functions_have_counted_is_open_to_prometheus() {
    let gateway = plan().start().await;
    let event = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;
    gateway.post("/events/route", &[("prefer", "wait=20")], event).await;
    let answer = reqwest::get(format!("{}/metrics", gateway.url)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let told = answer.text().await.unwrap();
    for line in [
        r#"sluice_accepted_total{stream="route"} 1"#,
        r#"sluice_written_total{stream="route"} 1"#,
        r#"sluice_lag_ms_count{stream="route"} 1"#,
    ] {
        assert!(told.lines().any(|have| have == line), "{line} is not in\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invoke_api_answers_as_lambda_does() {
    let gateway = plan().without_consuming().start().await;
    let path = "/2015-03-31/functions/consume/invocations";

    let (status, body) = gateway.post("/2015-03-31/functions/none/invocations", &[], "{}").await;
    assert_eq!((status, &body["Type"]), (404, &json!("User")));

    let (status, body) = gateway.post(path, &[], "{}").await;
    assert_eq!((status, &body["errorType"]), (200, &json!("Sluice.NotABatch")), "{body}");

    let topic = gateway.topic("continent");
    let value = base64_simd::STANDARD.encode_to_string(br#"{"name":"Europe"}"#);
    let event = json!({
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": "b:9092",
        "records": { format!("{topic}-0"): [
            { "topic": topic, "partition": 0, "offset": 0, "timestamp": 1, "timestampType": "CREATE_TIME",
              "value": value, "headers": [] },
        ] },
    });
    let (status, body) = gateway.post(path, &[], event.to_string()).await;
    assert_eq!((status, &body["written"]), (200, &json!(1)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_invokes_a_function() {
    let gateway = plan().without_consuming().start().await;
    let port = gateway.url.rsplit_once(':').unwrap().1.to_owned();
    let invoke = async |headers: &[(&str, &str)]| {
        let request = reqwest::Client::new().post(format!("{}/2015-03-31/functions/consume/invocations", gateway.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        // What a page may send to another origin without asking first.
        let answer = request.header("content-type", "text/plain").body("{}").send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for headers in [
        [("origin", "https://example.com")],
        [("origin", "null")],
        [("origin", &gateway.url)],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "none")],
        [("host", "example.com")],
        [("host", "localhost.example.com")],
        [("host", "127.0.0.1.example.com:9000")],
        [("host", "127.0.0.1@example.com")],
        [("host", "")],
    ] {
        let (status, body) = invoke(&headers).await;
        assert_eq!((status, &body["Type"]), (403, &json!("User")), "{headers:?} {body}");
    }
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let (status, body) = invoke(&[("host", &host)]).await;
            assert_eq!((status, &body["errorType"]), (200, &json!("Sluice.NotABatch")), "{host} {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_the_document_and_the_router_have_the_same_routes() {
    let gateway = plan().without_consuming().start().await;
    let template = Template::read(&template::own_path()).unwrap();
    let events = template.resources().filter_map(|(_, resource)| resource["Properties"]["Events"].as_mapping());
    let in_template: BTreeSet<(String, String)> = events
        .flat_map(|events| events.values())
        .filter_map(|event| {
            let properties = &event["Properties"];
            let method = properties["Method"].as_str()?.to_ascii_lowercase();
            Some((method, properties["Path"].as_str()?.to_owned()))
        })
        .collect();

    let (_, document) = gateway.get("/openapi.json").await;
    let in_document: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone())))
        .map(|(method, path)| {
            let is_known = in_template.contains(&(method.clone(), path.clone()));
            let path = match path.strip_prefix("/events/") {
                Some(_) => "/events/{stream}".to_owned(),
                None if is_known => path,
                None => "/{entity}".to_owned(),
            };
            (method, path)
        })
        .collect();
    assert_eq!(in_document, in_template);

    for (method, path) in in_template {
        let path = path.replace("{stream}", "city").replace("{entity}", "city");
        let path = path.replace("{topic}", gateway.topic("city")).replace(['{', '}'], "");
        let request = gateway.http.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", gateway.url));
        // Refused before it does anything.
        let answer =
            request.header("content-encoding", "none").header("content-type", "text/plain").send().await.unwrap();
        let status = answer.status();
        let problem: Value = answer.json().await.unwrap_or_default();
        let is_routed = problem["detail"] != "There is no such route." && status != 405;
        assert!(is_routed, "{method} {path}: {status} {problem}");
    }
}
