use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::support::TestIngest;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn fill(function: &TestIngest) {
    function
        .pool
        .execute(
            "insert into continents (name) values ('Asia'), ('Europe');
             insert into countries (continent, name, area) values
                 ('Asia', 'Iran', 1648195.5), ('Asia', 'Côte & \"x\"', null), ('Europe', 'Andorra', 468);
             insert into cities (country, name, population) select 'Iran', 'City ' || n, n from generate_series(1, 25) n;
             insert into cities (country, name) values ('Andorra', 'City 1');",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn the_method_sets_the_operation_without_changing_the_other_bytes() {
    let function = TestIngest::start().await;
    let body = r#"{ "country": "Iran","name": "Alvand",  "latitude": 36.1890}"#;
    for method in ["POST", "PUT", "DELETE"] {
        let answer = function.send(method, "/city", &[], body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(answer.body["accepted"], 1);
    }
    let values: Vec<String> = function.records("city").await.into_iter().map(|record| record.value).collect();
    let with = |op: &str| body.replacen('{', &format!("{{\"op\":\"{op}\","), 1);
    assert_eq!(values, [body.to_owned(), with("update"), with("delete")]);

    let other = r#"{"op": "create", "country": "Iran", "name": "Alvand"}"#;
    let answer = function.send("DELETE", "/city", &[], other).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body["errors"][0]["pointer"], "/op");
    function.end().await;
}

#[tokio::test]
async fn a_form_becomes_an_event_with_the_types_of_the_contract() {
    let function = TestIngest::start().await;
    let answer = function.post("/city", &[FORM], "country=Iran&name=S%C3%A3o+1&population=90000&area=").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let answer = function.send("DELETE", "/city?country=Iran&name=Alvand", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let mut events: Vec<Value> =
        function.records("city").await.iter().map(|record| serde_json::from_str(&record.value).unwrap()).collect();
    events.sort_by_key(|event| event["op"].is_string());
    assert_eq!(events[0], json!({"country": "Iran", "name": "São 1", "population": 90000, "area": null}));
    assert_eq!(events[1], json!({"op": "delete", "country": "Iran", "name": "Alvand"}));

    let answer = function.post("/city", &[FORM], "country=Iran&name=Alvand&population=many").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body["errors"][0]["pointer"], "/population");
    assert_eq!(function.post("/events/city", &[FORM], "name=a").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    function.end().await;
}

#[tokio::test]
async fn an_entity_is_found_by_any_spelling_of_its_name() {
    let function = TestIngest::start().await;
    fill(&function).await;
    let country = function.get("/country?name=Co%CC%82te+%26+%22x%22").await;
    assert_eq!((country.status, &country.body["continent"]), (StatusCode::OK, &json!("Asia")));
    function.pool.execute("insert into cities (country, name) values ('Côte & \"x\"', 'Bouak\u{e9}')").await.unwrap();
    let city = function.get("/city?country=Co%CC%82te+%26+%22x%22&name=Bouake%CC%81").await;
    assert_eq!((city.status, &city.body["name"]), (StatusCode::OK, &json!("Bouak\u{e9}")));
    let cities = function.get("/cities?country=Co%CC%82te+%26+%22x%22").await;
    assert_eq!(cities.body["items"].as_array().map(Vec::len), Some(1), "{cities:?}");
    // Both spellings result in the same record key, and so in the same partition. Otherwise, the order of the events
    // would be lost.
    for name in ["Bouak\u{e9}", "Bouake\u{301}"] {
        function.post("/continent", &[], json!({"name": name}).to_string()).await;
    }
    let keys: Vec<Option<String>> = function.records("continent").await.into_iter().map(|record| record.key).collect();
    assert_eq!(keys, [Some("Bouak\u{e9}".to_owned()), Some("Bouak\u{e9}".to_owned())]);
    function.end().await;
}

#[tokio::test]
async fn an_entity_is_found_by_its_key() {
    let function = TestIngest::start().await;
    fill(&function).await;
    let city = function.get("/city?country=Iran&name=City%207").await;
    assert_eq!(
        (city.status, &city.body["population"], &city.body["country"]),
        (StatusCode::OK, &json!(7), &json!("Iran"))
    );
    let country = function.get("/country?name=C%C3%B4te+%26+%22x%22").await;
    assert_eq!((&country.body["continent"], &country.body["area"]), (&json!("Asia"), &Value::Null));
    assert_eq!(function.get("/continent?name=Asia").await.body["id"], 1);
    for (path, status) in [
        ("/city?country=Iran&name=None", 404),
        ("/city?name=City%201", 400),
        ("/city?country=a&country=b&name=c", 400),
        ("/continent?name=%00", 400),
        ("/continent", 400),
    ] {
        assert_eq!(function.get(path).await.status, status, "{path}");
    }
    function.end().await;
}

#[tokio::test]
async fn a_list_of_entities_has_pages_and_can_be_limited_to_one_parent() {
    let function = TestIngest::start().await;
    fill(&function).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = function.get(&format!("/cities?country=Iran&limit=10{after}")).await.body;
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let mut expected: Vec<String> = (1..=25).map(|n| format!("City {n}")).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    let names = |body: &Value| -> Vec<String> {
        body["items"].as_array().unwrap().iter().map(|item| item["name"].to_string()).collect()
    };
    assert_eq!(names(&function.get("/countries?continent=Europe").await.body), ["\"Andorra\""]);
    assert_eq!(names(&function.get("/countries").await.body).len(), 3);
    assert_eq!(names(&function.get("/cities").await.body).len(), 26);
    assert_eq!(names(&function.get("/continents?limit=1").await.body), ["\"Asia\""]);
    assert_eq!(function.get("/countries?continent=None").await.body, json!({"items": [], "next": null}));
    assert_eq!(function.get("/cities?after=x").await.status, StatusCode::BAD_REQUEST);
    function.end().await;
}

#[tokio::test]
async fn a_table_accepts_no_commands_and_an_unknown_name_is_404() {
    let function = TestIngest::start().await;
    for (method, path, status, allow) in [
        ("POST", "/cities", 405, "GET, HEAD"),
        ("PATCH", "/cities", 405, "GET, HEAD"),
        ("PATCH", "/city", 405, "GET, HEAD, POST, PUT, DELETE"),
        ("GET", "/route", 404, ""),
        ("POST", "/routes_table", 404, ""),
        ("PATCH", "/nothing", 404, ""),
    ] {
        let answer = function.send(method, path, &[], "{}").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    function.end().await;
}
