//! What happens to dead letters and login attempts that are older than their retention.

use std::sync::Arc;
use std::time::Duration;

use consume::Consume;
use serde_json::json;
use shared::contract::Registry;
use shared::start::Retention;

use crate::support::{BUDGET, Function, Record, record};

/// Returns a function on the same database, with this retention.
fn keeping(function: &Function, retention: Retention) -> Consume {
    let registry = Arc::new(Registry::load(None).expect("the contracts are right"));
    let (pool, clock, metrics) = (function.database.pool.clone(), function.clock.clone(), function.metrics.clone());
    let consume = Consume::new(pool, registry, clock, Duration::from_secs(3_600), metrics, function.log.clone());
    consume.with_retention(retention)
}

async fn execute(function: &Function, statement: &str) {
    sqlx::query(statement).execute(&function.database.pool).await.expect("the statement is executed");
}

#[tokio::test]
async fn an_expired_dead_letter_loses_its_content_and_keeps_its_place_and_reason() {
    let function = Function::new().await;
    let invalid = |offset| Record {
        key: Some(b"key".to_vec()),
        headers: vec![("trace".to_owned(), "t".to_owned())],
        ..record("routes", offset, &json!({"secret": offset}))
    };
    function.land(&[invalid(0), invalid(1), invalid(2)]).await;
    execute(&function, r#"update sluice.dead_letters set created_at = now() - interval '31 days' where "offset" < 2"#)
        .await;
    // The second dead letter was replayed, so the receipt of the rejected event includes the replay.
    execute(
        &function,
        r#"update sluice.dead_letters set status = 'replayed', replayed_partition = 0, replayed_offset = 9,
           replayed_timestamp_ms = 5 where "offset" = 1"#,
    )
    .await;
    let receipts = function.outcomes("routes", 0..3).await;
    let consume = keeping(&function, Retention { dead_letters_days: Some(30), login_attempts_days: None });
    consume.compare(BUDGET).await.expect("the comparison succeeds");
    let letters = function
        .database
        .json(
            r#"select "offset", status, key, headers, convert_from(payload, 'UTF8') as payload, error_code, replayed_offset
               from sluice.dead_letters order by "offset""#,
        )
        .await;
    let expired = |offset: i64, replayed: Option<i64>| {
        json!({"offset": offset, "status": "expired", "key": null, "headers": [], "payload": "",
               "error_code": "contract_violation", "replayed_offset": replayed})
    };
    assert_eq!(letters[0], expired(0, None));
    assert_eq!(letters[1], expired(1, Some(9)));
    assert_eq!((&letters[2]["status"], &letters[2]["payload"]), (&json!("open"), &json!(r#"{"secret":2}"#)));
    assert_eq!(function.outcomes("routes", 0..3).await, receipts);
}

#[tokio::test]
async fn all_expired_dead_letters_are_erased_even_if_one_step_does_not_suffice() {
    let function = Function::new().await;
    let batch: Vec<Record> = (0..2_500).map(|offset| record("routes", offset, &json!({"secret": offset}))).collect();
    function.land(&batch).await;
    execute(&function, "update sluice.dead_letters set created_at = now() - interval '2 days'").await;
    let consume = keeping(&function, Retention { dead_letters_days: Some(1), login_attempts_days: None });
    consume.compare(BUDGET).await.expect("the comparison succeeds");
    let left: i64 = sqlx::query_scalar("select count(*) from sluice.dead_letters where status <> 'expired'")
        .fetch_one(&function.database.pool)
        .await
        .expect("the database answers");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn login_attempts_are_deleted_when_they_are_old_enough() {
    let function = Function::new().await;
    execute(
        &function,
        r#"insert into sluice.login_attempts ("user", at, outcome, via)
           select 'ann', now() - make_interval(days => day), 'success', 'login' from generate_series(0, 9) as day"#,
    )
    .await;
    let days = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from sluice.login_attempts");
        count.fetch_one(&function.database.pool).await.expect("the database answers")
    };
    keeping(&function, Retention::default()).compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(days().await, 10);
    let consume = keeping(&function, Retention { dead_letters_days: None, login_attempts_days: Some(7) });
    consume.compare(BUDGET).await.expect("the comparison succeeds");
    assert_eq!(days().await, 7);
}
