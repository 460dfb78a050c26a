//! Tests operators' commands against the whole gateway. Each command is a separate process.

use crate::support::gateway::{ADMIN, plan};
use serde_json::json;
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
async fn the_follow_command_leads_from_the_receipt_or_id_of_an_event_to_its_row() {
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

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_one_constraint_are_in_one_group_and_can_be_replayed_after_the_constraint_is_dropped() {
    const EVENTS: usize = 20;
    let gateway = plan().start().await;
    let constraint = "alter table public.routes_table add constraint no_fives check (user_id <> 5)";
    sqlx::query(constraint).execute(&gateway.database.pool).await.unwrap();
    let event = json!({"userID": 5, "timestamp": 1, "coordinates": [1, 2]});
    let events = serde_json::Value::Array(vec![event; EVENTS]);
    let (status, body) = gateway.post("/events/route", &[("prefer", "wait=25")], events.to_string()).await;
    assert_eq!(status, 422, "{body}");

    let (code, text) = run(&gateway.url, &["dead-letters", "groups", "--stream", "route"]).await;
    assert_eq!(code, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].starts_with(&format!("{EVENTS:>8}  route ")) && lines[1].contains("no_fives"), "{text}");
    let (code, text) = run(&gateway.url, &["dead-letters", "list", "--error-code", "23514", "--limit", "3"]).await;
    assert_eq!((code, text.lines().count()), (0, 5), "{text}");
    assert!(text.contains("more entries match"), "{text}");
    // Without a terminal, nobody can confirm the replay.
    let (code, text) = run(&gateway.url, &["dead-letters", "replay"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with(&format!("{EVENTS} dead letters match\n")) && text.contains("--yes"), "{text}");

    // The cause is still there, so every replay is rejected again.
    let (code, text) = run(&gateway.url, &["dead-letters", "replay", "--stream", "route", "--yes"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("{EVENTS} dead letters left")), "{text}");

    let drop = "alter table public.routes_table drop constraint no_fives";
    sqlx::query(drop).execute(&gateway.database.pool).await.unwrap();
    let discard = ["dead-letters", "discard", "--contains", "no such text", "--note", "n", "--yes"];
    assert_eq!(run(&gateway.url, &discard).await, (0, "0 dead letters match\n".to_owned()));
    let (code, text) = run(&gateway.url, &["dead-letters", "replay", "--stream", "route", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("is done: {EVENTS} replayed, 0 skipped")), "{text}");
    let (code, text) = run(&gateway.url, &["dead-letters", "list"]).await;
    assert_eq!((code, text.as_str()), (0, "no dead letter matches\n"));
    let replayed = gateway.get("/dead-letters?status=replayed").await;
    assert_eq!(replayed.1["items"].as_array().map(Vec::len), Some(2 * EVENTS), "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_discards_dead_letters_with_a_note() {
    let gateway = plan().start().await;
    // There is no such city, so the update becomes a dead letter.
    let update = json!({"op": "update", "country": "Nowhere", "name": "N"});
    let (status, answer) = gateway.post("/events/city", &[("prefer", "wait=25")], update.to_string()).await;
    assert_eq!(status, 422, "{answer}");
    let (code, text) = run(&gateway.url, &["dead-letters", "discard", "--note", "sent by a test", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    let (_, letters) = gateway.get("/dead-letters?status=discarded").await;
    assert_eq!(letters["items"][0]["note"], "sent by a test", "{letters}");
}
