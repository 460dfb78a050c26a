//! Tests the commands that operators run in a terminal, as processes, against the whole gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod support;

use serde_json::json;
use support::gateway::{ADMIN, plan};
use tokio::process::Command;

/// Runs `cargo local` with these arguments. Returns its exit status and what it printed.
async fn run(url: &str, arguments: &[&str]) -> (i32, String) {
    let admin = format!("{}:{}", ADMIN.0, ADMIN.1);
    let command = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(arguments)
        .args(["--to", url, "--user", &admin])
        .output()
        .await
        .unwrap();
    let text = [command.stdout, command.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (command.status.code().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_followed_to_its_row_by_its_receipt_or_its_id() {
    let gateway = plan().start().await;
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let address = json!({"city": "Baltimore", "state": "Maryland", "country": null, "postCode": "21201"});
    let event = json!({"id": id, "address": address, "datetime": "2019-05-07 19:54:13.563"});
    let (status, body) = gateway.post("/events/user-event", &[("prefer", "wait=20")], event.to_string()).await;
    assert_eq!(status, 200, "{body}");

    let href = body["receipts"][0]["href"].as_str().unwrap();
    let (code, by_receipt) = run(&gateway.url, &["follow", href]).await;
    assert_eq!(code, 0, "{by_receipt}");
    let place = href.strip_prefix("/receipts/").unwrap();
    assert!(by_receipt.starts_with(&format!("{place}\n  accepted    ")), "{by_receipt}");
    for step in
        [&format!("sent by {}", ADMIN.0)[..], "  written     its row was written", "  row         {", "\"Baltimore\""]
    {
        assert!(by_receipt.contains(step), "{step} is missing: {by_receipt}");
    }
    let (code, by_id) = run(&gateway.url, &["follow", "user-event", "--id", id]).await;
    assert_eq!((code, by_id), (0, by_receipt));

    let (code, text) =
        run(&gateway.url, &["follow", "user-event", "--id", "00000000-0000-0000-0000-000000000000"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no such event was found"), "{text}");
    let (code, text) = run(&gateway.url, &["follow", "none/0/0"]).await;
    assert_eq!((code, text.as_str()), (1, "error: No stream has the receipt's topic.\n"));
}
