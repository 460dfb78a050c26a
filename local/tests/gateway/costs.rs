//! Counts the memory allocations of a request. The counts do not depend on the machine.

use std::io;

use allocation_counter::measure;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use crate::support::gateway::{ADMIN, TestGateway, plan};

/// Enough requests to average out what the gateway does in the background.
const REQUESTS: u64 = 200;
/// The maximum number of memory allocations from the first byte of a request to the last byte of its response. When the
/// limits were set, a request took 111 allocations and 17,754 bytes. If these numbers rise, find out why. Raise the
/// limits only for an improvement that a caller can notice.
const MOST_ALLOCATIONS: u64 = 116;
/// The maximum total size of a request's allocations.
const MOST_BYTES: u64 = 20_000;

/// A connection that allocates nothing while it sends.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(gateway: &TestGateway, path: &str, token: &str, body: &str) -> io::Result<Self> {
        let host = gateway.url.strip_prefix("http://").unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(Self { stream: TcpStream::connect(host).await?, request: request.into_bytes(), answer: vec![0; 4_096] })
    }

    /// Sends the request and receives its response, which arrives in a single read.
    async fn send(&mut self) -> &[u8] {
        self.stream.write_all(&self.request).await.unwrap();
        let read = self.stream.read(&mut self.answer).await.unwrap();
        &self.answer[..read]
    }
}

async fn token(gateway: &TestGateway) -> String {
    let (user, password) = ADMIN;
    let (status, answer) = gateway.post("/login", &[], json!({"user": user, "password": password}).to_string()).await;
    assert_eq!(status, 200, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

#[test]
fn one_posted_event_makes_few_allocations() {
    // Client, gateway and function run on one thread, and only this thread is measured. The threads of librdkafka are
    // not measured.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (gateway, mut connection) = runtime.block_on(async {
        let gateway = plan().without_consuming().start().await;
        let event = json!({"userID": 7, "timestamp": 1_557_258_853.563, "coordinates": [52.3676, 4.9041]});
        let token = token(&gateway).await;
        let mut connection = Connection::open(&gateway, "/events/route", &token, &event.to_string()).await.unwrap();
        for _ in 0..20 {
            let answer = connection.send().await;
            assert!(answer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(answer));
        }
        (gateway, connection)
    });
    let counted = measure(|| {
        runtime.block_on(async {
            for _ in 0..REQUESTS {
                connection.send().await;
            }
        });
    });
    let (allocations, bytes) = (counted.count_total / REQUESTS, counted.bytes_total / REQUESTS);
    eprintln!("{allocations} allocations and {bytes} bytes for each request");
    assert!(allocations <= MOST_ALLOCATIONS, "{allocations} allocations for each request");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes for each request");
    runtime.block_on(async { drop(gateway) });
}
