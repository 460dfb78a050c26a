use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use crate::support::{CITY, Lacking, NOW_MS, TestIngest};

#[tokio::test]
async fn a_receipt_leads_to_the_status_of_its_event() {
    let function = TestIngest::start().await;
    let topic = function.topic("city");
    function.apply("city", 3, 4, NOW_MS).await;
    function.reject("city", 3, 1, b"{}", &json!([])).await;
    function.keep_waiting("city", 3, 2, NOW_MS).await;
    function.repeat("city", 3, 3).await;
    for (offset, status) in [
        (0, json!({"status": "written"})),
        (1, json!({"status": "rejected", "reason": "it exists already"})),
        (2, json!({"status": "waiting"})),
        (3, json!({"status": "duplicate"})),
        (4, json!({"status": "pending"})),
        (i64::MAX, json!({"status": "pending"})),
    ] {
        let answer = function.get(&format!("/receipts/{topic}/3/{offset}")).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, status), "{offset}");
    }
    assert_eq!(function.get(&format!("/receipts/{topic}/0/0")).await.body, json!({"status": "pending"}));
    function.end().await;
}

#[tokio::test]
async fn several_receipts_are_looked_up_in_one_request() {
    let function = TestIngest::start().await;
    let topic = function.topic("city");
    function.apply("city", 3, 4, NOW_MS).await;
    function.reject("city", 3, 1, b"{}", &json!([])).await;
    let answer = function.get(&format!("/receipts?ids={topic}/3/1,{topic}/3/0,{topic}/0/7")).await;
    let item = |partition: i32, offset: i64| json!({"topic": topic, "partition": partition, "offset": offset});
    let mut items = [item(3, 1), item(3, 0), item(0, 7)];
    items[0]["status"] = json!("rejected");
    items[0]["reason"] = json!("it exists already");
    items[1]["status"] = json!("written");
    items[2]["status"] = json!("pending");
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"items": items, "next": null})));

    let hundred = vec![format!("{topic}/3/0"); 100].join(",");
    assert_eq!(
        function.get(&format!("/receipts?ids={hundred}")).await.body["items"].as_array().map(Vec::len),
        Some(100)
    );
    for (query, status) in [
        (format!("?ids={hundred},{topic}/3/0"), 400),
        ("?ids=".to_owned(), 400),
        (String::new(), 400),
        (format!("?ids={topic}/3"), 400),
        (format!("?ids={topic}/3/0/1"), 400),
        (format!("?ids={topic}/3/x"), 400),
        (format!("?ids={topic}/3/0,none/0/0"), 404),
    ] {
        assert_eq!(function.get(&format!("/receipts{query}")).await.status, status, "{query}");
    }
    function.end().await;
}

#[tokio::test]
async fn gaps_are_listed_in_pages() {
    let function = TestIngest::start().await;
    let insert = r#"insert into sluice.gaps (topic, "partition", incarnation, first_offset, last_offset, cause, noted_at)
                    select 'city', 0, 1, n * 10, n * 10 + 4, 'retention', '2026-05-07 19:54:13.5Z'
                    from generate_series(1, 3) n"#;
    sqlx::query(insert).execute(&function.pool).await.unwrap();
    let page = function.get("/gaps?limit=2").await.body;
    let first = json!({"destination": "postgresql", "topic": "city", "partition": 0, "first_offset": 10, "last_offset": 14,
                       "cause": "retention", "is_exact": true, "noted_at": "2026-05-07T19:54:13.5Z"});
    assert_eq!((&page["items"][0], page["items"].as_array().map(Vec::len)), (&first, Some(2)));
    let rest = function.get(&format!("/gaps?after={}", page["next"].as_str().unwrap())).await.body;
    assert_eq!((&rest["items"][0]["first_offset"], &rest["next"]), (&json!(30), &json!(null)));
    function.end().await;
}

#[tokio::test]
async fn the_status_of_a_pending_event_says_why_its_partition_is_stalled() {
    let function = TestIngest::start().await;
    let topic = function.topic("city");
    function.apply("city", 3, 4, NOW_MS).await;
    let insert = r#"insert into sluice.stalls (topic, "partition", reason, error_type, fault, since, last_failed_at)
                    values ($1, 3, 'A column is missing.', 'Sluice.Stop', 'operator', '2026-05-07 19:54:13.5', clock_timestamp())"#;
    sqlx::query(insert).bind(&topic).execute(&function.pool).await.unwrap();

    let pending = json!({"status": "pending", "stalled": "A column is missing."});
    assert_eq!(function.get(&format!("/receipts/{topic}/3/4")).await.body, pending);
    assert_eq!(function.get(&format!("/receipts/{topic}/3/3")).await.body, json!({"status": "written"}));
    assert_eq!(function.get(&format!("/receipts/{topic}/2/4")).await.body, json!({"status": "pending"}));
    let health = function.get("/health").await;
    let stall = json!({"topic": topic, "partition": 3, "destination": "postgresql", "reason": "A column is missing.",
                       "since": "2026-05-07T19:54:13.5Z"});
    assert_eq!((health.status, health.body["stalled"].clone()), (StatusCode::OK, json!([stall])));

    // The partition's events land again: the watermark advances after the latest failure.
    sqlx::query("update sluice.watermarks set updated_at = clock_timestamp()").execute(&function.pool).await.unwrap();
    assert_eq!(function.get("/health").await.body["stalled"], json!([]));
    assert_eq!(function.get(&format!("/receipts/{topic}/3/4")).await.body, json!({"status": "pending"}));
    function.end().await;
}

#[tokio::test]
async fn the_answer_after_a_wait_says_why_the_partition_is_stalled_even_if_the_lookup_is_slow() {
    let function = TestIngest::start().await;
    let topic = function.topic("city");
    let insert = r#"insert into sluice.stalls (topic, "partition", reason, error_type, fault, since, last_failed_at)
                    select $1, number, 'A column is missing.', 'Sluice.Stop', 'operator', now(), clock_timestamp()
                    from generate_series(0, 3) number"#;
    sqlx::query(insert).bind(&topic).execute(&function.pool).await.unwrap();
    let mut transaction = function.pool.begin().await.unwrap();
    sqlx::query("lock table sluice.stalls").execute(&mut *transaction).await.unwrap();
    let (answer, ()) = tokio::join!(function.post("/events/city", &[("prefer", "wait=0")], CITY), async {
        let blocked = "select count(*) from pg_locks where not granted and relation = 'sluice.stalls'::regclass";
        while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&function.pool).await.unwrap() == 0 {}
        // The lock is held for longer than a lookup usually takes.
        tokio::time::sleep(Duration::from_millis(30)).await;
        transaction.commit().await.unwrap();
    });
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    let [status, stalled] = ["status", "stalled"].map(|member| answer.body["receipts"][0][member].clone());
    assert_eq!((status, stalled), (json!("pending"), json!("A column is missing.")), "{}", answer.body);
    function.end().await;
}

#[tokio::test]
async fn unknown_topics_and_partitions_are_404_and_invalid_numbers_are_400() {
    let function = TestIngest::start().await;
    let topic = function.topic("city");
    for (path, status) in [
        (format!("/receipts/{topic}/4/0"), 404),
        (format!("/receipts/{topic}/2147483647/0"), 404),
        ("/receipts/city/0/0".to_owned(), 404),
        (format!("/receipts/{topic}/-1/0"), 400),
        (format!("/receipts/{topic}/2147483648/0"), 400),
        (format!("/receipts/{topic}/0/+1"), 400),
        (format!("/receipts/{topic}/0/9223372036854775808"), 400),
        (format!("/receipts/{topic}/zero/0"), 400),
        (format!("/receipts/{topic}/%ff/0"), 400),
    ] {
        let answer = function.get(&path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    function.end().await;
}

#[tokio::test]
async fn without_a_broker_the_contract_decides_which_partitions_exist() {
    let function = TestIngest::start_lacking(Lacking { broker: true, ..Lacking::default() }).await;
    let topic = function.topic("city");
    function.apply("city", 3, 4, NOW_MS).await;
    assert_eq!(function.get(&format!("/receipts/{topic}/3/0")).await.body["status"], "written");
    assert_eq!(function.get(&format!("/receipts/{topic}/4/0")).await.status, StatusCode::NOT_FOUND);
}
