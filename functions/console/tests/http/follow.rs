//! Tests `GET /follow`, which finds events in Kafka and follows them to their rows.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::kafka::Outgoing;

use crate::support::{Answer, NOW_MS, TestConsole};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn user_event(id: &str) -> Value {
    json!({
        "id": id, "datetime": "2019-05-07 19:54:13.5",
        "address": {"city": "Baltimore", "state": "Maryland", "country": null, "postCode": "21201"}
    })
}

fn items(answer: &Answer) -> &Vec<Value> {
    answer.body["items"].as_array().unwrap_or_else(|| panic!("{answer:?}"))
}

/// Posts an event. Returns its receipt in the form that `/follow` accepts, and its partition, offset and record time.
async fn post(function: &TestConsole, path: &str, headers: &[(&str, &str)], event: &Value) -> (String, i32, i64, i64) {
    let answer = function.post(path, headers, event.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let receipt = &answer.body["receipts"][0];
    let [partition, offset, time_ms] = ["partition", "offset", "timestamp"].map(|name| receipt[name].as_i64().unwrap());
    let text = format!("{}/{partition}/{offset}", receipt["topic"].as_str().unwrap());
    (text, partition.try_into().unwrap(), offset, time_ms)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns a time range that contains the real time, for queries. Records have the real time, but the function's clock
/// is set to the past.
fn now() -> String {
    let time = |seconds: i64| Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
    format!("since={}&until={}", time(-600), time(600))
}

#[tokio::test]
async fn an_event_is_followed_from_its_receipt_to_its_row() {
    let function = TestConsole::start().await;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let event = user_event("67e55044-10b1-426f-9247-bb680e5fe0c8");
    let headers = [("traceparent", traceparent.as_str()), ("idempotency-key", "k1")];
    let (receipt, partition, offset, time_ms) = post(&function, "/events/user-event", &headers, &event).await;
    let answer = function.get(&format!("/follow?receipt={receipt}")).await;
    assert_eq!((answer.status, &answer.body["next"]), (StatusCode::OK, &Value::Null), "{answer:?}");
    let [item] = items(&answer).as_slice() else { panic!("{answer:?}") };
    assert_eq!((&item["status"], &item["row"], &item["payload"]), (&json!("pending"), &Value::Null, &event));
    assert_eq!((&item["user"], &item["trace_id"]), (&json!("anyone"), &json!(TRACE)));
    assert_eq!(item["accepted_at"], Timestamp::from_millisecond(time_ms).unwrap().to_string());
    assert!(item["headers"].as_array().unwrap().contains(&json!({"name": "idempotency-key", "value": "k1"})), "{item}");

    let insert = "insert into public.user_events (id, city, datetime)
                  values ('67e55044-10b1-426f-9247-bb680e5fe0c8', 'Baltimore', '2019-05-07 19:54:13.563')";
    sqlx::query(insert).execute(&function.pool).await.unwrap();
    function.apply("user-events", partition, offset + 1, time_ms).await;
    // A later minute, in which further records landed, must not be mistaken for the event's minute.
    let land = r#"insert into sluice.activity (topic, "partition", incarnation, minute, written, waiting, last_offset)
                  select $1, $2, 1, date_trunc('minute', now()) + minute, 1, waiting, last_offset
                  from (values (interval '-2 min', 0, $3 - 1), (interval '0', $4, $3), (interval '2 min', 0, $3 + 9))
                       as m (minute, waiting, last_offset)
                  on conflict (destination, topic, "partition", incarnation, minute)
                  do update set waiting = excluded.waiting, last_offset = excluded.last_offset"#;
    for (waiting, is_exact) in [(1_i64, false), (0, true)] {
        let land = sqlx::query(land).bind(function.topic("user-events")).bind(partition).bind(offset).bind(waiting);
        land.execute(&function.pool).await.unwrap();
        let answer = function.get(&format!("/follow?receipt={receipt}")).await;
        let landed_at = items(&answer)[0]["landed_at"].as_str().map(|time| time.parse::<Timestamp>().unwrap());
        assert_eq!(landed_at.is_some(), is_exact, "{answer:?}");
        let from_now = landed_at.map(|landed_at| landed_at.duration_until(Timestamp::now()).as_secs());
        assert!(from_now.is_none_or(|seconds| (0..100).contains(&seconds)), "{answer:?}");
    }
    let answer = function.get(&format!("/follow?receipt={receipt}")).await;
    let item = &items(&answer)[0];
    assert_eq!((&item["status"], &item["row"]["city"]), (&json!("written"), &json!("Baltimore")), "{item}");
    assert_eq!((&item["reason"], &item["dead_letter"]), (&Value::Null, &Value::Null));

    for query in ["id=67E55044-10B1-426F-9247-BB680E5FE0C8", "idempotency_key=k1"] {
        let answer = function.get(&format!("/follow?stream=user-event&{query}&{}", now())).await;
        let offsets: Vec<&Value> = items(&answer).iter().map(|item| &item["offset"]).collect();
        assert_eq!(offsets, [offset], "{query}: {answer:?}");
    }
    function.end().await;
}

#[tokio::test]
async fn events_are_found_in_all_partitions_by_any_spelling_of_their_key() {
    let function = TestConsole::start().await;
    let city = |name: &str| json!({"country": "Iran", "name": name});
    for name in ["Bouak\u{e9}", "Alvand", "Bouake\u{301}"] {
        post(&function, "/events/city", &[], &city(name)).await;
    }
    // Another producer sends an event with the same key.
    let topic = function.topic("city");
    let key = r#"["Iran","Bouaké"]"#;
    let outgoing = Outgoing { topic: &topic, key: Some(key.as_bytes()), value: Some(b"no JSON"), headers: &[] };
    assert!(function.producer.send(&[outgoing]).await[0].is_ok());
    for spelling in ["[\"Iran\", \"Bouak\u{e9}\"]", "[\"Iran\",\"Bouake\u{301}\"]"] {
        let answer = function.get(&format!("/follow?stream=city&key={}&{}", encoded(spelling), now())).await;
        let payloads: Vec<&Value> = items(&answer).iter().map(|item| &item["payload"]).collect();
        assert_eq!(payloads, [&city("Bouak\u{e9}"), &city("Bouake\u{301}"), &json!("no JSON")], "{answer:?}");
        assert_eq!(items(&answer)[2]["user"], Value::Null);
    }
    let answer = function.get(&format!("/follow?stream=city&key=none&{}", now())).await;
    assert_eq!(answer.body, json!({"items": [], "next": null}));
    // The default range ends at the time of the function's clock, which is in the past, so it contains no event.
    let answer = function.get(&format!("/follow?stream=city&key={}", encoded(key))).await;
    assert_eq!(answer.body, json!({"items": [], "next": null}));
    function.end().await;
}

#[tokio::test]
async fn a_batch_is_found_by_its_idempotency_key_page_by_page_across_partitions() {
    let function = TestConsole::start().await;
    let batch: Vec<Value> = (0..25).map(|n| json!({"country": "Iran", "name": format!("City {n}")})).collect();
    let answer = function.post("/events/city", &[("idempotency-key", "all")], json!(batch).to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    post(&function, "/events/city", &[("idempotency-key", "all2")], &json!({"country": "Iran", "name": "Other"})).await;
    let (mut names, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/follow?stream=city&idempotency_key=all&limit=4&{}{after}", now());
        let answer = function.get(&path).await;
        assert!(items(&answer).len() <= 4, "{answer:?}");
        names.extend(items(&answer).iter().map(|item| item["payload"]["name"].as_str().unwrap().to_owned()));
        pages += 1;
        match answer.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    names.sort();
    let mut expected: Vec<String> = (0..25).map(|n| format!("City {n}")).collect();
    expected.sort();
    assert_eq!(names, expected);
    assert!(pages >= 7, "{pages}");
    function.end().await;
}

#[tokio::test]
async fn a_cloud_event_is_found_by_its_id() {
    let function = TestConsole::start().await;
    let route = json!({"userID": 5, "timestamp": 1, "coordinates": [1, 2]});
    let cloud =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": route}).to_string();
    for id in ["a", "b"] {
        let answer =
            function.post("/events/route", &[("content-type", "application/cloudevents+json")], cloud(id)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    }
    let answer = function.get(&format!("/follow?stream=route&id=b&{}", now())).await;
    assert_eq!(items(&answer).len(), 1, "{answer:?}");
    assert!(items(&answer)[0]["headers"].as_array().unwrap().contains(&json!({"name": "ce_id", "value": "b"})));
    function.end().await;
}

#[tokio::test]
async fn a_rejected_event_is_shown_with_its_dead_letter_even_if_kafka_no_longer_has_the_event() {
    let function = TestConsole::start().await;
    let id = function.reject("city", 1, 7, b"{\"name\": 1}", &json!([{"name": "sluice-user", "value": "ann"}])).await;
    function.apply("city", 1, 8, NOW_MS).await;
    let answer = function.get(&format!("/follow?receipt={}/1/7", function.topic("city"))).await;
    let [item] = items(&answer).as_slice() else { panic!("{answer:?}") };
    assert_eq!((&item["status"], &item["reason"]), (&json!("rejected"), &json!("it exists already")));
    assert_eq!(
        (&item["user"], &item["key"], &item["payload"]),
        (&json!("ann"), &json!("the key"), &json!({"name": 1}))
    );
    let letter = &item["dead_letter"];
    assert_eq!(
        (&letter["id"], &letter["status"], &letter["error_code"]),
        (&json!(id), &json!("open"), &json!("already_exists"))
    );
    assert_eq!(letter["replayed_as"], Value::Null);

    let answer = function.post(&format!("/dead-letters/{id}/replay?force=true"), &[], "").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let answer = function.get(&format!("/follow?receipt={}/1/7", function.topic("city"))).await;
    let letter = &items(&answer)[0]["dead_letter"];
    assert_eq!((&letter["status"], &letter["replayed_as"]["status"]), (&json!("replayed"), &json!("pending")));
    // Neither Kafka nor the ledger contains these events.
    for receipt in ["0/0", "1/900"] {
        let answer = function.get(&format!("/follow?receipt={}/{receipt}", function.topic("city"))).await;
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &json!({"items": [], "next": null})), "{receipt}");
    }
    function.end().await;
}

#[tokio::test]
async fn malformed_queries_and_unknown_streams_topics_and_partitions_are_refused() {
    let function = TestConsole::start().await;
    let topic = function.topic("city");
    for (query, status) in [
        (String::new(), 400),
        ("stream=city".to_owned(), 400),
        ("key=a".to_owned(), 400),
        ("stream=city&key=a&id=b".to_owned(), 400),
        ("stream=none&key=a".to_owned(), 404),
        ("stream=city&key=a&since=yesterday".to_owned(), 400),
        ("stream=city&key=a&since=2026-11-01T00:00:00Z&until=2026-11-02T00:00:01Z".to_owned(), 400),
        ("stream=city&key=a&since=2026-11-02T00:00:00Z&until=2026-11-01T00:00:00Z".to_owned(), 400),
        ("stream=city&key=a&after=x".to_owned(), 400),
        ("stream=city&key=a&limit=1001".to_owned(), 400),
        ("stream=city&key=a&offset=1".to_owned(), 400),
        (format!("receipt={topic}/1"), 400),
        (format!("receipt={topic}/1/2/3"), 400),
        (format!("receipt={topic}/-1/2"), 400),
        (format!("receipt={topic}/1/2&key=a"), 400),
        (format!("receipt={topic}/99/2"), 404),
        ("receipt=none/1/2".to_owned(), 404),
    ] {
        let answer = function.get(&format!("/follow?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {answer:?}");
    }
    function.end().await;
}
