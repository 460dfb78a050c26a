//! Sends API Gateway's events to `ingest`, `users` and `console`.

use serde_json::{Value, json};

use super::function::{IngestLambda, LambdaFunction, TIMEOUT, environment, position, request};
use super::support::database::TestDatabase;
use super::support::gateway::{ADMIN, plan};
use super::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn each_request_from_api_gateway_is_answered_and_counted_and_logged_in_one_line() {
    let (database, kafka) = (TestDatabase::create().await, kafka::settings());
    let ingest = IngestLambda::start((&database.pool, &database.url), &kafka, TIMEOUT).await;
    let function = &ingest.function;

    for (number, stage) in (1..).zip(["$default", "prod"]) {
        let answer = function.invoke(&request(stage, "/events/route", &[], &position(number))).await.unwrap();
        assert_eq!(answer["statusCode"], 202, "{answer}");
        assert_eq!(answer["headers"]["content-type"], "application/json", "{answer}");
        // `request` takes this request id from AWS's example event (`events/http_api.json`).
        assert_eq!(answer["headers"]["x-request-id"], "JKJaXmPLvHcESHA=", "{answer}");
    }
    let (status, body) = function.post("/events/route", &[], r#"[{"userID":"a secret"},{"userID":2}]"#).await;
    assert_eq!((status, &body["status"]), (422, &json!(422)));
    let (status, _) = function.post("/none/of/these", &[], "{}").await;
    assert_eq!(status, 404);

    let statuses: Vec<_> = function.said("answered").iter().map(|line| line["status"].clone()).collect();
    assert_eq!(statuses, [202, 202, 422, 404]);
    assert_eq!(function.lines().len(), 4 + function.metrics().len(), "a line for each of four requests, and metrics");
    let counted = |what: &str, n: u64| json!({"function": "ingest", "stream": "route", what: n});
    assert_eq!(function.metrics(), [counted("accepted", 1), counted("accepted", 1), counted("invalid", 2)]);
    let log = function.lambda.sandboxes()[0].log();
    for secret in ["52.3676", "a secret", ADMIN.1, "authorization"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    assert_eq!(ingest.users(&kafka).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_registers_and_logs_in_over_api_gateway() {
    let (database, plan) = (TestDatabase::create().await, plan());
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let function = LambdaFunction::start("users", environment, TIMEOUT).await;
    let ann = r#"{"user":"ann","pass":"correct horse"}"#;
    assert_eq!(function.post("/register", &[], ann).await.0, 201);
    let (status, body) = function.post("/login", &[], ann).await;
    assert_eq!((status, &body["success"]), (200, &json!(true)), "{body}");
    assert_eq!(function.said("answered").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn console_and_ingest_both_redirect_to_the_path_of_the_console_without_a_final_slash() {
    let (database, plan) = (TestDatabase::create().await, plan());
    let environment = environment(&database.url, &kafka::settings(), plan.contracts());
    let mut event = request("$default", "/console/", &[], "");
    event["requestContext"]["http"]["method"] = json!("GET");
    event["rawQueryString"] = json!("minutes=5");
    // `console` has the route `/console/{proxy+}`, and `ingest` has the route for all other paths. API Gateway may pass
    // this path to either function.
    for name in ["console", "ingest"] {
        let function = LambdaFunction::start(name, environment.clone(), TIMEOUT).await;
        let answer: Value = function.invoke(&event).await.unwrap();
        let location = &answer["headers"]["location"];
        assert_eq!((&answer["statusCode"], location), (&json!(308), &json!("/console?minutes=5")), "{name}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_path_is_decoded_only_once() {
    let (database, kafka) = (TestDatabase::create().await, kafka::settings());
    let ingest = IngestLambda::start((&database.pool, &database.url), &kafka, TIMEOUT).await;
    for stage in ["$default", "prod"] {
        for (path, status) in [
            ("/events/route%23x", 404),
            ("/events/route%3Fvalidate_only=true", 404),
            ("/events/rout%2565", 404),
            ("/events/user-event%2F..%2Froute", 400),
            ("/events/route%2Fx", 404),
            ("/events/%72oute", 202),
        ] {
            let event = request(stage, path, &[], &position(1));
            let answer = ingest.function.invoke(&event).await.unwrap();
            assert_eq!(answer["statusCode"], status, "{stage} {path}: {answer}");
        }
    }
    assert_eq!(ingest.users(&kafka).await, [1, 1]);
}
