use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, CITY, NDJSON, ROUTE, TestIngest, gzip};

fn receipts(answer: &Answer) -> &Vec<Value> {
    answer.body["receipts"].as_array().unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
async fn an_acknowledged_event_is_on_its_topic_byte_for_byte() {
    let function = TestIngest::start().await;
    let answer = function.post("/events/route", &[], ROUTE).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["accepted"], 1);
    let receipt = &receipts(&answer)[0];
    assert_eq!(receipt["topic"], json!(function.topic("routes")));
    let place = format!("{}/{}/{}", function.topic("routes"), receipt["partition"], receipt["offset"]);
    assert_eq!(receipt["href"], json!(format!("/receipts/{place}")));
    assert_eq!(answer.header("location"), format!("/receipts/{place}"));
    assert!(receipt["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(receipt.as_object().unwrap().len(), 5, "{receipt}");

    let records = function.records("routes").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value, ROUTE);
    assert_eq!(records[0].key.as_deref(), Some("5"));
    assert_eq!(records[0].headers, [("sluice-user".to_owned(), "anyone".to_owned())].into());
    function.end().await;
}

#[tokio::test]
async fn a_valid_traceparent_is_passed_on_and_an_invalid_one_is_ignored() {
    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let function = TestIngest::start().await;
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    let twice = [("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)];
    for headers in [&[("traceparent", TRACEPARENT)][..], &[("traceparent", zeros)], &twice, &[]] {
        assert_eq!(function.post("/events/route", headers, ROUTE).await.status, StatusCode::ACCEPTED);
    }
    let mut records = function.records("routes").await;
    records.sort_by_key(|record| record.offset);
    let passed_on: Vec<_> =
        records.iter().map(|record| record.headers.get("traceparent").map(String::as_str)).collect();
    assert_eq!(passed_on, [Some(TRACEPARENT), None, None, None]);
    function.end().await;
}

#[tokio::test]
async fn the_receipts_of_a_batch_are_in_the_order_of_its_events() {
    let function = TestIngest::start().await;
    let events: Vec<String> = (0..500).map(|user| ROUTE.replace("5, ", &format!("{user}, "))).collect();
    for (content_type, body) in
        [("application/json", format!("[{}]", events.join(", "))), ("application/x-ndjson", events.join("\n"))]
    {
        let headers = [("content-type", content_type), ("content-encoding", "gzip"), ("idempotency-key", "\"k\"")];
        let answer = function.post("/events/route", &headers, gzip(body.as_bytes())).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(answer.body["accepted"], 500);
        assert_eq!(answer.header("location"), "");
        let records = function.records("routes").await;
        for (index, receipt) in receipts(&answer).iter().enumerate() {
            let record = records.iter().find(|r| receipt["partition"] == r.partition && receipt["offset"] == r.offset);
            let record = record.unwrap();
            assert_eq!(record.value, events[index]);
            assert_eq!(record.headers["idempotency-key"], format!("k {index}"));
        }
    }
    function.end().await;
}

#[tokio::test]
async fn a_batch_with_an_invalid_event_sends_nothing() {
    let function = TestIngest::start().await;
    let body = format!("{ROUTE}\n{}\n{}\n", ROUTE.replace("5,", "\"5\","), ROUTE.replace("52.", "152."));
    let answer = function.post("/events/route", &[NDJSON], body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["type"], "/problems/contract");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    let places: Vec<(Value, Value)> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["index"].clone(), error["pointer"].clone()))
        .collect();
    assert_eq!(places, [(json!(1), json!("/userID")), (json!(2), json!("/coordinates/0"))]);
    assert_eq!(function.records("routes").await.len(), 0);
    function.end().await;
}

#[tokio::test]
async fn at_most_a_hundred_violations_are_listed() {
    let function = TestIngest::start().await;
    let answer = function.post("/events/route", &[NDJSON], "{}\n".repeat(1_000)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 100);
    function.end().await;
}

#[tokio::test]
async fn a_lenient_batch_is_accepted_without_its_invalid_events() {
    let function = TestIngest::start().await;
    let body = format!("{{}}\n{ROUTE}\nnope\n{ROUTE}");
    let headers = [NDJSON, ("prefer", "handling=lenient"), ("idempotency-key", "k")];
    let answer = function.post("/events/route", &headers, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.header("preference-applied"), "handling=lenient");
    assert_eq!(answer.body["accepted"], 2);
    let indexes: Vec<_> = receipts(&answer).iter().map(|receipt| receipt["index"].clone()).collect();
    assert_eq!(indexes, [1, 3]);
    let errors = answer.body["errors"].as_array().unwrap();
    assert!(errors[..3].iter().all(|error| error["index"] == 0), "{errors:?}");
    assert_eq!((&errors[3]["index"], &errors[3]["line"], &errors[3]["column"]), (&json!(2), &json!(3), &json!(2)));
    let keys: Vec<_> =
        function.records("routes").await.into_iter().map(|mut r| r.headers.remove("idempotency-key")).collect();
    assert_eq!(keys, [Some("k 1".to_owned()), Some("k 3".to_owned())]);

    let answer = function.post("/events/route", &headers, "{}\n{}").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = function.post("/events/route", &[("prefer", "handling=lenient")], "{}").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    function.end().await;
}

#[tokio::test]
async fn every_invalid_event_of_a_lenient_batch_is_listed() {
    let function = TestIngest::start().await;
    let body = format!("{}{ROUTE}", "{}\n".repeat(2_000));
    let answer = function.post("/events/route", &[NDJSON, ("prefer", "handling=lenient")], body).await;
    let errors = answer.body["errors"].as_array().unwrap();
    let indexes: std::collections::BTreeSet<_> = errors.iter().filter_map(|error| error["index"].as_u64()).collect();
    assert_eq!((answer.status, indexes.len()), (StatusCode::ACCEPTED, 2_000));
    // No event of this batch is sent, so the number of errors is limited, as for any rejected request.
    let answer = function.post("/events/route", &[NDJSON, ("prefer", "handling=lenient")], "{}\n".repeat(2_000)).await;
    let errors = answer.body["errors"].as_array().map(Vec::len);
    assert_eq!((answer.status, errors), (StatusCode::UNPROCESSABLE_ENTITY, Some(100)));
    function.end().await;
}

#[tokio::test]
async fn a_minimal_answer_omits_the_receipts() {
    let function = TestIngest::start().await;
    let answer = function.post("/events/route", &[("prefer", "return=minimal")], ROUTE).await;
    assert_eq!((answer.status, answer.body.clone()), (StatusCode::ACCEPTED, json!({"accepted": 1})));
    assert_eq!(answer.header("preference-applied"), "return=minimal");
    assert!(answer.header("location").starts_with("/receipts/"));
    function.end().await;
}

#[tokio::test]
async fn the_data_of_a_cloud_event_becomes_the_value_of_the_record_and_each_attribute_becomes_a_header() {
    let function = TestIngest::start().await;
    let structured = format!(
        r#"{{"specversion":"1.0","id":"7","source":"/gps","type":"moved","time":"2019-05-07T19:54:13Z","data":{ROUTE}}}"#
    );
    let kind = ("content-type", "application/cloudevents+json");
    let batch = ("content-type", "application/cloudevents-batch+json");
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/gps"),
        ("ce-type", "moved"),
        ("ce-time", "2019-05-07T19:54:13Z"),
        ("content-type", "application/json"),
    ];
    for answer in [
        function.post("/events/route", &[kind], structured.clone()).await,
        function.post("/events/route", &[batch], format!("[{structured}]")).await,
        function.post("/events/route", &binary, ROUTE).await,
    ] {
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    }
    let records = function.records("routes").await;
    assert_eq!(records.len(), 3);
    let expected = [
        ("ce_id", "7"),
        ("ce_source", "/gps"),
        ("ce_specversion", "1.0"),
        ("ce_time", "2019-05-07T19:54:13Z"),
        ("ce_type", "moved"),
        ("content-type", "application/json"),
        ("sluice-user", "anyone"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for record in records {
        assert_eq!((record.value.as_str(), record.headers), (ROUTE, std::collections::BTreeMap::clone(&expected)));
    }

    let wrong = structured.replace("52.", "152.").replace("\"7\"", "\"\"");
    let answer = function.post("/events/route", &[kind], wrong).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers: Vec<_> = answer.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/id", "/data/coordinates/0"]);
    function.end().await;
}

#[tokio::test]
async fn invalid_input_is_rejected_and_later_events_are_accepted() {
    let function = TestIngest::start().await;
    let json = ("content-type", "application/json");
    let big = format!("{{\"country\": \"Iran\", \"name\": \"{}\"}}", "x".repeat(1_000_000));
    let deep = format!("{{\"country\": \"Iran\", \"name\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = gzip(&vec![b' '; 200_000_000]);
    for (name, headers, body, status) in [
        ("NUL in a text", vec![json], br#"{"country": "Iran", "name": "a\u0000"}"#.to_vec(), 422),
        (
            "an object that imitates serde_json's numbers",
            vec![json],
            br#"{"country": "Iran", "name": "a", "area": {"$serde_json::private::Number": "7"}}"#.to_vec(),
            422,
        ),
        ("1e400", vec![json], br#"{"country": "Iran", "name": "a", "area": 1e400}"#.to_vec(), 422),
        ("nested arrays", vec![json], deep.into_bytes(), 400),
        ("invalid UTF-8", vec![json], b"{\"country\": \"Iran\", \"name\": \"\xff\"}".to_vec(), 400),
        ("a gzip bomb", vec![json, ("content-encoding", "gzip")], bomb, 413),
        ("duplicate keys", vec![json], br#"{"country": "Iran", "name": "a", "name": "b"}"#.to_vec(), 400),
        ("an event that is too large", vec![json], big.into_bytes(), 413),
        ("an unknown member", vec![json], br#"{"country": "Iran", "name": "a", "mayor": "b"}"#.to_vec(), 422),
        ("no body", vec![json], Vec::new(), 400),
        ("an empty array", vec![json], b"[]".to_vec(), 422),
        ("no lines", vec![NDJSON], b"\n \n".to_vec(), 422),
        ("a scalar", vec![json], b"5".to_vec(), 422),
        ("an unsupported media type", vec![("content-type", "text/csv")], b"a,b".to_vec(), 415),
        ("an unsupported coding", vec![("content-encoding", "br")], b"{}".to_vec(), 415),
        ("a long key", vec![("idempotency-key", &"k".repeat(256)[..])], CITY.into(), 400),
    ] {
        let answer = function.post("/events/city", &headers, body).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{name}");
        for member in ["type", "title", "status", "detail", "request_id"] {
            assert!(answer.body.get(member).is_some(), "{name}: {member}");
        }
    }
    assert_eq!(function.post("/events/no-such-stream", &[], CITY).await.status, StatusCode::NOT_FOUND);
    assert_eq!(function.post("/events/city", &[], CITY).await.status, StatusCode::ACCEPTED);
    assert_eq!(function.records("city").await.len(), 1);
    function.end().await;
}

#[tokio::test]
async fn the_largest_event_with_the_largest_headers_fits_into_a_record() {
    let function = TestIngest::start().await;
    let event = |bytes: usize| {
        let empty = r#"{"action":"M","prefix":""}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - empty.len())))
    };
    let key = "k".repeat(255);
    let trace = "t".repeat(15_000);
    let cloud = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-trace", &trace[..]),
        ("idempotency-key", &key[..]),
    ];
    let answer = function.post("/events/changes", &cloud, event(1_000_000)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let longer = "t".repeat(17_000);
    let cloud = [cloud[0], cloud[1], cloud[2], cloud[3], ("ce-trace", &longer[..])];
    assert_eq!(function.post("/events/changes", &cloud, event(1_000)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    function.end().await;
}

#[tokio::test]
async fn a_batch_of_ten_thousand_events_is_accepted() {
    let function = TestIngest::start().await;
    let answer = function.post("/events/route", &[NDJSON], format!("{ROUTE}\n").repeat(10_000)).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (StatusCode::ACCEPTED, &json!(10_000)));
    assert_eq!(receipts(&answer).len(), 10_000);
    assert_eq!(function.records("routes").await.len(), 10_000);
    function.end().await;
}
