use serde_json::{Value, json};
use shared::ledger::Rejection;

use crate::support::TestConsole;

/// Returns the groups without their times.
async fn groups(function: &TestConsole, query: &str) -> Vec<Value> {
    let answer = function.get(&format!("/dead-letters/groups{query}")).await;
    let mut groups = answer.body["items"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    for group in &mut groups {
        let members = group.as_object_mut().unwrap();
        for name in ["first_at", "last_at"] {
            let at: jiff::Timestamp = serde_json::from_value(members.remove(name).unwrap()).unwrap();
            assert!(at <= jiff::Timestamp::now(), "{name}: {at}");
        }
    }
    groups
}

async fn reject(function: &TestConsole, topic: &str, offset: i64, code: &str, reason: &str) -> i64 {
    let rejection = Rejection::new(code, reason);
    function.reject_because(topic, (0, offset), b"{}", &json!([]), &rejection).await
}

#[tokio::test]
async fn reasons_that_differ_only_in_quoted_values_or_numbers_form_one_group() {
    let function = TestConsole::start().await;
    for (offset, reason) in
        (0..).zip(["change 0: no table \"a\"", "change 17: no table \"b c\"", "change 2.5: no table \"d\""])
    {
        reject(&function, "changes", offset, "42P01", reason).await;
    }
    reject(&function, "changes", 3, "42P01", "change 1: no schema \"a\"").await;
    reject(&function, "changes", 4, "42703", "change 1: no table \"a\"").await;
    reject(&function, "city", 0, "42P01", "change 1: no table \"a\"").await;
    let last =
        reject(&function, "routes", 0, "23514", "check known_users2 of table public.t5 rejects the row's value").await;
    let changes = function.topic("changes");
    let found = groups(&function, "").await;
    assert_eq!(found.len(), 5, "{found:?}");
    let expected = json!({
        "stream": "changes", "topic": changes, "error_code": "42P01", "reason": "change …: no table \"…\"", "count": 3,
        "sample_id": 3
    });
    assert_eq!(found[0], expected, "the largest group is first");
    // If all letters of a group have the same reason, the group has that reason.
    let names: Vec<&str> = found[1..].iter().map(|group| group["reason"].as_str().unwrap()).collect();
    assert!(names.contains(&"check known_users2 of table public.t5 rejects the row's value"), "{names:?}");
    assert!(names.contains(&"change 1: no schema \"a\""), "{names:?}");
    assert_eq!(groups(&function, "?stream=route").await[0]["sample_id"], json!(last));
    assert_eq!(groups(&function, "?limit=2").await, found[..2]);
    assert_eq!(groups(&function, "?limit=2&after=2").await, found[2..4]);
    assert_eq!(
        groups(&function, "?contains=known_users2").await,
        found.iter().filter(|group| group["error_code"] == "23514").cloned().collect::<Vec<_>>()
    );
    // A group's reason has `…` in place of the values. As a filter, it selects the letters of the group.
    let name = "change%20%E2%80%A6:%20no%20table%20%22%E2%80%A6%22";
    let letters = function.get(&format!("/dead-letters?stream=changes&error_code=42P01&reason={name}")).await.body;
    assert_eq!(letters["items"].as_array().unwrap().len(), 3);
    function.end().await;
}

#[tokio::test]
async fn the_stored_counts_stay_correct_when_letters_are_inserted_or_changed_or_deleted() {
    const COUNTED: &str = "
        select status, topic, error_code, reason, sum(letters) as letters from sluice.dead_letter_counts
        group by 1, 2, 3, 4 having sum(letters) <> 0 order by 1, 2, 3, 4";
    const ACTUAL: &str = "
        select status, topic, error_code, reason, count(*)::numeric as letters from sluice.dead_letters
        group by 1, 2, 3, 4 order by 1, 2, 3, 4";
    const COUNTED_BY_GROUP: &str = "
        select status, span, since, topic, error_code, pattern_hash, sum(letters) as letters
        from sluice.dead_letter_group_counts where destination = 'postgresql'
        group by 1, 2, 3, 4, 5, 6 having sum(letters) <> 0 order by 1, 2, 3, 4, 5, 6";
    const ACTUAL_BY_GROUP: &str = "
        select status, span, since, topic, error_code, pattern_hash, count(*)::numeric as letters
        from sluice.dead_letters
        cross join lateral (
            values ('ever', '-infinity'), ('day', date_trunc('day', created_at, 'UTC')),
                   ('ten minutes', date_bin('10 minutes', created_at, 'epoch'))
        ) as s (span, since)
        group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6";
    let function = TestConsole::start().await;
    let rows = async |query: &str| -> Value {
        let query = format!("select coalesce(json_agg(row_to_json(q)), '[]') from ({query}) q");
        sqlx::query_scalar(&query).fetch_one(&function.pool).await.unwrap()
    };
    let insert = "insert into sluice.dead_letters (topic, \"partition\", \"offset\", incarnation, payload, headers,
                      record_timestamp_ms, reason, error_code, created_at)
                  select 't' || n % 3, 0, n, $1, '', '[]', 0, 'reason ' || n % 5, 'c' || n % 2,
                         now() - n % 40 * interval '1 hour'
                  from generate_series(1, 100) n";
    for round in 0..5 {
        // These transactions are concurrent, so each adds its counts to a different shard.
        let (mut one, mut other) = (function.pool.begin().await.unwrap(), function.pool.begin().await.unwrap());
        sqlx::query(insert).bind(2 * round).execute(&mut *one).await.unwrap();
        sqlx::query(insert).bind(2 * round + 1).execute(&mut *other).await.unwrap();
        let change = "update sluice.dead_letters set status = (array['open', 'replayed', 'discarded'])[1 + id % 3]
                      where id % 7 = 0 and incarnation = $1";
        sqlx::query(change).bind(2 * round).execute(&mut *one).await.unwrap();
        one.commit().await.unwrap();
        if round % 2 == 0 {
            other.commit().await.unwrap()
        } else {
            other.rollback().await.unwrap()
        }
        let delete = "delete from sluice.dead_letters where id % 11 = 0";
        sqlx::query(delete).execute(&function.pool).await.unwrap();
        assert_eq!(rows(COUNTED).await, rows(ACTUAL).await);
        assert_eq!(rows(COUNTED_BY_GROUP).await, rows(ACTUAL_BY_GROUP).await);
    }
    let shards: i64 = sqlx::query_scalar("select count(distinct shard) from sluice.dead_letter_counts")
        .fetch_one(&function.pool)
        .await
        .unwrap();
    assert!(shards > 1, "{shards}");
    sqlx::query("truncate sluice.dead_letters").execute(&function.pool).await.unwrap();
    assert_eq!(rows(COUNTED).await, json!([]));
    assert_eq!(rows(COUNTED_BY_GROUP).await, json!([]));
    function.end().await;
}
