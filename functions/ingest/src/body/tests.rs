use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn headers(headers: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        Some((HeaderName::try_from(*name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    headers.iter().filter_map(header).collect()
}

fn wait_for<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|_| Error::malformed("no runtime"))?.block_on(future)
}

fn posted(given: &[(&str, &str)], body: impl Into<Body>) -> Result<Posted, Error> {
    wait_for(read(&headers(given), body.into()))
}

fn of_type(content_type: &str, body: impl Into<Body>) -> Result<Posted, Error> {
    posted(&[("content-type", content_type)], body)
}

fn texts(posted: &Posted) -> Vec<String> {
    (0..posted.len())
        .filter_map(|index| posted.event(index).ok())
        .map(|event| String::from_utf8_lossy(&event.text).into_owned())
        .collect()
}

/// Status, and line and column where the problem has them.
fn refusal(result: Result<Posted, Error>) -> (u16, Value, Value) {
    let events = |posted: Posted| match (0..posted.len()).find_map(|index| posted.event(index).err()) {
        Some(Unreadable::NotJson(error)) => Err(Error::NotJson(error)),
        Some(Unreadable::TooLarge) => Err(Error::TooLarge("")),
        Some(Unreadable::Wrong(errors)) => Err(Error::Violations(errors)),
        None => Ok(()),
    };
    match result.and_then(events) {
        Ok(()) => (200, Value::Null, Value::Null),
        Err(error) => {
            let body = error.problem().body("");
            (error.problem().status().as_u16(), body["line"].clone(), body["column"].clone())
        }
    }
}

#[test]
fn an_event_is_taken_byte_by_byte_as_it_was_sent() {
    let event = "{ \"b\" : 1.50,\t\"a\":\"\\u00e9 é\" }";
    for (content_type, body) in [
        ("application/json", format!("\n {event}\r\n")),
        ("application/json; charset=UTF-8", format!("[{event} ]")),
        ("application/x-ndjson", format!("\n\n  \r\n{event}\r\n\n")),
        ("application/cloudevents+json", cloud_event(event)),
        ("application/cloudevents-batch+json", format!("[ {} ]", cloud_event(event))),
    ] {
        let posted = of_type(content_type, body).map(|posted| texts(&posted));
        assert_eq!(posted.ok(), Some(vec![event.to_owned()]), "{content_type}");
    }
    assert_eq!(posted(&[], event).map(|posted| texts(&posted)).ok(), Some(vec![event.to_owned()]));
}

#[test]
fn an_array_and_lines_are_batches_and_one_object_is_none() {
    let is_batch = |content_type: &str, body: &'static str| of_type(content_type, body).map(|p| p.is_batch()).ok();
    assert_eq!(is_batch("application/json", "{}"), Some(false));
    assert_eq!(is_batch("application/json", " [{}]"), Some(true));
    assert_eq!(is_batch("application/x-ndjson", "{}"), Some(true));
    assert_eq!(of_type("application/json", "[]").map(|posted| posted.len()).ok(), Some(0));
    assert_eq!(of_type("application/x-ndjson", " \n").map(|posted| posted.len()).ok(), Some(0));
}

#[test]
fn what_is_not_json_is_refused_with_its_line_and_column_in_the_body() {
    let at = |line: u8, column: u8| (400, json!(line), json!(column));
    assert_eq!(refusal(of_type("application/json", "{\"a\":\n  nope}")), at(2, 4));
    assert_eq!(refusal(of_type("application/json", "")), at(1, 1));
    assert_eq!(refusal(of_type("application/json", "[{},\n {\"a\":1, \"a\":2}]")), at(2, 15));
    assert_eq!(refusal(of_type("application/json", "[{},\n {\"a\":1,\n\"a\":2}]")), at(3, 6));
    assert_eq!(refusal(of_type("application/json", "[{},\n {\"a\":}]")), at(2, 7));
    assert_eq!(refusal(of_type("application/x-ndjson", "{}\n\n  {\"a\":}\n{}")), at(3, 8));
    assert_eq!(refusal(of_type("application/json", "\u{feff}{}")), at(1, 1));
    assert_eq!(refusal(of_type("application/json", &b"{\"a\":\"\xff\"}"[..])).0, 400);
    assert_eq!(refusal(of_type("application/json", "[".repeat(100_000))).0, 400);
    assert_eq!(refusal(of_type("application/json", "[".repeat(100_000) + &"]".repeat(100_000))).0, 400);
}

#[test]
fn a_batch_of_cloud_events_is_an_array() {
    let batch = |body: &str| match of_type("application/cloudevents-batch+json", body.to_owned()) {
        Err(error) => error.problem().body(""),
        Ok(_) => json!("taken"),
    };
    let object = batch(&cloud_event("{}"));
    assert_eq!((&object["status"], &object["type"]), (&json!(422), &json!("/problems/contract")));
    assert_eq!(object["errors"][0]["detail"], json!("should be an array of CloudEvents"));
    assert_eq!(batch("7")["status"], json!(422));
    for (broken, line, column) in [("", 1, 1), ("{\n", 2, 1), ("[{}\n", 2, 1), ("nope", 1, 2)] {
        let problem = batch(broken);
        let place = (&problem["status"], &problem["line"], &problem["column"]);
        assert_eq!(place, (&json!(400), &json!(line), &json!(column)), "{broken:?}");
    }
}

#[test]
fn an_object_that_is_named_as_a_number_is_within_stays_an_object() {
    let seven = r#"{"\u0024serde_json::private::Number":"7"}"#;
    let expected: Value =
        Value::Object([("$serde_json::private::Number".to_owned(), json!("7"))].into_iter().collect());
    for (content_type, body) in [
        ("application/json", seven.to_owned()),
        ("application/json", format!("[{seven}]")),
        ("application/x-ndjson", seven.to_owned()),
        ("application/cloudevents+json", cloud_event(seven)),
        ("application/cloudevents-batch+json", format!("[{}]", cloud_event(seven))),
    ] {
        let event = of_type(content_type, body).ok().and_then(|posted| posted.event(0).ok());
        assert_eq!(event.map(|event| event.value), Some(expected.clone()), "{content_type}");
    }
    assert_eq!(form("%24serde_json%3A%3Aprivate%3A%3ANumber=7", None), Ok(expected));
    let attribute = cloud_event("{}").replacen('{', &format!("{{\"count\":{seven},"), 1);
    assert_eq!(complaints(of_type("application/cloudevents+json", attribute)), ["/count"]);
}

#[test]
fn a_body_of_6_mib_is_taken_and_one_byte_more_is_not() {
    let lines = |bytes: usize| {
        let line = format!("\"{}\"\n", "x".repeat(999_997));
        let mut body = line.repeat(6);
        body.extend(std::iter::repeat_n(' ', bytes - body.len()));
        body
    };
    assert_eq!(refusal(of_type("application/x-ndjson", lines(BODY_BYTES))).0, 200);
    assert_eq!(refusal(of_type("application/x-ndjson", lines(BODY_BYTES + 1))).0, 413);
}

#[test]
fn an_event_of_1000000_bytes_is_taken_and_one_byte_more_is_not() {
    let event = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert_eq!(refusal(of_type("application/json", event(1_000_000))).0, 200);
    assert_eq!(refusal(of_type("application/json", event(1_000_001))).0, 413);
    assert_eq!(refusal(of_type("application/json", format!("[1, {}]", event(1_000_001)))).0, 413);
}

#[test]
fn a_batch_of_10000_events_is_taken_and_one_more_is_not() {
    let array = |events: usize| format!("[{}]", vec!["{}"; events].join(","));
    assert_eq!(refusal(of_type("application/json", array(10_000))).0, 200);
    assert_eq!(refusal(of_type("application/json", array(10_001))).0, 413);
    assert_eq!(refusal(of_type("application/x-ndjson", "{}\n".repeat(10_000))).0, 200);
    assert_eq!(refusal(of_type("application/x-ndjson", "{}\n".repeat(10_001))).0, 413);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap_or_default()
}

#[test]
fn gzip_and_zstd_are_decoded_up_to_the_limit() {
    for coding in ["gzip", "zstd"] {
        let encode = if coding == "gzip" { gzip } else { zstd };
        let send = |text: &[u8]| posted(&[("content-encoding", coding)], encode(text));
        assert_eq!(send(b"{\"a\": 1}").map(|posted| texts(&posted)).ok(), Some(vec!["{\"a\": 1}".to_owned()]));
        let two = [encode(b"{\"a\""), encode(b": 1}")].concat();
        let two = posted(&[("content-encoding", coding)], two).map(|posted| texts(&posted)).ok();
        assert_eq!(two, Some(vec!["{\"a\": 1}".to_owned()]), "{coding}: two frames");
        assert_eq!(refusal(send(&vec![b' '; BODY_BYTES + 1])).0, 413, "{coding}");
        let bomb = encode(&vec![b' '; 500_000_000]);
        assert!(bomb.len() < BODY_BYTES);
        assert_eq!(refusal(posted(&[("content-encoding", coding)], bomb)).0, 413, "{coding}");
        let mut cut = encode(b"{\"a\": 1}");
        cut.truncate(cut.len() - 2);
        assert_eq!(refusal(posted(&[("content-encoding", coding)], cut)).0, 400, "{coding}: cut short");
        assert_eq!(refusal(posted(&[("content-encoding", coding)], "{}")).0, 400, "{coding}: not encoded");
    }
    assert_eq!(refusal(posted(&[("content-encoding", "identity")], "{}")).0, 200);
    assert_eq!(refusal(posted(&[("content-encoding", "br")], "{}")).0, 415);
    assert_eq!(refusal(posted(&[("content-encoding", "gzip, gzip")], "{}")).0, 415);
}

#[test]
fn a_body_that_ends_before_its_end_is_no_event() {
    let chunks = [Ok(Bytes::from("{}")), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
    assert_eq!(refusal(posted(&[], Body::from_stream(futures::stream::iter(chunks)))).0, 400);
}

#[test]
fn only_the_listed_media_types_are_taken() {
    for refused in [
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        "",
    ] {
        assert_eq!(refusal(of_type(refused, "{}")).0, 415, "{refused}");
    }
    for accepted in ["APPLICATION/JSON", "application/json;charset=\"utf-8\"", "application/json; profile=x"] {
        assert_eq!(refusal(of_type(accepted, "{}")).0, 200, "{accepted}");
    }
}

fn cloud_event(data: &str) -> String {
    format!("{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\": {data} }}")
}

fn record_headers(event: &Event) -> Value {
    event
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_deref().unwrap_or_default())))
        .collect()
}

/// The pointers and headers that are complained of.
fn complaints(result: Result<Posted, Error>) -> Vec<String> {
    let errors = match result.map(|posted| posted.event(0)) {
        Ok(Ok(event)) => event.errors,
        Ok(Err(Unreadable::Wrong(errors))) => errors,
        Ok(Err(Unreadable::NotJson(_) | Unreadable::TooLarge)) | Err(_) => return vec!["unreadable".to_owned()],
    };
    errors.into_iter().map(|error| error.header.unwrap_or(error.pointer)).collect()
}

#[test]
fn a_structured_cloud_events_attributes_are_record_headers() {
    let body = r#"{"specversion":"1.0","id":"é1","source":"/s","type":"t","datacontenttype":"application/vnd.x+json",
                   "count":5,"live":true,"none":null,"data":{"a":1}}"#;
    let event = of_type("application/cloudevents+json", body).ok().and_then(|posted| posted.event(0).ok());
    let expected = json!([
        "ce_count: 5",
        "ce_id: é1",
        "ce_live: true",
        "ce_source: /s",
        "ce_specversion: 1.0",
        "ce_type: t",
        "content-type: application/vnd.x+json"
    ]);
    assert_eq!(event.as_ref().map(record_headers), Some(expected));
    assert_eq!(event.map(|event| (event.within, event.value)), Some(("/data", json!({"a": 1}))));
}

#[test]
fn a_binary_cloud_events_attributes_are_decoded_from_http_headers() {
    let given = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "\"a \\\"b\\\"\""),
        ("ce-source", "/s%20t"),
        ("ce-type", "Euro%20%E2%82%AC"),
        ("ce-trace", "7"),
    ];
    let posted = posted(&given, "[1]").ok();
    assert_eq!(posted.as_ref().map(Posted::is_batch), Some(false));
    let event = posted.and_then(|posted| posted.event(0).ok());
    let mut headers = event.as_ref().map(record_headers).unwrap_or_default();
    if let Some(headers) = headers.as_array_mut() {
        headers.sort_by_key(Value::to_string);
    }
    let expected = [
        "ce_id: a \"b\"",
        "ce_source: /s t",
        "ce_specversion: 1.0",
        "ce_trace: 7",
        "ce_type: Euro €",
        "content-type: application/json",
    ];
    assert_eq!(headers, json!(expected));
    assert_eq!(event.map(|event| (event.text, event.errors)), Some(("[1]".into(), Vec::new())));
}

#[test]
fn a_cloud_event_without_what_it_needs_is_refused_at_its_place() {
    let structured = |body: &'static str| complaints(of_type("application/cloudevents+json", body));
    assert_eq!(structured("{\"data\":{}}"), ["/specversion", "/id", "/source", "/type"]);
    assert_eq!(structured("[]"), [""]);
    let with = |members: &str| {
        let event = format!("{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"{members}}}");
        complaints(of_type("application/cloudevents+json", event))
    };
    assert_eq!(with(",\"data\":{}"), Vec::<String>::new());
    assert_eq!(with(""), ["/data"]);
    assert_eq!(with(",\"data\":1,\"data_base64\":\"MQ==\""), ["/data_base64"]);
    assert_eq!(with(",\"data_base64\":\"?\""), ["/data_base64"]);
    assert_eq!(with(",\"data_base64\":\"e30\""), ["/data_base64"]);
    assert_eq!(with(",\"data_base64\":\"fQ==\""), ["/data_base64"]);
    assert_eq!(with(",\"data\":1,\"datacontenttype\":\"text/xml\""), ["/datacontenttype"]);
    assert_eq!(
        with(",\"data\":1,\"Big\":\"x\",\"list\":[],\"bad\":\"\\u0007\",\"half\":1.5"),
        ["/Big", "/bad", "/half", "/list"]
    );
    let old = r#"{"specversion":"0.3","id":"","source":1,"type":null,"data":1}"#;
    assert_eq!(complaints(of_type("application/cloudevents+json", old)), ["/id", "/source", "/specversion", "/type"]);
}

#[test]
fn a_binary_cloud_event_without_what_it_needs_is_refused_by_header() {
    let given = [("ce-specversion", "0.3"), ("ce-id", "1"), ("ce-id", "2"), ("ce-datacontenttype", "application/json")];
    let mut found = complaints(posted(&given, "{}"));
    found.sort();
    assert_eq!(found, ["ce-datacontenttype", "ce-id", "ce-source", "ce-specversion", "ce-type"]);
    let xml = [("ce-specversion", "1.0"), ("content-type", "text/xml")];
    assert_eq!(refusal(posted(&xml, "{}")).0, 415);
}

#[test]
fn data_in_base64_is_decoded_to_its_json() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"IHsiYSI6MS41MH0K"}"#;
    let event = of_type("application/cloudevents+json", body).ok().and_then(|posted| posted.event(0).ok());
    assert_eq!(event.map(|event| event.text), Some("{\"a\":1.50}".into()));
}

fn form(fields: &str, query: Option<&str>) -> Result<Value, u16> {
    let contract = shared::contract::Registry::load(None).ok().and_then(|r| r.stream("city").cloned());
    let contract = contract.ok_or(0_u16)?;
    let headers = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let posted = wait_for(read_entity(&headers, query, fields.to_owned().into(), &contract));
    let event = posted.map(|posted| posted.event(0).map(|event| event.value).unwrap_or_default());
    event.map_err(|error| error.problem().status().as_u16())
}

#[test]
fn a_forms_fields_become_what_the_contract_says_of_them() {
    let fields = "name=12&country=Iran&population=90000&area=&latitude=36.1890&longitude=east";
    let text = r#"{"name":"12","country":"Iran","population":90000,"area":null,"latitude":36.1890,"longitude":"east"}"#;
    assert_eq!(form(fields, None).ok(), serde_json::from_str(text).ok());
    assert_eq!(form("", Some("name=a&x=1")), Ok(json!({"name": "a", "x": "1"})));
    assert_eq!(form("name=a", Some("name=b")), Ok(json!({"name": "a"})));
    assert_eq!(form("name=a&name=b", None), Err(400));
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn an_array_lines_and_cloud_events_of_the_same_events_are_the_same_events(
        events in prop::collection::vec(arbitrary_json(), 0..20), blank in "[ \t\r]{0,3}",
    ) {
        let events: Vec<String> = events.iter().map(Value::to_string).collect();
        let array = format!("{blank}[{blank}{}{blank}]\n", events.join(&format!("{blank},\n")));
        let lines = events.join(&format!("{blank}\n{blank}\n"));
        let envelopes: Vec<String> = events.iter().map(|event| cloud_event(event)).collect();
        let batch = format!("[{}]", envelopes.join(","));
        for (content_type, body) in [
            ("application/json", array), ("application/x-ndjson", lines), ("application/cloudevents-batch+json", batch)
        ] {
            let posted = of_type(content_type, body);
            prop_assert_eq!(posted.map(|posted| texts(&posted)).ok(), Some(events.clone()));
        }
    }

    #[test]
    fn no_body_makes_reading_panic(
        body in prop::collection::vec(any::<u8>(), 0..64), kind in 0..4_usize, coding in 0..3_usize,
    ) {
        let types = ["application/json", "application/x-ndjson", "application/cloudevents+json",
                     "application/cloudevents-batch+json"];
        let codings = ["identity", "gzip", "zstd"];
        let _any = refusal(posted(&[("content-type", types[kind]), ("content-encoding", codings[coding])], body));
    }
}
