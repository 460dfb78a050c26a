//! Tests reports of events that arrived over HTTP, and the hourly e-mail.

use std::path::Path;

use crate::support::gateway::{TestGateway, plan};
use futures::future::join_all;
use local::mail_sink::MailSink;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const REPORT: &str = "/2015-03-31/functions/report/invocations";

/// Invokes `report` with the event that its schedule sends at `time`.
async fn fire(gateway: &TestGateway, time: &str) -> (u16, Value) {
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "time": time, "detail": {}});
    gateway.post(REPORT, &[], event.to_string()).await
}

/// Returns the messages that a sink has kept.
fn mails(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// Decodes a message's text: soft line breaks and escapes (RFC 2045, section 6.7).
fn decoded(mail: &str) -> String {
    let bytes = mail.replace("=\r\n", "").into_bytes();
    let mut decoded = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'=', Some(byte)) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn submitted_events_are_in_the_report_as_soon_as_they_are_written() {
    let gateway = plan().start().await;
    let (status, empty) = gateway.get("/report").await;
    assert_eq!((status, &empty["stats"]), (200, &json!({})));

    for (method, number) in [("GET", 10), ("POST", 90)] {
        let url = format!("{}/submit/{number}", gateway.url);
        let request = gateway.http.request(method.parse().unwrap(), url).header("prefer", "wait=20");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["accepted"], number);
        assert_eq!(answer["receipts"].as_array().unwrap().len(), number);
    }
    // These requests send no events.
    let url = format!("{}/submit/5", gateway.url);
    assert_eq!(gateway.http.head(&url).send().await.unwrap().status(), 405);
    let keyed = gateway.http.post(&url).header("idempotency-key", "k").send().await.unwrap();
    assert_eq!(keyed.status(), 400);
    let (_, report) = gateway.get("/report").await;
    let stats = report["stats"].as_object().unwrap();
    assert_eq!(stats.values().map(|events| events.as_i64().unwrap()).sum::<i64>(), 100);
    for number in ["0", "10001", "-1", "ten", "1.5"] {
        let (status, problem) = gateway.get(&format!("/submit/{number}")).await;
        assert_eq!((status, &problem["type"]), (422, &json!("/problems/number")), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_fires_twenty_times_at_once_sends_one_mail_for_each_hour() {
    let folder = tempfile::tempdir().unwrap();
    let sink = MailSink::start(folder.path()).await.unwrap();
    let gateway = plan().mailing(&sink.url).start().await;
    for (number, city) in ["baltimore", "Baltimore ", "São Paulo", "<script>alert(1)</script>"].iter().enumerate() {
        let id = format!("00000000-0000-4000-8000-00000000000{number}");
        let event = json!({"id": id, "address": {"city": city}, "datetime": "2019-05-07 19:54:13.563"});
        let (status, body) = gateway.post("/events/user-event", &[("prefer", "wait=20")], event.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }

    let answers = join_all((0..20).map(|_| fire(&gateway, "2026-11-21T16:00:00Z"))).await;
    let deliveries: Vec<&str> = answers.iter().map(|(_, answer)| answer["report"].as_str().unwrap()).collect();
    assert_eq!(deliveries.iter().filter(|delivery| **delivery == "sent").count(), 1, "{deliveries:?}");
    assert_eq!(deliveries.iter().filter(|delivery| **delivery == "already_sent").count(), 19, "{deliveries:?}");
    let [mail] = &mails(folder.path())[..] else { panic!("{deliveries:?}") };
    let mail = decoded(mail);
    for part in [
        "To: ann@example.com, Bob <bob@example.com>\r\n",
        "From: sluice@example.com\r\n",
        "Subject: User events by city: 4 events, 2026-11-21 16:00 UTC\r\n",
        "Message-ID: <report.2026-11-21T16@example.com>\r\n",
        "2  Baltimore\r\n",
        "São Paulo</td>",
        "&lt;Script&gt;Alert(1)&lt;/Script&gt;</td>",
    ] {
        assert!(mail.contains(part), "{part} is not in {mail}");
    }

    let (_, answer) = fire(&gateway, "2026-11-21T17:00:03Z").await;
    assert_eq!(answer, json!({"report": "sent"}));
    let (_, answer) = fire(&gateway, "2026-11-21T17:59:59Z").await;
    assert_eq!(answer, json!({"report": "already_sent"}));
    assert_eq!(mails(folder.path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_fails_when_its_mail_is_not_accepted_but_the_next_run_sends_the_mail() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = plan().without_consuming().mailing(&format!("smtp://{address}")).start().await;

    let (_, answer) = fire(&gateway, "2026-11-21T16:00:00Z").await;
    assert_eq!(answer["errorType"], "Sluice.Mail", "{answer}");
    assert!(
        answer["errorMessage"].as_str().unwrap().starts_with("the report was not sent: SMTP_URL or SMTP_SECRET_ARN: "),
        "{answer}"
    );

    let _sink = MailSink::serve_on(TcpListener::bind(address).await.unwrap(), folder.path()).unwrap();
    let (_, answer) = fire(&gateway, "2026-11-21T16:00:00Z").await;
    assert_eq!(answer, json!({"report": "sent"}));
    assert_eq!(mails(folder.path()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_logged_if_there_are_no_recipients() {
    let gateway = plan().without_consuming().start().await;
    for event in ["{}", r#"{"time": "2026-11-21T16:00:00Z"}"#] {
        let (status, answer) = gateway.post(REPORT, &[], event).await;
        assert_eq!((status, answer), (200, json!({"report": "logged"})));
    }
    let (_, answer) = gateway.post(REPORT, &[], r#"{"time": "soon"}"#).await;
    assert_eq!(answer["errorType"], "Sluice.NotAnEvent", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_that_has_routes_can_be_invoked_with_an_event_of_api_gateway() {
    let gateway = plan().without_consuming().start().await;
    let request = |method: &str, path: &str| {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": {},
            "isBase64Encoded": false,
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "d", "domainPrefix": "p", "requestId": "r",
                "routeKey": "$default", "stage": "$default", "time": "t", "timeEpoch": 1,
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4", "userAgent": "u"}
            }
        })
    };
    for (name, path, status) in [
        ("ingest", "/health", 200),
        ("console", "/dead-letters", 401),
        ("report", "/report", 401),
        ("users", "/users", 401),
    ] {
        let path_of = format!("/2015-03-31/functions/{name}/invocations");
        let (_, answer) = gateway.post(&path_of, &[], request("GET", path).to_string()).await;
        assert_eq!(answer["statusCode"], status, "{name}: {answer}");
    }
}
