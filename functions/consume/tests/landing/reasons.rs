//! Dead letters and receipts name the rule that a row breaks, and never a value of the row.

use serde_json::{Value, json};
use shared::ledger::receipts::Outcome;
use sqlx::Executor as _;

use crate::support::{Function, record, records, route, user_event};

/// A value that every rejected event contains. The value must not appear in any reason.
const VALUE: i64 = 424_242;

/// Returns those columns of a dead letter that describe the rejection.
async fn letter(function: &Function, topic: &str, offset: i64) -> Value {
    let query = format!(
        r#"select error_code, reason, "constraint", "table", "column", pointer from sluice.dead_letters
           where topic = '{topic}' and "offset" = {offset}"#
    );
    let letters = function.database.json(&query).await;
    assert_eq!(letters.as_array().map(Vec::len), Some(1), "{letters}");
    assert!(!letters.to_string().contains(&VALUE.to_string()), "{letters}");
    let receipts = shared::ledger::receipts::look_up(&function.database.pool, None, topic, &[(0, offset)]).await;
    let receipts = receipts.expect("the receipts are looked up");
    let Some(Outcome::Rejected(rejection)) = receipts.first() else { panic!("{receipts:?}") };
    assert_eq!(json!([rejection.code, rejection.reason]), json!([letters[0]["error_code"], letters[0]["reason"]]));
    letters[0].clone()
}

/// Lands a valid event and an event that `rule` refuses. Returns the columns of the refused event's dead letter.
async fn refused(rule: &str, topic: &str, good: Value, bad: Value) -> Value {
    let function = Function::new().await;
    function.database.pool.execute(rule).await.expect("the rule is added");
    let summary = function.land(&records(topic, [good, bad])).await;
    assert_eq!((summary.written, summary.rejected), (1, 1), "{rule}");
    letter(&function, topic, 1).await
}

async fn refused_route(rule: &str) -> Value {
    refused(rule, "routes", route(1, 1.0), route(VALUE, 1.0)).await
}

#[tokio::test]
async fn a_check_is_named_with_its_table() {
    let rule = "alter table public.routes_table add constraint known_users check (user_id < 100)";
    let expected = json!({
        "error_code": "23514", "constraint": "known_users", "table": "routes_table", "column": null, "pointer": null,
        "reason": "check known_users of table public.routes_table rejects the row"
    });
    assert_eq!(refused_route(rule).await, expected);
}

#[tokio::test]
async fn a_column_that_must_not_be_null_is_named_with_its_place_in_the_payload() {
    let rule = "alter table public.user_events alter column country set not null";
    let mut good = user_event(1, "Delft");
    good["address"]["country"] = json!("Netherlands");
    let expected = json!({
        "error_code": "23502", "constraint": null, "table": "user_events", "column": "country",
        "pointer": "/address/country", "reason": "column country of table public.user_events must not be null"
    });
    assert_eq!(refused(rule, "user-events", good, user_event(2, "424242")).await, expected);
}

#[tokio::test]
async fn a_foreign_key_is_named_when_the_row_that_it_refers_to_is_missing() {
    let rule = "create table public.people (id bigint primary key);
                insert into public.people values (1);
                alter table public.routes_table add constraint known_user
                    foreign key (user_id) references public.people";
    let expected = json!({
        "error_code": "23503", "constraint": "known_user", "table": "routes_table", "column": null, "pointer": null,
        "reason": "foreign key known_user of table public.routes_table rejects the row: \
                   it refers to a row that does not exist"
    });
    assert_eq!(refused_route(rule).await, expected);
}

#[tokio::test]
async fn a_foreign_key_is_named_when_other_rows_still_refer_to_the_row() {
    let rule = "create table landing.people (id bigint primary key);
                create table landing.orders (person bigint constraint of_person references landing.people);
                insert into landing.people values (1), (424242);
                insert into landing.orders values (424242)";
    let delete = |id: i64| {
        json!({"action": "D", "schema": "public", "table": "people",
               "identity": [{"name": "id", "type": "bigint", "value": id}]})
    };
    let expected = json!({
        "error_code": "23503", "constraint": "of_person", "table": "orders", "column": null, "pointer": null,
        "reason": "foreign key of_person of table landing.orders rejects the change: \
                   other rows still refer to the row"
    });
    assert_eq!(refused(rule, "changes", delete(1), delete(VALUE)).await, expected);
}

#[tokio::test]
async fn unique_and_exclusion_constraints_are_named() {
    for (rule, code, reason) in [
        (
            "alter table public.routes_table add constraint once unique (user_id)",
            "23505",
            "unique constraint once of table public.routes_table rejects the row: \
             a row with the same key already exists",
        ),
        (
            "alter table public.routes_table add constraint once exclude using btree (user_id with =)",
            "23P01",
            "exclusion constraint once of table public.routes_table rejects the row: \
             it conflicts with a row that already exists",
        ),
    ] {
        let there = format!(r#"{rule}; insert into public.routes_table values ({VALUE}, now(), 1, 1)"#);
        let expected = json!({
            "error_code": code, "constraint": "once", "table": "routes_table", "column": null, "pointer": null,
            "reason": reason
        });
        assert_eq!(refused_route(&there).await, expected);
    }
}

#[tokio::test]
async fn a_check_of_a_domain_is_named_with_its_domain() {
    let rule = "create domain public.small as bigint constraint is_small check (value < 100);
                alter table public.routes_table alter column user_id type public.small";
    let expected = json!({
        "error_code": "23514", "constraint": "is_small", "table": null, "column": null, "pointer": null,
        "reason": "check is_small of domain public.small rejects a value of the row"
    });
    assert_eq!(refused_route(rule).await, expected);
}

/// Returns SQL for a trigger that executes `raise` if the row is bad.
fn trigger(raise: &str) -> String {
    format!(
        "create function public.guard() returns trigger language plpgsql as $$
         begin
             if new.user_id >= 100 then
                 {raise};
             end if;
             return new;
         end $$;
         create trigger guard before insert on public.routes_table for each row execute function public.guard()"
    )
}

#[tokio::test]
async fn a_trigger_may_reject_a_row_with_any_code_and_the_reason_does_not_repeat_the_triggers_message() {
    for (using, code) in [
        ("", "P0001"),
        ("using errcode = '45000', detail = new.user_id, hint = new.user_id", "45000"),
        ("using errcode = 'ZZ999'", "ZZ999"),
        ("using errcode = 'insufficient_privilege'", "42501"),
        ("using errcode = 'object_not_in_prerequisite_state'", "55000"),
        ("using errcode = 'check_violation'", "23514"),
        ("using errcode = 'internal_error'", "XX000"),
        ("using errcode = '02000'", "02000"),
    ] {
        let letter = refused_route(&trigger(&format!("raise exception 'not %', new.user_id {using}"))).await;
        let expected = json!({
            "error_code": code, "constraint": null, "table": null, "column": null, "pointer": null,
            "reason": "trigger function guard() rejects the row"
        });
        assert_eq!(letter, expected, "{code}");
    }
}

#[tokio::test]
async fn a_trigger_may_name_the_constraint_and_the_column_that_it_protects() {
    let raise = "raise 'no' using errcode = '45000', constraint = 'guarded', schema = 'public',
                     table = 'routes_table', column = 'user_id'";
    let expected = json!({
        "error_code": "45000", "constraint": "guarded", "table": "routes_table", "column": "user_id",
        "pointer": "/userID",
        "reason": "trigger function guard() rejects the row: constraint guarded of table public.routes_table"
    });
    assert_eq!(refused_route(&trigger(raise)).await, expected);
}

#[tokio::test]
async fn a_batch_in_which_a_trigger_raises_a_transient_error_is_retried() {
    let function = Function::new().await;
    let rule = trigger("raise exception 'not %', new.user_id using errcode = 'serialization_failure'");
    function.database.pool.execute(rule.as_str()).await.expect("the trigger is added");
    let error = function.deliver(&records("routes", [route(VALUE, 1.0)])).await.expect_err("the batch fails");
    assert!(matches!(error, consume::ConsumeError::Retry(_)), "{error}");
    assert!(error.to_string().contains("SQLSTATE 40001"), "{error}");
    assert!(!error.to_string().contains(&VALUE.to_string()), "{error}");
}

#[tokio::test]
async fn a_bug_in_a_trigger_stops_the_batch_and_no_event_is_rejected() {
    let function = Function::new().await;
    function.database.pool.execute(trigger("new.nowhere = 1").as_str()).await.expect("the trigger is added");
    let error = function.deliver(&records("routes", [route(VALUE, 1.0)])).await.expect_err("the batch fails");
    assert!(matches!(error, consume::ConsumeError::Stop(_)), "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(function.database.count("select count(*) from sluice.dead_letters").await, 0);
}

#[tokio::test]
async fn the_check_option_of_a_view_rejects_the_row() {
    let rule = "alter table public.routes_table rename to all_routes;
                create view public.routes_table as select * from public.all_routes where user_id < 100
                with check option";
    let letter = refused_route(rule).await;
    assert_eq!(
        (&letter["error_code"], &letter["reason"]),
        (&json!("44000"), &json!("the view's check option rejects the row"))
    );
}

#[tokio::test]
async fn an_index_that_cannot_hold_a_value_is_named() {
    // Random digits, which PostgreSQL cannot compress.
    let digits = (0..5_000_u64).scan(7_u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit(u32::try_from(*state >> 60).unwrap_or_default(), 16)
    });
    let long: String = VALUE.to_string().chars().chain(digits).collect();
    let insert =
        |text: &str| json!({"action": "I", "table": "wide", "columns": [{"name": "a", "type": "text", "value": text}]});
    let rule = "create table landing.wide (a text); create index wide_a on landing.wide (a)";
    let letter = refused(rule, "changes", insert("short"), insert(&long)).await;
    let expected = json!({
        "error_code": "54000", "constraint": "wide_a", "table": "wide", "column": null, "pointer": null,
        "reason": "a value is too large for index wide_a of table landing.wide"
    });
    assert_eq!(letter, expected);
}

#[tokio::test]
async fn a_row_without_a_partition_is_rejected_and_the_reason_names_the_table() {
    let rule = "drop table public.routes_table;
                create table public.routes_table
                    (user_id bigint, \"timestamp\" timestamptz, latitude double precision, longitude double precision)
                    partition by range (user_id);
                create table public.small_routes partition of public.routes_table for values from (0) to (100)";
    let expected = json!({
        "error_code": "23514", "constraint": null, "table": "routes_table", "column": null, "pointer": null,
        "reason": "no partition of table public.routes_table accepts the row"
    });
    assert_eq!(refused_route(rule).await, expected);
}

#[tokio::test]
async fn a_text_that_is_too_long_is_rejected_with_its_column_and_its_place_in_the_payload() {
    let rule = "alter table public.user_events alter column city type varchar(5)";
    let expected = json!({
        "error_code": "22001", "constraint": null, "table": "user_events", "column": "city",
        "pointer": "/address/city",
        "reason": "a text is longer than the 5 characters of column city of table public.user_events"
    });
    assert_eq!(refused(rule, "user-events", user_event(1, "Delft"), user_event(2, "424242")).await, expected);
}

#[tokio::test]
async fn a_text_that_is_too_long_for_a_table_that_a_trigger_writes_to_is_rejected_and_no_column_is_named() {
    let rule = "create table public.seen (city varchar(5));
                create function public.note() returns trigger language plpgsql as
                    $$ begin insert into public.seen values (new.city); return new; end $$;
                create trigger note before insert on public.user_events for each row execute function public.note()";
    let expected = json!({
        "error_code": "22001", "constraint": null, "table": null, "column": null, "pointer": null,
        "reason": "a text is longer than its column allows"
    });
    assert_eq!(refused(rule, "user-events", user_event(1, "Delft"), user_event(2, "424242")).await, expected);
}

#[tokio::test]
async fn a_contract_violation_is_named_with_its_place_in_the_payload() {
    let function = Function::new().await;
    let event = json!({"userID": 1, "timestamp": 1, "coordinates": [VALUE, 1]});
    function.land(&[record("routes", 0, &event)]).await;
    let letter = letter(&function, "routes", 0).await;
    assert_eq!((&letter["error_code"], &letter["pointer"]), (&json!("contract_violation"), &json!("/coordinates/0")));
}

#[tokio::test]
async fn a_repeat_of_a_rejected_event_has_the_same_reason() {
    let function = Function::new().await;
    let rule = "alter table public.routes_table add constraint known_users check (user_id < 100)";
    function.database.pool.execute(rule).await.expect("the rule is added");
    let mut batch = records("routes", [route(VALUE, 1.0), route(VALUE, 1.0)]);
    for record in &mut batch {
        record.headers =
            vec![("sluice-user".to_owned(), "ada".to_owned()), ("idempotency-key".to_owned(), "k".to_owned())];
    }
    function.land(&batch).await;
    let receipts = shared::ledger::receipts::look_up(&function.database.pool, None, "routes", &[(0, 0), (0, 1)]).await;
    let reasons: Vec<Option<String>> = receipts
        .expect("the receipts are looked up")
        .into_iter()
        .map(|outcome| if let Outcome::Rejected(rejection) = outcome { Some(rejection.reason) } else { None })
        .collect();
    let reason = Some("check known_users of table public.routes_table rejects the row".to_owned());
    assert_eq!(reasons, [reason.clone(), reason]);
}
