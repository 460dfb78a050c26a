//! Tests counts, groups and lists over time ranges. The stored counts must agree with the letters, wherever a range
//! begins and ends.

use axum::http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::TestConsole;

/// Three days of letters, with a letter every nine minutes. The letters lie on both sides of the boundaries between
/// days and between ten-minute spans.
const LETTERS: &str = r#"
    insert into sluice.dead_letters (topic, "partition", "offset", incarnation, payload, headers, record_timestamp_ms, reason,
                                     error_code, created_at, status)
    select case when n % 3 = 0 then $1 else $2 end, 0, n, 1, '', '[]', 0,
           (array['does not exist', 'no field "a"', 'no field "b"', 'no field "…"', 'line 7'])[1 + n % 5], 'code ' || n % 2,
           timestamptz '2026-05-01T20:30:00Z' + n * interval '9 minutes', case when n % 7 = 0 then 'replayed' else 'open' end
    from generate_series(0, 480) as n"#;

const RANGES: [(Option<&str>, Option<&str>); 9] = [
    (None, None),
    (Some("2026-05-01T20:30:00Z"), None),
    (Some("2026-05-02T00:00:00Z"), Some("2026-05-04T00:00:00Z")),
    (Some("2026-05-02T03:04:05Z"), Some("2026-05-04T06:07:08Z")),
    (Some("2026-05-02T03:00:00Z"), Some("2026-05-02T09:00:00Z")),
    (Some("2026-05-02T03:01:00Z"), Some("2026-05-02T03:09:59Z")),
    (Some("2026-05-02T03:05:00Z"), Some("2026-05-02T03:25:00Z")),
    (None, Some("2026-05-03T15:33:00.000001Z")),
    (Some("2026-05-03T15:33:00.000001Z"), None),
];

/// Filters: the members that a caller sends, and the equivalent SQL condition on the letters' columns.
const FILTERS: [(&[(&str, &str)], &str); 9] = [
    (&[], "true"),
    (&[("stream", "city")], "topic = $1"),
    (&[("error_code", "code 1")], "error_code = 'code 1'"),
    (&[("error_code", "code 2")], "false"),
    (&[("stream", "route"), ("error_code", "code 0")], "topic = $2 and error_code = 'code 0'"),
    // This is the only reason in its group.
    (&[("reason", "does not exist")], "reason = 'does not exist'"),
    // This is one of several reasons in a group.
    (&[("reason", "no field \"a\""), ("stream", "city")], "reason = 'no field \"a\"' and topic = $1"),
    // This is the name of that group, and also the reason of some of its letters.
    (&[("reason", "no field \"…\"")], "reason like 'no field%'"),
    // This is the name of another group.
    (&[("reason", "line …"), ("error_code", "code 1")], "reason = 'line 7' and error_code = 'code 1'"),
];

fn query(filter: &Value) -> String {
    let members = filter.as_object().unwrap().iter();
    let encoded = |value: &Value| utf8_percent_encode(value.as_str().unwrap(), NON_ALPHANUMERIC).to_string();
    members.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

#[tokio::test]
async fn the_count_and_the_groups_and_the_list_of_a_time_range_cover_exactly_the_letters_created_in_it() {
    let function = TestConsole::start().await;
    let topics = ["city", "routes"].map(|topic| function.topic(topic));
    sqlx::query(LETTERS).bind(&topics[0]).bind(&topics[1]).execute(&function.pool).await.unwrap();
    for (since, until) in RANGES {
        for (members, condition) in FILTERS {
            let times = [("since", since), ("until", until)];
            let times = times.into_iter().filter_map(|(name, time)| Some((name, time?)));
            let filter: Value =
                members.iter().copied().chain(times).map(|(name, value)| (name.to_owned(), json!(value))).collect();
            let select = format!(
                "select count(*), coalesce(min(id), 0), coalesce(max(id), 0) from sluice.dead_letters
                 where status = 'open' and ({condition}) and created_at >= coalesce($3::timestamptz, '-infinity')
                       and created_at < coalesce($4::timestamptz, 'infinity') and topic in ($1, $2)"
            );
            let (count, first, last): (i64, i64, i64) = sqlx::query_as(&select)
                .bind(&topics[0])
                .bind(&topics[1])
                .bind(since)
                .bind(until)
                .fetch_one(&function.pool)
                .await
                .unwrap();
            let body = json!({"filter": filter, "dry_run": true}).to_string();
            let counted = function.post("/dead-letters/replays", &[], body).await.body;
            assert_eq!(counted, json!({"count": count}), "{filter}");

            let query = query(&filter);
            let groups = function.get(&format!("/dead-letters/groups?{query}")).await;
            assert_eq!(groups.status, StatusCode::OK, "{filter}: {groups:?}");
            let groups = groups.body["items"].as_array().unwrap().clone();
            let sum: i64 = groups.iter().map(|group| group["count"].as_i64().unwrap()).sum();
            assert_eq!(sum, count, "{filter}: {groups:?}");

            let list = function.get(&format!("/dead-letters?limit=1000&{query}")).await.body;
            let ids: Vec<i64> =
                list["items"].as_array().unwrap().iter().map(|letter| letter["id"].as_i64().unwrap()).collect();
            assert!(ids.is_sorted(), "{filter}");
            let found = (i64::try_from(ids.len()).unwrap(), ids.first().copied(), ids.last().copied());
            let expected = (count, Some(first).filter(|_| count > 0), Some(last).filter(|_| count > 0));
            assert_eq!(found, expected, "{filter}");
        }
    }
    function.end().await;
}

#[tokio::test]
async fn a_group_shows_the_exact_reason_if_all_its_letters_in_the_range_have_that_reason() {
    let function = TestConsole::start().await;
    let insert = r#"
        insert into sluice.dead_letters (topic, "partition", "offset", incarnation, payload, headers, record_timestamp_ms,
                                         reason, error_code, created_at)
        select 'changes', 0, n, 1, '', '[]', 0, 'no table "' || case when n < 10 or n = 15 then 'a' else 'b' end || '"', 'c',
               timestamptz '2026-05-01T00:00:00Z' + n * interval '1 minute'
        from generate_series(0, 20) as n"#;
    sqlx::query(insert).execute(&function.pool).await.unwrap();
    for (range, count, reason) in [
        ("", 21, "no table \"…\""),
        ("until=2026-05-01T00:10:00Z", 10, "no table \"a\""),
        ("since=2026-05-01T00:16:00Z", 5, "no table \"b\""),
        ("since=2026-05-01T00:15:00Z&until=2026-05-01T00:16:00Z", 1, "no table \"a\""),
        // The first and the last letter have the same reason, but a letter between them has another reason.
        ("since=2026-05-01T00:10:00Z", 11, "no table \"…\""),
    ] {
        let groups = function.get(&format!("/dead-letters/groups?{range}")).await.body;
        let group = &groups["items"][0];
        assert_eq!((&group["count"], &group["reason"]), (&json!(count), &json!(reason)), "{range}: {groups}");
    }
    function.end().await;
}
