use axum::body::Body;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{Answer, NOW_MS, TestConsole};

async fn replay(function: &TestConsole, id: i64) -> Answer {
    function.send("POST", &format!("/dead-letters/{id}/replay"), &[], Body::empty()).await
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_all_details() {
    let function = TestConsole::start().await;
    let headers = json!([{"name": "ce_id", "value": "7"}]);
    let before = Timestamp::now();
    let id = function.reject("city", 2, 41, b"{ \"name\": 1.50 }", &headers).await;
    let letter = function.get(&format!("/dead-letters/{id}")).await.body;
    let rejected_at: Timestamp = letter["rejected_at"].as_str().unwrap().parse().unwrap();
    // The database's clock may differ a little from the clock of this process.
    let difference = before.duration_until(rejected_at).abs();
    assert!(difference < SignedDuration::from_secs(60), "{letter}");
    let expected = json!({
        "id": id, "stream": "city", "destination": "postgresql", "rejected_at": letter["rejected_at"], "topic": function.topic("city"), "partition": 2, "offset": 41, "timestamp": NOW_MS,
        "key": "the key", "headers": headers, "reason": "it exists already", "error_code": "already_exists",
        "constraint": "the constraint", "table": "the table", "column": "the column", "pointer": "/the/pointer",
        "status": "open", "replays": 0, "replay_of": null, "note": null, "payload": {"name": serde_json::from_str::<Value>("1.50").unwrap()},
    });
    assert_eq!(letter, expected);
    assert_eq!(function.get("/dead-letters").await.body, json!({"items": [expected], "next": null}));
    for missing in ["/dead-letters/0", "/dead-letters/999999", "/dead-letters/one"] {
        assert_eq!(function.get(missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
    function.end().await;
}

#[tokio::test]
async fn any_payload_is_shown() {
    let function = TestConsole::start().await;
    for (payload, shown) in [
        (&b"{\"a\":1,\"a\":2}"[..], json!({"payload": "{\"a\":1,\"a\":2}"})),
        (b"no \"json\"\n", json!({"payload": "no \"json\"\n"})),
        (b"", json!({"payload": ""})),
        (b"\xff\xfe", json!({"payload": null, "payload_base64": "//4="})),
        (b"[1]", json!({"payload": [1]})),
    ] {
        let id = function.reject("city", 0, i64::from(payload.len() as u32), payload, &json!([])).await;
        let letter = function.get(&format!("/dead-letters/{id}")).await.body;
        for (name, value) in shown.as_object().unwrap() {
            assert_eq!(letter[name], *value, "{shown}");
        }
    }
    function.end().await;
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_and_can_be_limited_to_one_topic() {
    let function = TestConsole::start().await;
    for offset in 0..25 {
        function.reject("city", 0, offset, b"{}", &json!([])).await;
        function.reject("country", 0, offset, b"{}", &json!([])).await;
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/dead-letters?topic={}&limit=10{after}", function.topic("city"));
        let page = function.get(&path).await.body;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 10);
        found.extend(items.iter().map(|item| item["offset"].as_i64().unwrap()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, (0..25).collect::<Vec<i64>>());
    assert_eq!(function.get("/dead-letters").await.body["items"].as_array().unwrap().len(), 50);
    assert_eq!(function.get("/dead-letters?topic=none").await.body, json!({"items": [], "next": null}));
    for malformed in ["after=x", "after=1", "limit=0", "limit=x", "topic=%00"] {
        let answer = function.get(&format!("/dead-letters?{malformed}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{malformed}");
    }
    function.end().await;
}

#[tokio::test]
async fn a_page_of_large_dead_letters_fits_into_the_response_limit_of_lambda() {
    let function = TestConsole::start().await;
    let payload = serde_json::to_vec(&"x".repeat(900_000)).unwrap();
    for offset in 0..5 {
        function.reject("city", 0, offset, &payload, &json!([])).await;
    }
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = function.get(&format!("/dead-letters{after}")).await.body;
        pages.push(page["items"].as_array().unwrap().len());
        match page["next"].as_str() {
            Some(next) => after = format!("?after={next}"),
            None => break,
        }
    }
    assert_eq!(pages, [2, 2, 1]);
    function.end().await;
}

#[tokio::test]
async fn concurrent_requests_replay_a_dead_letter_once() {
    let function = TestConsole::start().await;
    let headers = json!([{"name": "a", "bytes": [255]}, {"name": "b"}, {"name": "ce_id", "value": "7"}]);
    let id = function.reject("routes", 2, 41, b"{ }", &headers).await;
    let answers = futures::future::join_all((0..5).map(|_| replay(&function, id))).await;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).collect();
    assert_eq!(accepted.len(), 1, "{answers:?}");
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
    assert_eq!(refused, 4, "{answers:?}");

    let records = function.records("routes").await;
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].key.as_deref(), records[0].value.as_str()), (Some("the key"), "{ }"));
    let place = format!("{}/2/41/{NOW_MS}", function.topic("routes"));
    let expected = [("a", "\u{fffd}"), ("b", "(null)"), ("ce_id", "7"), ("sluice-replay", &place)];
    assert_eq!(records[0].headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let receipt = &accepted[0].body["receipts"][0];
    assert_eq!(
        (receipt["partition"].as_i64(), receipt["offset"].as_i64()),
        (Some(records[0].partition.into()), Some(0))
    );
    assert_eq!(accepted[0].header("location"), receipt["href"].as_str().unwrap());
    let letter = function.get(&format!("/dead-letters/{id}")).await.body;
    assert_eq!(letter["status"], "replayed");
    let mut pending = receipt.clone();
    pending["status"] = json!("pending");
    assert_eq!(letter["replayed_as"], pending);
    function.end().await;
}

#[tokio::test]
async fn a_replay_whose_commit_was_lost_is_sent_again_under_the_same_id() {
    let function = TestConsole::start().await;
    let plain = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    let keyed = json!([{"name": "idempotency-key", "value": "k"}]);
    let keyed = function.reject("routes", 0, 2, b"{}", &keyed).await;
    let cloud = json!([{"name": "ce_id", "value": "7"}, {"name": "ce_source", "value": "/s"}]);
    let cloud = function.reject("routes", 0, 3, b"{}", &cloud).await;
    for id in [plain, keyed, cloud] {
        assert_eq!(replay(&function, id).await.status, StatusCode::ACCEPTED);
        let reopen =
            "update sluice.dead_letters set status = 'open', replayed_partition = null, replayed_offset = null,
                                                  replayed_timestamp_ms = null";
        sqlx::query(reopen).execute(&function.pool).await.unwrap();
        assert_eq!(replay(&function, id).await.status, StatusCode::ACCEPTED);
    }
    let records = function.records("routes").await;
    let headers = |name| records.iter().map(move |record| record.headers.get(name).cloned()).collect::<Vec<_>>();
    let place = |offset: i64| Some(format!("{}/0/{offset}/{NOW_MS}", function.topic("routes")));
    let replays = [1, 1, 2, 2, 3, 3].map(place);
    assert_eq!(headers("sluice-replay"), replays);
    assert_eq!(
        headers("idempotency-key"),
        [None, None, Some("k"), Some("k"), None, None].map(|id| id.map(str::to_owned))
    );
    assert_eq!(records[4].headers, records[5].headers);
    function.end().await;
}

#[tokio::test]
async fn a_dead_letter_stays_open_if_no_stream_uses_its_topic() {
    let function = TestConsole::start().await;
    let id = function.reject("gone", 0, 1, b"{}", &json!([])).await;
    assert_eq!(replay(&function, id).await.status, StatusCode::CONFLICT);
    assert_eq!(replay(&function, id + 1).await.status, StatusCode::NOT_FOUND);
    assert_eq!(function.get(&format!("/dead-letters/{id}")).await.body["status"], "open");
    function.end().await;
}

#[tokio::test]
async fn a_letter_with_a_key_is_replayed_only_by_force_if_kafka_no_longer_has_its_event() {
    let function = TestConsole::start().await;
    let event = br#"{"op": "update", "name": "Asia"}"#;
    let id = function.reject("continent", 0, 41, event, &json!([])).await;
    // Waits until the new topic's partition has a leader.
    assert_eq!(function.records("continent").await.len(), 0);
    let answer = replay(&function, id).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.body["detail"].as_str().unwrap().starts_with("Kafka no longer has this event"), "{answer:?}");
    assert_eq!(function.records("continent").await.len(), 0);
    let answer = function.send("POST", &format!("/dead-letters/{id}/replay?force=true"), &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let records = function.records("continent").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].headers.get("sluice-replay-checked"), None);
    function.end().await;
}

#[tokio::test]
async fn a_replay_names_the_replayed_letter_and_the_first_record_of_the_event() {
    let function = TestConsole::start().await;
    let topic = function.topic("routes");
    for (earlier, expected) in [
        (json!([{"name": "sluice-replay", "value": format!("{topic}/1/7/5")}]), format!("{topic}/1/7/5")),
        // Older versions wrote the id of the first letter into the header.
        (json!([{"name": "sluice-replay", "value": "17"}]), "17".to_owned()),
    ] {
        let id = function.reject("routes", 2, 41, b"{}", &earlier).await;
        assert_eq!(replay(&function, id).await.status, StatusCode::ACCEPTED);
        let record = function.records("routes").await.pop().unwrap();
        assert_eq!(record.headers["sluice-replay"], expected);
        assert_eq!(record.headers["sluice-replay-of"], format!("{topic}/2/41/{NOW_MS}"));
        sqlx::query("delete from sluice.dead_letters").execute(&function.pool).await.unwrap();
    }
    function.end().await;
}
