//! The log line of each request.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crate::support::{Lacking, ROUTE, TestIngest};

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_line_of_a_request_names_the_user_and_the_stream_and_the_code_of_the_problem() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // If there is only one dispatcher, the first thread that reaches a log statement decides for all threads whether
    // `tracing` enables the statement (https://github.com/tokio-rs/tracing/issues/3611). That thread may belong to a
    // test that has no subscriber. A second dispatcher prevents this decision.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber);
    let lacking = Lacking { broker: true, database: true, topics: true, roles: false };
    let function = TestIngest::start_lacking(lacking).await;

    function.send("POST", "/events/route", &[], r#"{"userID": "hidden"}"#).await;
    function.send("POST", "/events/nothing", &[], ROUTE).await;
    function.send("POST", "/city", &[], "[").await;
    function.get("/streams/route").await;
    function.send("PUT", "/streams/route", &[], "").await;
    function.get(&format!("/receipts?ids={0}/0/1,{0}/0/2", function.topic("routes"))).await;

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("answered")).collect();
    let expected = [
        ["path=\"/events/route\"", "user=\"anyone\" stream=\"route\"", "status=422 code=\"contract\""],
        ["path=\"/events/nothing\"", "user=\"anyone\"}", "status=404 code=\"not-found\""],
        ["path=\"/city\"", "user=\"anyone\" stream=\"city\"", "status=400 code=\"not-json\""],
        ["path=\"/streams/route\"", "user=\"anyone\" stream=\"route\"", "answered status=200 elapsed_ms"],
        ["path=\"/streams/route\"", "method=PUT", "status=405 code=\"method-not-allowed\""],
        ["path=\"/receipts\"", "user=\"anyone\" stream=\"route\"", "status=503 code=\"unavailable\""],
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, parts) in lines.iter().zip(expected) {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} are not in {line}");
        assert!(line.matches("stream=").count() <= 1, "{line}");
    }
    assert!(!text.contains("hidden"), "{text}");
}
