use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decode::MAX_BODY_BYTES;
use super::*;

mod cloud_events;

fn headers(headers: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        Some((HeaderName::try_from(*name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    headers.iter().filter_map(header).collect()
}

fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(|_| Error::malformed("no runtime"))?.block_on(future)
}

fn posted(given: &[(&str, &str)], body: impl Into<Body>) -> Result<PostedEvents, Error> {
    block_on(read(&headers(given), body.into()))
}

fn of_type(content_type: &str, body: impl Into<Body>) -> Result<PostedEvents, Error> {
    posted(&[("content-type", content_type)], body)
}

fn texts(posted: &PostedEvents) -> Vec<String> {
    (0..posted.len())
        .filter_map(|index| posted.event(index).ok())
        .map(|event| String::from_utf8_lossy(&event.text).into_owned())
        .collect()
}

/// Returns the status, and the line and column if the problem has them.
fn rejection(result: Result<PostedEvents, Error>) -> (u16, Value, Value) {
    let events = |posted: PostedEvents| match (0..posted.len()).find_map(|index| posted.event(index).err()) {
        Some(Unreadable::NotJson(error)) => Err(Error::NotJson(error)),
        Some(Unreadable::TooLarge) => Err(Error::TooLarge("")),
        Some(Unreadable::Envelope(errors)) => Err(Error::Violations(errors)),
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
fn an_event_keeps_its_bytes_as_posted() {
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
fn an_array_or_lines_are_a_batch_and_one_object_is_not() {
    let is_batch = |content_type: &str, body: &'static str| of_type(content_type, body).map(|p| p.is_batch()).ok();
    assert_eq!(is_batch("application/json", "{}"), Some(false));
    assert_eq!(is_batch("application/json", " [{}]"), Some(true));
    assert_eq!(is_batch("application/x-ndjson", "{}"), Some(true));
    assert_eq!(of_type("application/json", "[]").map(|posted| posted.len()).ok(), Some(0));
    assert_eq!(of_type("application/x-ndjson", " \n").map(|posted| posted.len()).ok(), Some(0));
}

#[test]
fn invalid_json_is_rejected_with_the_line_and_column_of_the_error_in_the_posted_body() {
    let at = |line: u8, column: u8| (400, json!(line), json!(column));
    assert_eq!(rejection(of_type("application/json", "{\"a\":\n  nope}")), at(2, 4));
    assert_eq!(rejection(of_type("application/json", "")), at(1, 1));
    assert_eq!(rejection(of_type("application/json", "[{},\n {\"a\":1, \"a\":2}]")), at(2, 15));
    assert_eq!(rejection(of_type("application/json", "[{},\n {\"a\":1,\n\"a\":2}]")), at(3, 6));
    assert_eq!(rejection(of_type("application/json", "[{},\n {\"a\":}]")), at(2, 7));
    assert_eq!(rejection(of_type("application/x-ndjson", "{}\n\n  {\"a\":}\n{}")), at(3, 8));
    assert_eq!(rejection(of_type("application/json", "\u{feff}{}")), at(1, 1));
    assert_eq!(rejection(of_type("application/json", &b"{\"a\":\"\xff\"}"[..])).0, 400);
    assert_eq!(rejection(of_type("application/json", "[".repeat(100_000))).0, 400);
    assert_eq!(rejection(of_type("application/json", "[".repeat(100_000) + &"]".repeat(100_000))).0, 400);
}

#[test]
fn the_error_names_a_byte_order_mark_in_every_kind_of_body() {
    let event = |text: &str| format!("\u{feff}{text}").into_bytes();
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (given, body, line) in [
        (vec![("content-type", "application/json")], event("{}"), 1),
        (vec![("content-type", "application/json")], [b" \n", event("[{}]").as_slice()].concat(), 2),
        (vec![("content-type", "application/json")], utf16.clone(), 1),
        (vec![("content-type", "application/json"), ("content-encoding", "gzip")], gzip(&event("{}")), 1),
        (vec![("content-type", "application/json"), ("content-encoding", "zstd")], zstd(&utf16), 1),
        (vec![("content-type", "application/x-ndjson")], event("{}\n{}"), 1),
        (vec![("content-type", "application/x-ndjson")], [b"{}\n", event("{}").as_slice()].concat(), 2),
        (vec![("content-type", "application/x-ndjson")], utf16.clone(), 1),
        (vec![("content-type", "application/cloudevents+json")], event(&cloud_event("{}")), 1),
        (vec![("content-type", "application/cloudevents-batch+json")], event("[]"), 1),
        (vec![("content-type", "application/cloudevents-batch+json")], [b"\n", event("[]").as_slice()].concat(), 2),
    ] {
        let error = posted(&given, body).and_then(|posted| match posted.event(posted.len() - 1) {
            Err(Unreadable::NotJson(error)) => Err(Error::NotJson(error)),
            _ => posted.event(0).map(drop).map_err(|unreadable| match unreadable {
                Unreadable::NotJson(error) => Error::NotJson(error),
                Unreadable::TooLarge | Unreadable::Envelope(_) => Error::Empty,
            }),
        });
        let problem = error.err().map(|error| error.problem().body("")).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("byte order mark (UTF-"), "{given:?} {problem}");
        assert_eq!((&problem["status"], &problem["line"]), (&json!(400), &json!(line)), "{given:?}");
    }
}

#[test]
fn an_object_that_imitates_serde_jsons_numbers_stays_an_object() {
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
    assert_eq!(wrong_places(of_type("application/cloudevents+json", attribute)), ["/count"]);
}

#[test]
fn a_body_may_have_6_mib_and_not_a_byte_more() {
    let lines = |bytes: usize| {
        let line = format!("\"{}\"\n", "x".repeat(999_997));
        let mut body = line.repeat(6);
        body.extend(std::iter::repeat_n(' ', bytes - body.len()));
        body
    };
    assert_eq!(rejection(of_type("application/x-ndjson", lines(MAX_BODY_BYTES))).0, 200);
    assert_eq!(rejection(of_type("application/x-ndjson", lines(MAX_BODY_BYTES + 1))).0, 413);
}

#[test]
fn an_event_may_have_1000000_bytes_and_not_one_more() {
    let event = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert_eq!(rejection(of_type("application/json", event(1_000_000))).0, 200);
    assert_eq!(rejection(of_type("application/json", event(1_000_001))).0, 413);
    assert_eq!(rejection(of_type("application/json", format!("[1, {}]", event(1_000_001)))).0, 413);
}

#[test]
fn a_batch_may_have_10000_events_and_not_one_more() {
    let array = |events: usize| format!("[{}]", vec!["{}"; events].join(","));
    assert_eq!(rejection(of_type("application/json", array(10_000))).0, 200);
    assert_eq!(rejection(of_type("application/json", array(10_001))).0, 413);
    assert_eq!(rejection(of_type("application/x-ndjson", "{}\n".repeat(10_000))).0, 200);
    assert_eq!(rejection(of_type("application/x-ndjson", "{}\n".repeat(10_001))).0, 413);
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
        assert_eq!(rejection(send(&vec![b' '; MAX_BODY_BYTES + 1])).0, 413, "{coding}");
        let bomb = encode(&vec![b' '; 500_000_000]);
        assert!(bomb.len() < MAX_BODY_BYTES);
        assert_eq!(rejection(posted(&[("content-encoding", coding)], bomb)).0, 413, "{coding}");
        let mut cut = encode(b"{\"a\": 1}");
        cut.truncate(cut.len() - 2);
        assert_eq!(rejection(posted(&[("content-encoding", coding)], cut)).0, 400, "{coding}: cut short");
        assert_eq!(rejection(posted(&[("content-encoding", coding)], "{}")).0, 400, "{coding}: not encoded");
    }
    assert_eq!(rejection(posted(&[("content-encoding", "identity")], "{}")).0, 200);
    assert_eq!(rejection(posted(&[("content-encoding", "br")], "{}")).0, 415);
    assert_eq!(rejection(posted(&[("content-encoding", "gzip, gzip")], "{}")).0, 415);
}

#[test]
fn a_body_that_is_cut_short_is_rejected() {
    let chunks = [Ok(Bytes::from("{}")), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
    assert_eq!(rejection(posted(&[], Body::from_stream(futures::stream::iter(chunks)))).0, 400);
}

#[test]
fn only_the_listed_media_types_are_accepted() {
    for unsupported in [
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        "",
    ] {
        assert_eq!(rejection(of_type(unsupported, "{}")).0, 415, "{unsupported}");
    }
    for accepted in ["APPLICATION/JSON", "application/json;charset=\"utf-8\"", "application/json; profile=x"] {
        assert_eq!(rejection(of_type(accepted, "{}")).0, 200, "{accepted}");
    }
}

fn cloud_event(data: &str) -> String {
    format!("{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\": {data} }}")
}

/// Returns the place of each error: the header's name or the JSON pointer.
fn wrong_places(result: Result<PostedEvents, Error>) -> Vec<String> {
    let errors = match result.map(|posted| posted.event(0)) {
        Ok(Ok(event)) => event.errors,
        Ok(Err(Unreadable::Envelope(errors))) => errors,
        Ok(Err(Unreadable::NotJson(_) | Unreadable::TooLarge)) | Err(_) => return vec!["unreadable".to_owned()],
    };
    errors.into_iter().map(|error| error.header.unwrap_or(error.pointer)).collect()
}

fn form(fields: &str, query: Option<&str>) -> Result<Value, u16> {
    let contract = shared::contract::Registry::load(None).ok().and_then(|r| r.stream("city").cloned());
    let contract = contract.ok_or(0_u16)?;
    let headers = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let query = Fields::parse(query.unwrap_or_default().as_bytes()).map_err(|_| 0_u16)?;
    let posted = block_on(read_entity(&headers, query, fields.to_owned().into(), &contract));
    let event = posted.map(|posted| posted.event(0).map(|event| event.value).unwrap_or_default());
    event.map_err(|error| error.problem().status().as_u16())
}

#[test]
fn the_fields_of_a_form_take_the_types_of_the_contract() {
    let fields = "name=12&country=Iran&population=90000&area=&latitude=36.1890&longitude=east";
    let text = r#"{"name":"12","country":"Iran","population":90000,"area":null,"latitude":36.1890,"longitude":"east"}"#;
    assert_eq!(form(fields, None).ok(), serde_json::from_str(text).ok());
    assert_eq!(form("", Some("name=a&x=1")), Ok(json!({"name": "a", "x": "1"})));
    assert_eq!(form("name=a", Some("name=b")), Err(400));
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
    fn every_media_type_yields_the_same_events(
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
    fn reading_never_panics(
        body in prop::collection::vec(any::<u8>(), 0..64), kind in 0..4_usize, coding in 0..3_usize,
    ) {
        let types = ["application/json", "application/x-ndjson", "application/cloudevents+json",
                     "application/cloudevents-batch+json"];
        let codings = ["identity", "gzip", "zstd"];
        let _any = rejection(posted(&[("content-type", types[kind]), ("content-encoding", codings[coding])], body));
    }
}
