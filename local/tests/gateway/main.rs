//! Tests the whole path in one process, from an event posted over HTTP to its row in PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod costs;
#[path = "../support/mod.rs"]
mod support;
mod translated;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use local::template::{self, Template};
use serde_json::{Value, json};
use support::database::TestDatabase;
use support::gateway::{TestGateway, plan};
use support::kafka::{committed, settings};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_posted_with_wait_is_in_the_table_when_the_answer_arrives_and_its_receipt_says_so() {
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
async fn prometheus_needs_no_credentials_to_read_the_metrics_of_all_functions() {
    let gateway = plan().start().await;
    let event = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;
    gateway.post("/events/route", &[("prefer", "wait=20")], event).await;
    let answer = reqwest::get(format!("{}/metrics", gateway.url)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    for line in [
        r#"sluice_accepted_total{stream="route"} 1"#,
        r#"sluice_written_total{stream="route"} 1"#,
        r#"sluice_lag_ms_count{stream="route"} 1"#,
    ] {
        assert!(text.lines().any(|actual| actual == line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_decoded_exactly_once_as_in_api_gateway() {
    let gateway = plan().without_consuming().start().await;
    for (path, status) in [
        ("/events/route%23x", 404),
        ("/events/route%3Fx", 404),
        ("/events/rout%2565", 404),
        ("/events/user-event%2F..%2Froute", 400),
        ("/events%2F%72oute", 202),
    ] {
        let (answered, body) = gateway.post(path, &[], ROUTE).await;
        assert_eq!(answered, status, "{path}: {body}");
    }
    assert_eq!(gateway.get("/streams/%ff").await.0, 400);
}

/// Returns the value of a metric's sample in `/metrics`.
async fn metric(gateway: &TestGateway, sample: &str) -> Option<f64> {
    let text = reqwest::get(format!("{}/metrics", gateway.url)).await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == sample))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Waits until a condition holds.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), holds).await.expect(what);
}

/// Returns the contract of `route` with one more column than its table has.
fn route_with_altitude() -> Value {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/contracts/route.json");
    let mut contract: Value = serde_json::from_slice(&std::fs::read(shipped).unwrap()).unwrap();
    contract["properties"]["altitude"] = json!({"type": ["number", "null"]});
    contract["x-sluice"]["columns"]["altitude"] = json!({"from": "/altitude", "type": "double precision"});
    contract
}

const ROUTE: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_table_lacks_a_column_is_reported_everywhere_and_stops_no_other_stream() {
    let gateway = plan().contract("route", route_with_altitude()).start().await;
    let topic = gateway.topic("route").to_owned();
    let (status, body) = gateway.post("/events/route", &[], ROUTE).await;
    assert_eq!(status, 202, "{body}");
    let (href, partition) = (body["receipts"][0]["href"].as_str().unwrap(), &body["receipts"][0]["partition"]);

    let is_stalled = async || gateway.get("/health").await.1["stalled"] != json!([]);
    until("/health lists the partition", is_stalled).await;
    let (status, health) = gateway.get("/health").await;
    let reason =
        "Stream route: table public.routes_table, column altitude: expected double precision, found no such column.";
    let mut stall = health["stalled"][0].clone();
    let since: jiff::Timestamp = serde_json::from_value(stall["since"].take()).unwrap();
    assert!(since.duration_until(jiff::Timestamp::now()).unsigned_abs() < Duration::from_secs(60), "{since}");
    let expected =
        json!({"topic": topic, "partition": partition, "destination": "postgresql", "reason": reason, "since": null});
    assert_eq!((status, stall), (200, expected), "{health}");

    let pending = json!({"status": "pending", "stalled": reason});
    assert_eq!(gateway.get(href).await, (200, pending.clone()));
    let (status, body) = gateway.post("/events/route", &[("prefer", "wait=1")], ROUTE).await;
    let [receipt_status, stalled] = ["status", "stalled"].map(|member| body["receipts"][0][member].clone());
    assert_eq!((status, json!({"status": receipt_status, "stalled": stalled})), (202, pending), "{body}");

    let event = r#"{"name":"Europe"}"#;
    let (status, body) = gateway.post("/events/continent", &[("prefer", "wait=20")], event).await;
    assert_eq!(status, 200, "another stream lands: {body}");

    let labels = format!(r#"{{stream="route",topic="{topic}"}}"#);
    let [lag_events, lag_seconds, since_success, stalled_partitions] =
        ["lag_events", "lag_seconds", "since_last_success_seconds", "stalled_partitions"]
            .map(|name| format!("sluice_{name}{labels}"));
    assert_eq!(metric(&gateway, &lag_events).await, Some(2.0));
    assert_eq!(metric(&gateway, &stalled_partitions).await, Some(1.0));
    assert!(metric(&gateway, r#"sluice_failed_batches_total{error_type="Sluice.Stop"}"#).await >= Some(1.0));
    let age = metric(&gateway, &lag_seconds).await.unwrap();
    assert!((1.0..60.0).contains(&age), "the oldest record arrived within the last minute: {age}");
    let age = metric(&gateway, &since_success).await.unwrap();
    assert!((1.0..60.0).contains(&age), "records have waited for less than a minute: {age}");
    assert_eq!(metric(&gateway, "sluice_broker_up").await, Some(1.0));

    sqlx::query("alter table public.routes_table add column altitude double precision")
        .execute(&gateway.database.pool)
        .await
        .unwrap();
    until("/health lists nothing", async || gateway.get("/health").await.1["stalled"] == json!([])).await;
    assert_eq!(gateway.get(href).await, (200, json!({"status": "written"})));
    for sample in [lag_events, lag_seconds, since_success, stalled_partitions] {
        until(&sample, async || metric(&gateway, &sample).await == Some(0.0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_contain_open_dead_letters_and_request_durations() {
    let gateway = plan().start().await;
    let update = r#"{"op":"update","name":"Atlantis","area":1}"#;
    let (status, body) = gateway.post("/events/continent", &[("prefer", "wait=20")], update).await;
    assert_eq!(status, 422, "{body}");
    let labels = format!(r#"{{stream="continent",topic="{}"}}"#, gateway.topic("continent"));
    assert_eq!(metric(&gateway, &format!("sluice_open_dead_letters{labels}")).await, Some(1.0));
    let group = r#"{function="ingest",route="/events/{stream}",status="4xx"}"#;
    assert_eq!(metric(&gateway, &format!("sluice_http_request_duration_seconds_count{group}")).await, Some(1.0));
    for (_, contract) in gateway.registry.contracts().map(|contract| (&contract.stream, contract)) {
        let labels = format!(r#"{{stream="{}",topic="{}"}}"#, contract.stream, contract.topic);
        assert_eq!(metric(&gateway, &format!("sluice_lag_events{labels}")).await, Some(0.0), "{labels}");
    }
}

#[tokio::test]
async fn migrate_prints_each_difference_and_exits_with_status_1() {
    let database = TestDatabase::create().await;
    let contracts = tempfile::tempdir().unwrap();
    let migrate = async || {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_local"))
            .arg("migrate")
            .env("DATABASE_URL", &database.url)
            .env("CONTRACTS_DIR", contracts.path())
            .output()
            .await
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    std::fs::write(contracts.path().join("route.json"), route_with_altitude().to_string()).unwrap();
    let (code, printed) = migrate().await;
    let line = "stream route: table public.routes_table, column altitude: expected double precision, found no such column; \
         no event of the stream can land until both agree";
    assert_eq!((code, printed.lines().last()), (Some(1), Some(line)), "{printed}");

    std::fs::create_dir(contracts.path().join("migrations")).unwrap();
    let migration = "alter table public.routes_table add column altitude double precision";
    std::fs::write(contracts.path().join("migrations/1000_altitude.sql"), migration).unwrap();
    assert_eq!(
        migrate().await,
        (Some(0), "migration 1000 altitude applied\nevery contract agrees with its tables\n".to_owned())
    );
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
async fn web_pages_cannot_invoke_functions() {
    let gateway = plan().without_consuming().start().await;
    let port = gateway.url.rsplit_once(':').unwrap().1.to_owned();
    let invoke = async |headers: &[(&str, &str)]| {
        let request = reqwest::Client::new().post(format!("{}/2015-03-31/functions/consume/invocations", gateway.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        // A web page may send a `text/plain` request to another origin without a preflight request.
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
async fn the_template_and_the_openapi_document_and_the_router_have_the_same_routes() {
    let gateway = plan().without_consuming().start().await;
    let template = Template::read(&template::own_path()).unwrap();
    let events = template.resources().filter_map(|(_, resource)| resource["Properties"]["Events"].as_mapping());
    let in_template: BTreeSet<(String, String)> = events
        .flat_map(|events| events.values())
        .filter_map(|event| {
            let properties = &event["Properties"];
            let method = properties["Method"].as_str()?.to_ascii_lowercase();
            let path = properties["Path"].as_str()?;
            // OpenAPI has no variable for the rest of a path.
            let path = match (method.as_str(), path) {
                ("put", "/users/{user+}") => "/users/{user}/password".to_owned(),
                (_, path) if path.ends_with("{user+}") => path.replace("{user+}", "{user}"),
                (_, path) => path.to_owned(),
            };
            Some((method, path))
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
    // The console's pages are for people, so the OpenAPI document leaves them out.
    let (pages, routes): (BTreeSet<_>, BTreeSet<_>) =
        in_template.into_iter().partition(|(_, path)| path == "/console" || path.starts_with("/console/"));
    assert_eq!(in_document, routes);
    let page = |method: &str, path: &str| (method.to_owned(), path.to_owned());
    let expected = [page("get", "/console"), page("get", "/console/{proxy+}"), page("post", "/console/{proxy+}")];
    assert_eq!(pages, expected.into());

    for (method, path) in routes.into_iter().chain(pages) {
        let path = path.replace("{stream}", "city").replace("{entity}", "city");
        let path = path.replace("{topic}", gateway.topic("city")).replace(['{', '}'], "");
        let request = gateway.http.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", gateway.url));
        // No request has an effect: those that could are rejected because of these headers, or their paths name nothing
        // that exists.
        let answer =
            request.header("content-encoding", "none").header("content-type", "text/plain").send().await.unwrap();
        let status = answer.status();
        let problem: Value = answer.json().await.unwrap_or_default();
        let is_routed =
            problem["detail"] != "This route does not exist. `/openapi.json` lists the routes." && status != 405;
        assert!(is_routed, "{method} {path}: {status} {problem}");
    }
}
