//! Tests the answers to recorded requests. A receiver takes the place of CloudFormation's address.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic if its setup fails")]

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use shared::database::DatabaseError;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::delivery::DeliveryError;
use crate::request::Request;

const CREATE: &str = include_str!("../../events/create.json");
const DELETE: &str = include_str!("../../events/delete.json");
const AN_HOUR: Duration = Duration::from_secs(3_600);

/// The requests that a receiver got: method, path with query, content type, and body.
type Received = Arc<Mutex<Vec<(Method, String, Option<String>, Value)>>>;

struct Receiver {
    url: String,
    received: Received,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Receiver {
    /// Starts a receiver that answers with these statuses, and repeats the last one.
    async fn answering(statuses: &'static [StatusCode]) -> Self {
        let received = Received::default();
        let seen = Arc::clone(&received);
        let receive = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let content_type = headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
            let mut seen = seen.lock().unwrap();
            seen.push((method, uri.to_string(), content_type, serde_json::from_slice(&body).unwrap()));
            statuses[(seen.len() - 1).min(statuses.len() - 1)]
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive);
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        Self { url, received, _serving: serving }
    }

    /// Answers a recorded request. The answer goes to this receiver instead of the request's own address.
    async fn answer(
        &self,
        event: &str,
        change: impl FnOnce(&mut Value),
        work: impl Future<Output = Result<Value, MigrateError>>,
    ) -> Result<Value, MigrateError> {
        let mut event: Value = serde_json::from_str(event).unwrap();
        event["ResponseURL"] = json!(format!("{}{PATH}", self.url));
        change(&mut event);
        let Ok(Request::CloudFormation(request)) = Request::read(&event.to_string()) else { panic!("{event}") };
        answer(&request, AN_HOUR, work).await
    }

    fn received(&self) -> Vec<(Method, String, Option<String>, Value)> {
        self.received.lock().unwrap().clone()
    }

    /// Returns the only answer's status and reason.
    fn verdict(&self) -> (String, String) {
        let received = self.received();
        let [(_, _, _, body)] = &received[..] else { panic!("{received:?}") };
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("Status"), text("Reason"))
    }
}

const PATH: &str = "/stack%7CMigration?X-Amz-Signature=a%2Fb";

fn unchanged(_event: &mut Value) {}

async fn work() -> Result<Value, MigrateError> {
    Ok(json!("work"))
}

async fn never() -> Result<Value, MigrateError> {
    panic!("this request needs no work")
}

#[tokio::test]
async fn an_answer_goes_to_the_signed_address_as_a_put_request_with_an_empty_content_type() {
    let receiver = Receiver::answering(&[StatusCode::OK]).await;
    let done = receiver.answer(CREATE, unchanged, work()).await.unwrap();
    assert_eq!(done, json!({"status": "SUCCESS", "reason": "", "done": "work"}));
    let asked: Value = serde_json::from_str(CREATE).unwrap();
    let body = json!({
        "Status": "SUCCESS", "Reason": "", "PhysicalResourceId": "sluice-migrate",
        "StackId": asked["StackId"], "RequestId": asked["RequestId"], "LogicalResourceId": "Migration",
        "Data": {"Settings": "635703b6a0629f26"},
    });
    assert_eq!(receiver.received(), [(Method::PUT, PATH.to_owned(), Some(String::new()), body)]);
}

#[tokio::test]
async fn the_fingerprint_changes_only_with_the_settings() {
    let fingerprint = async |change: fn(&mut Value)| {
        let receiver = Receiver::answering(&[StatusCode::OK]).await;
        receiver.answer(CREATE, change, work()).await.unwrap();
        receiver.received()[0].3["Data"]["Settings"].clone()
    };
    let first = fingerprint(unchanged).await;
    let other_order = |event: &mut Value| {
        let settings = &mut event["ResourceProperties"]["Settings"];
        let url = settings.as_object_mut().unwrap().remove("DatabaseUrl").unwrap();
        settings["DatabaseUrl"] = url;
    };
    assert_eq!(fingerprint(other_order).await, first);
    assert_eq!(fingerprint(|event| event["ResourceProperties"]["Version"] = json!("2")).await, first);
    assert_eq!(fingerprint(|event| event["ResourceProperties"]["MigrateOnDeploy"] = json!("no")).await, first);
    assert_ne!(fingerprint(|event| event["ResourceProperties"]["Settings"]["LogLevel"] = json!("debug")).await, first);
}

#[tokio::test]
async fn no_work_is_done_if_the_resource_is_deleted_or_the_deployment_does_not_migrate() {
    let receiver = Receiver::answering(&[StatusCode::OK]).await;
    receiver.answer(DELETE, unchanged, never()).await.unwrap();
    assert_eq!(receiver.verdict(), ("SUCCESS".to_owned(), String::new()));
    let receiver = Receiver::answering(&[StatusCode::OK]).await;
    let no = |event: &mut Value| event["ResourceProperties"]["MigrateOnDeploy"] = json!("no");
    receiver.answer(CREATE, no, never()).await.unwrap();
    assert_eq!(receiver.verdict(), ("SUCCESS".to_owned(), String::new()));
}

#[tokio::test]
async fn a_failure_is_answered_with_one_short_line() {
    let source = sqlx::migrate::MigrateError::Source(format!("first\n  second {}", "x".repeat(5_000)).into());
    let failure = async { Err(DatabaseError::Migration { folder: None, source }.into()) };
    let receiver = Receiver::answering(&[StatusCode::OK]).await;
    let done = receiver.answer(CREATE, unchanged, failure).await.unwrap();
    assert_eq!(done["status"], "FAILED");
    let (status, reason) = receiver.verdict();
    assert_eq!(status, "FAILED");
    assert!(reason.starts_with("migrations: ") && reason.contains("first second xxx"), "{reason}");
    assert_eq!((reason.lines().count(), reason.chars().count()), (1, 500));
}

#[tokio::test]
async fn a_panic_is_answered_as_a_failure() {
    let receiver = Receiver::answering(&[StatusCode::OK]).await;
    let panics = async { panic!("a test's own panic, with a password") };
    receiver.answer(CREATE, unchanged, panics).await.unwrap();
    let said = "the function panicked; its log has the details".to_owned();
    assert_eq!(receiver.verdict(), ("FAILED".to_owned(), said));
}

#[tokio::test]
async fn work_that_takes_too_long_is_answered_as_a_failure_before_cloudformation_gives_up() {
    let Ok(Request::CloudFormation(request)) = Request::read(CREATE) else { panic!("{CREATE}") };
    let decided = decide(&request, Duration::from_millis(10), std::future::pending()).await;
    let said = decided.unwrap_err().to_string();
    assert!(said.starts_with("not finished after 0 s: deploy with MigrateOnDeploy=no"), "{said}");
    let event: Value = serde_json::from_str(CREATE).unwrap();
    let timeout = event["ResourceProperties"]["ServiceTimeout"].as_str().unwrap().parse().unwrap();
    assert!(LONGEST + Duration::from_secs(45) < Duration::from_secs(timeout));
}

#[tokio::test]
async fn an_unknown_request_type_or_property_value_is_answered_as_a_failure() {
    for (change, named) in [
        ((|event| event["RequestType"] = json!("Upsert")) as fn(&mut Value), "RequestType must be"),
        (
            |event| event["ResourceProperties"]["MigrateOnDeploy"] = json!("maybe"),
            "the property MigrateOnDeploy must be",
        ),
    ] {
        let receiver = Receiver::answering(&[StatusCode::OK]).await;
        receiver.answer(CREATE, change, never()).await.unwrap();
        let (status, reason) = receiver.verdict();
        assert_eq!(status, "FAILED");
        assert!(reason.starts_with(named), "{reason}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_arrive_is_sent_again_but_a_refused_answer_is_not() {
    let receiver = Receiver::answering(&[StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK]).await;
    receiver.answer(CREATE, unchanged, work()).await.unwrap();
    assert_eq!(receiver.received().len(), 2);

    let receiver = Receiver::answering(&[StatusCode::FORBIDDEN]).await;
    let error = receiver.answer(CREATE, unchanged, work()).await.unwrap_err();
    assert!(matches!(error, MigrateError::Delivery(DeliveryError::Refused(StatusCode::FORBIDDEN))), "{error}");
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn the_error_about_an_unreachable_or_non_https_address_does_not_show_the_address() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    for (url, expected) in [
        (format!("http://{unused}/?secret"), "the answer did not reach CloudFormation's address: "),
        ("http://s3.example.org/?secret".to_owned(), "ResponseURL must be an https URL"),
        ("secret".to_owned(), "ResponseURL must be an https URL"),
    ] {
        let error = deliver(&url, String::new()).await.unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains("secret"), "{error}");
    }
}
