use axum::http::StatusCode;
use serde_json::{Value, json};
use shared::ledger::Rejection;

use crate::support::{Answer, TestConsole};

/// Creates five letters of two streams, with different reasons. Returns their ids.
async fn letters(function: &TestConsole) -> [i64; 5] {
    let none = json!([]);
    let letter = async |topic: &str, offset: i64, payload: &str, code: &str, reason: &str| {
        let rejection = Rejection::new(code, reason);
        function.reject_because(topic, (0, offset), payload.as_bytes(), &none, &rejection).await
    };
    [
        letter("city", 0, r#"{"name": "Alvand"}"#, "already_exists", "it exists already").await,
        letter("city", 1, r#"{"name": "Qazvin"}"#, "not_found", "there is no such row").await,
        letter("routes", 0, "\u{fffd} no JSON", "not_json", "not JSON: expected value at line 1 column 1").await,
        letter("routes", 1, "{", "not_json", "not JSON: EOF while parsing at line 1 column 27").await,
        letter("routes", 2, "Alvand", "not_json", "not JSON: expected value at line 2 column 3").await,
    ]
}

async fn found(function: &TestConsole, query: &str) -> Vec<i64> {
    let answer = function.get(&format!("/dead-letters?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
    answer.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

async fn count(function: &TestConsole, filter: &Value) -> Value {
    let body = json!({"filter": filter, "dry_run": true}).to_string();
    function.post("/dead-letters/discard", &[], body).await.body["count"].clone()
}

#[tokio::test]
async fn each_filter_selects_the_same_letters_for_a_list_and_for_groups_and_for_a_discard() {
    let function = TestConsole::start().await;
    let [alvand, qazvin, first, eof, third] = letters(&function).await;
    // Moves one letter to the distant past, and gives another letter a different status.
    let old = "update sluice.dead_letters set created_at = '2020-01-01T00:00:00Z' where id = $1";
    sqlx::query(old).bind(qazvin).execute(&function.pool).await.unwrap();
    let replayed = "update sluice.dead_letters set status = 'replayed' where id = $1";
    sqlx::query(replayed).bind(third).execute(&function.pool).await.unwrap();

    let city = function.topic("city");
    let pattern = "not%20JSON:%20expected%20value%20at%20line%20%E2%80%A6%20column%20%E2%80%A6";
    for (query, filter, expected) in [
        (String::new(), json!({}), vec![qazvin, alvand, first, eof]),
        ("stream=city".to_owned(), json!({"stream": "city"}), vec![qazvin, alvand]),
        (format!("topic={city}"), json!({"topic": city}), vec![qazvin, alvand]),
        (format!("topic={city}&stream=route"), json!({"topic": city, "stream": "route"}), vec![]),
        ("topic=none".to_owned(), json!({"topic": "none"}), vec![]),
        ("error_code=not_json".to_owned(), json!({"error_code": "not_json"}), vec![first, eof]),
        ("reason=it+exists+already".to_owned(), json!({"reason": "it exists already"}), vec![alvand]),
        ("reason=it+exists".to_owned(), json!({"reason": "it exists"}), vec![]),
        // This reason is the name of a group.
        (format!("reason={pattern}"), json!({"reason": "not JSON: expected value at line … column …"}), vec![first]),
        ("contains=Alvand".to_owned(), json!({"contains": "Alvand"}), vec![alvand]),
        ("contains=EOF".to_owned(), json!({"contains": "EOF"}), vec![eof]),
        ("contains=%EF%BF%BD".to_owned(), json!({"contains": "\u{fffd}"}), vec![first]),
        ("until=2021-01-01T00:00:00Z".to_owned(), json!({"until": "2021-01-01T00:00:00Z"}), vec![qazvin]),
        ("until=2020-01-01T00:00:00Z".to_owned(), json!({"until": "2020-01-01T00:00:00Z"}), vec![]),
        (
            "since=2020-01-01T01:00:00%2B01:00".to_owned(),
            json!({"since": "2020-01-01T01:00:00+01:00"}),
            vec![qazvin, alvand, first, eof],
        ),
        ("since=2021-01-01T00:00:00Z".to_owned(), json!({"since": "2021-01-01T00:00:00Z"}), vec![alvand, first, eof]),
        (format!("ids={alvand},{third},{eof}"), json!({"ids": [alvand, third, eof]}), vec![alvand, eof]),
        (
            "stream=city&contains=Qazvin&error_code=not_found".to_owned(),
            json!({"stream": "city", "contains": "Qazvin", "error_code": "not_found"}),
            vec![qazvin],
        ),
    ] {
        assert_eq!(found(&function, &query).await, expected, "{query}");
        assert_eq!(count(&function, &filter).await, json!(expected.len()), "{filter}");
        let groups = function.get(&format!("/dead-letters/groups?{query}")).await.body;
        let grouped =
            groups["items"].as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(grouped, expected.len() as u64, "{query}: {groups}");
    }
    assert_eq!(found(&function, "status=replayed").await, [third]);
    assert_eq!(found(&function, "status=discarded").await, [0; 0]);
    assert_eq!(found(&function, &format!("status=replayed&ids={third}")).await, [third]);
    function.end().await;
}

#[tokio::test]
async fn a_text_is_found_whether_or_not_the_payload_escapes_it() {
    let function = TestConsole::start().await;
    let escaped = function.reject("city", 0, 0, br#"{"name": "K\u00f6ln"}"#, &json!([])).await;
    let plain = function.reject("city", 0, 1, "{\"name\": \"Köln\"}".as_bytes(), &json!([])).await;
    function.reject("city", 0, 2, b"{}", &json!([])).await;
    assert_eq!(found(&function, "contains=K%C3%B6ln").await, [escaped, plain]);
    assert_eq!(count(&function, &json!({"contains": "Köln"})).await, json!(2));
    function.end().await;
}

#[tokio::test]
async fn unknown_and_malformed_filters_are_refused_in_queries_and_bodies_alike() {
    let function = TestConsole::start().await;
    let refused = |answer: Answer, what: &str| {
        let expected = (StatusCode::BAD_REQUEST, &json!("/problems/malformed"));
        assert_eq!((answer.status, &answer.body["type"]), expected, "{what}: {answer:?}");
    };
    for query in [
        "cause=1",
        "stream=none",
        "since=yesterday",
        "until=2026-05-07",
        "status=closed",
        "ids=1,x",
        "ids=",
        "topic=a&topic=b",
    ] {
        for path in ["/dead-letters", "/dead-letters/groups"] {
            refused(function.get(&format!("{path}?{query}")).await, &format!("{path}?{query}"));
        }
    }
    for body in [
        r#"{"filter": {"cause": 1}, "dry_run": true}"#,
        r#"{"filter": {"stream": "none"}, "dry_run": true}"#,
        r#"{"filter": {"since": "yesterday"}, "dry_run": true}"#,
        r#"{"filter": {"status": "closed"}, "dry_run": true}"#,
        r#"{"filter": {"status": "replayed"}, "dry_run": true}"#,
        r#"{"filter": {"ids": "1"}, "dry_run": true}"#,
        r#"{"filter": {"ids": [1.5]}, "dry_run": true}"#,
        r#"{"filter": {"contains": "\u0000"}, "dry_run": true}"#,
        r#"{"filter": {}, "dry_run": true, "force": true}"#,
        r#"{"dry_run": true}"#,
        r#"{"filter": {}}"#,
        r#"{"filter": {}, "note": ""}"#,
        r#"{"filter": {}, "note": " \n "}"#,
        "[]",
        "",
    ] {
        refused(function.post("/dead-letters/discard", &[], body).await, body);
    }
    let ids = (0..1_001).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    refused(function.get(&format!("/dead-letters?ids={ids}")).await, "1,001 ids");
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let answer = function.post("/dead-letters/discard", &[(name, value)], "{}").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{name}");
    }
    let large = format!(r#"{{"filter": {{"contains": "{}"}}}}"#, "x".repeat(1_200_000));
    assert_eq!(function.post("/dead-letters/discard", &[], large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    function.end().await;
}

#[tokio::test]
async fn a_mistake_in_a_body_is_reported_with_its_place_and_a_plain_description() {
    let function = TestConsole::start().await;
    let id = function.reject("routes", 0, 1, b"{}", &json!([])).await;
    let (replays, discard) = ("/dead-letters/replays", "/dead-letters/discard");
    let replay = format!("/dead-letters/{id}/replay");
    for (path, body, pointer, detail) in [
        (discard, "[{}, null, true]", "", "must be an object"),
        (discard, "\"filter\"", "", "must be an object"),
        (discard, "null", "", "must be an object"),
        (discard, r#"{"filter": ["route"], "dry_run": true}"#, "/filter", "must be an object"),
        (discard, r#"{"filter": {"ids": 1}}"#, "/filter/ids", "must be an array of ids"),
        (discard, r#"{"filter": {"ids": [1, 1.5]}}"#, "/filter/ids/1", "must be a whole number"),
        (discard, r#"{"filter": {"stream": ["route"]}}"#, "/filter/stream", "must be a string"),
        (discard, r#"{"filter": {}, "note": 7}"#, "/note", "must be a string"),
        (discard, r#"{"filter": {"stream": null}, "note": "x"}"#, "/filter/stream", "must be a string"),
        (discard, r#"{"filter": {"ids": null}, "note": "x"}"#, "/filter/ids", "must be an array of ids"),
        (replays, r#"{"filter": {"reason": null}}"#, "/filter/reason", "must be a string"),
        (discard, r#"{"note": "x"}"#, "/filter", "is missing"),
        (replays, "[{}, true]", "", "must be an object"),
        (replays, "7", "", "must be an object"),
        (replays, r#"{"filter": {}, "dry_run": 1}"#, "/dry_run", "must be true or false"),
        (replays, r#"{"filter": {}, "force": null}"#, "/force", "must be true or false"),
        (
            replays,
            r#"{"filter": {}, "note/": "x"}"#,
            "/note~1",
            "is not allowed here; the object may have only these members: filter, dry_run, force",
        ),
        (&replay, r#"[{"userID": 5}]"#, "", "must be an object"),
        (&replay, "{}", "/event", "is missing"),
    ] {
        let answer = function.post(path, &[], body).await;
        let expected = (StatusCode::BAD_REQUEST, &json!("/problems/malformed"));
        assert_eq!((answer.status, &answer.body["type"]), expected, "{body}: {answer:?}");
        assert_eq!(answer.body["errors"], json!([{"pointer": pointer, "detail": detail}]), "{body}");
        assert!(answer.body["detail"].as_str().unwrap().ends_with(&format!("{detail}.")), "{answer:?}");
    }
    for path in [replays, discard, &replay] {
        for (body, column, detail) in [
            ("{", 1, "the text ends within an object"),
            ("x", 1, "a value must follow here"),
            ("{} {}", 4, "more text follows the value"),
        ] {
            let answer = function.post(path, &[], body).await;
            let place = ["type", "line", "column", "detail"].map(|member| &answer.body[member]);
            let expected = [&json!("/problems/not-json"), &json!(1), &json!(column), &json!(detail)];
            assert_eq!((answer.status, place), (StatusCode::BAD_REQUEST, expected), "{path} {body}");
        }
    }
    let open = function.get("/dead-letters").await.body;
    assert_eq!(open["items"].as_array().map(Vec::len), Some(1), "no letter was replayed or discarded");
    function.end().await;
}

#[tokio::test]
async fn each_letter_is_listed_once_even_if_several_were_rejected_at_the_same_moment() {
    let function = TestConsole::start().await;
    let mut expected = Vec::new();
    for offset in 0..7 {
        expected.push(function.reject("city", 0, offset, b"{}", &json!([])).await);
    }
    sqlx::query("update sluice.dead_letters set created_at = now()").execute(&function.pool).await.unwrap();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = function.get(&format!("/dead-letters?limit=2{after}")).await.body;
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, expected);
    function.end().await;
}
