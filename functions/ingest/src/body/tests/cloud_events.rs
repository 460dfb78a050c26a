//! CloudEvents in the three content modes of HTTP: structured, binary and batched.

use super::*;

#[test]
fn a_batch_of_cloud_events_must_be_an_array() {
    let batch = |body: &str| match of_type("application/cloudevents-batch+json", body.to_owned()) {
        Err(error) => error.problem().body(""),
        Ok(_) => json!("accepted"),
    };
    let object = batch(&cloud_event("{}"));
    assert_eq!((&object["status"], &object["type"]), (&json!(422), &json!("/problems/contract")));
    assert_eq!(object["errors"][0]["detail"], json!("must be an array of CloudEvents"));
    assert_eq!(batch("7")["status"], json!(422));
    for (broken, line, column) in [("", 1, 1), ("{\n", 2, 1), ("[{}\n", 2, 1), ("nope", 1, 2)] {
        let problem = batch(broken);
        let place = (&problem["status"], &problem["line"], &problem["column"]);
        assert_eq!(place, (&json!(400), &json!(line), &json!(column)), "{broken:?}");
    }
}

fn record_headers(event: &PostedEvent) -> Value {
    event
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_deref().unwrap_or_default())))
        .collect()
}

#[test]
fn attributes_of_a_structured_cloud_event_become_record_headers() {
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
fn attributes_of_a_binary_cloud_event_are_decoded_from_http_headers() {
    let given = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "\"a \\\"b\\\"\""),
        ("ce-source", "/s%2520t"),
        ("ce-type", "Euro%20%E2%82%AC"),
        ("ce-trace", "7"),
    ];
    let posted = posted(&given, "[1]").ok();
    assert_eq!(posted.as_ref().map(PostedEvents::is_batch), Some(false));
    let event = posted.and_then(|posted| posted.event(0).ok());
    let mut headers = event.as_ref().map(record_headers).unwrap_or_default();
    if let Some(headers) = headers.as_array_mut() {
        headers.sort_by_key(Value::to_string);
    }
    let expected = [
        "ce_id: a \"b\"",
        "ce_source: /s%20t",
        "ce_specversion: 1.0",
        "ce_trace: 7",
        "ce_type: Euro €",
        "content-type: application/json",
    ];
    assert_eq!(headers, json!(expected));
    assert_eq!(event.map(|event| (event.text, event.errors)), Some(("[1]".into(), Vec::new())));
}

#[test]
fn each_error_in_a_structured_cloud_event_has_a_json_pointer() {
    let structured = |body: &'static str| wrong_places(of_type("application/cloudevents+json", body));
    assert_eq!(structured("{\"data\":{}}"), ["/specversion", "/id", "/source", "/type"]);
    assert_eq!(structured("[]"), [""]);
    let with = |members: &str| {
        let event = format!("{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"{members}}}");
        wrong_places(of_type("application/cloudevents+json", event))
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
    assert_eq!(
        with(
            ",\"data\":1,\"time\":\"yesterday\",\"subject\":\"\",\"dataschema\":\"order.json\",\"datacontenttype\":\"\""
        ),
        ["/datacontenttype", "/dataschema", "/subject", "/time"]
    );
    assert_eq!(
        with(
            ",\"data\":1,\"time\":7,\"subject\":true,\"dataschema\":{},\"datacontenttype\":false,\"count\":2147483648"
        ),
        ["/count", "/datacontenttype", "/dataschema", "/subject", "/time"]
    );
    let batch = format!("[{}]", cloud_event("1").replacen('{', "{\"time\":\"yesterday\",\"subject\":\"\",", 1));
    assert_eq!(wrong_places(of_type("application/cloudevents-batch+json", batch)), ["/subject", "/time"]);
    let old = r#"{"specversion":"0.3","id":"","source":1,"type":null,"data":1}"#;
    assert_eq!(wrong_places(of_type("application/cloudevents+json", old)), ["/id", "/source", "/specversion", "/type"]);
}

#[test]
fn each_error_in_a_binary_cloud_event_says_which_header_is_wrong() {
    let given = [("ce-specversion", "0.3"), ("ce-id", "1"), ("ce-id", "2"), ("ce-datacontenttype", "application/json")];
    let mut found = wrong_places(posted(&given, "{}"));
    found.sort();
    assert_eq!(found, ["ce-datacontenttype", "ce-id", "ce-source", "ce-specversion", "ce-type"]);
    let given = [
        ("ce-specversion", "1.0"),
        ("ce-id", ""),
        ("ce-source", "a b"),
        ("ce-type", "t"),
        ("ce-time", "2019-05-07 19:54:13"),
        ("ce-subject", ""),
        ("ce-dataschema", "/relative"),
        ("ce-data", "x"),
        ("ce-with-dash", "x"),
    ];
    let mut found = wrong_places(posted(&given, "{}"));
    found.sort();
    let expected = ["ce-data", "ce-dataschema", "ce-id", "ce-source", "ce-subject", "ce-time", "ce-with-dash"];
    assert_eq!(found, expected);
    let xml = [("ce-specversion", "1.0"), ("content-type", "text/xml")];
    assert_eq!(rejection(posted(&xml, "{}")).0, 415);
}

#[test]
fn base64_data_is_decoded() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"IHsiYSI6MS41MH0K"}"#;
    let event = of_type("application/cloudevents+json", body).ok().and_then(|posted| posted.event(0).ok());
    assert_eq!(event.map(|event| event.text), Some("{\"a\":1.50}".into()));
}
