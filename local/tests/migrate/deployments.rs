//! Tests deployments that succeed: the first one, later ones, a rollback, and invocations by operators.

use serde_json::{Value, json};
use shared::contract::Registry;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::function::{LambdaFunction, batch, position};
use crate::stack::{OWNER_PASSWORD, PASSWORD, Stack};
use crate::support::kafka;

const CREATE: &str = include_str!("../../../functions/migrate/events/create.json");
const UPDATE: &str = include_str!("../../../functions/migrate/events/update.json");
const ROLLBACK: &str = include_str!("../../../functions/migrate/events/rollback.json");
const DELETE: &str = include_str!("../../../functions/migrate/events/delete.json");

async fn text(connection: &mut PgConnection, query: &str) -> String {
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

fn changed(response: &Value) -> Vec<&str> {
    assert_eq!(response["status"], "SUCCESS", "{response}");
    response["done"]["changed"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_deployment_creates_everything_that_the_functions_need_and_the_second_one_changes_nothing() {
    let stack = Stack::new().await;
    let function = stack.start(&[]).await;
    let (response, answer) = stack.deploy(&function, CREATE).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    let lines = changed(&response);
    let route = Registry::load(Some(stack.plan.contracts())).unwrap().stream("route").unwrap().topic.clone();
    for line in [
        "database created".to_owned(),
        "migration 0001 ledger applied".to_owned(),
        format!("role {} created", stack.role),
        format!("role {}: 5 settings set", stack.role),
        format!("topic {route} created, 4 partitions"),
    ] {
        assert!(lines.contains(&line.as_str()), "{line} is not in {lines:#?}");
    }
    assert_eq!(response["done"]["differences"], json!([]));
    assert_eq!(kafka::partitions(&kafka::settings(), &route).await.len(), 4);

    // The granted privileges let the functions do their work, and nothing else.
    let environment = stack.environment().into_iter().filter(|(name, _)| *name != "OWNER_SECRET_ARN").collect();
    let consume = LambdaFunction::start("consume", environment, local::event_source_mapping::function::CONSUME_TIMEOUT);
    let consume = consume.await;
    let landed = consume.invoke(&batch(&route, 0, &[position(1), position(2)])).await.unwrap();
    assert_eq!(landed["written"], 2, "{landed}");
    let mut functions = stack.connect(&stack.role, PASSWORD).await.unwrap();
    for (setting, value) in shared::database::SESSION_SETTINGS {
        assert_eq!(text(&mut functions, &format!("select current_setting('{setting}')")).await, value, "{setting}");
    }
    functions.execute("create table landing.evolved (id bigint)").await.unwrap();
    assert!(functions.execute("create table public.evolved (id bigint)").await.is_err());
    assert!(functions.execute("create table sluice.evolved (id bigint)").await.is_err());
    assert!(functions.execute("drop table public.routes_table").await.is_err());
    functions.close().await.unwrap();

    let (response, answer) = stack.deploy(&function, UPDATE).await;
    assert_eq!((changed(&response), &answer["Status"]), (vec![], &json!("SUCCESS")));

    // The functions may also use tables that the owner creates later.
    let mut owner = stack.connect(&stack.owner, OWNER_PASSWORD).await.unwrap();
    owner.execute("create table landing.later (id bigint); create table public.later (id bigint)").await.unwrap();
    let may = "select has_table_privilege($1, 'landing.later', 'insert') and has_table_privilege($1, 'public.later', 'update')";
    let may: bool = sqlx::query_scalar(may).bind(&stack.role).fetch_one(&mut owner).await.unwrap();
    assert!(may);
    owner.close().await.unwrap();

    let log = function.lambda.sandboxes()[0].log();
    for secret in [PASSWORD, OWNER_PASSWORD, "?signature", "SCRAM-SHA-256"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    stack.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_restores_lost_privileges_of_the_role_and_sets_the_password_that_the_secret_has_now() {
    let stack = Stack::new().await;
    let function = stack.start(&[]).await;
    stack.deploy(&function, CREATE).await;
    let mut owner = stack.connect(&stack.owner, OWNER_PASSWORD).await.unwrap();
    let role = &stack.role;
    let lose =
        format!("revoke delete on public.routes_table from \"{role}\"; alter role \"{role}\" password 'another'");
    owner.execute(lose.as_str()).await.unwrap();
    owner.close().await.unwrap();
    let (response, _) = stack.deploy(&function, UPDATE).await;
    let expected = [format!("role {role}: 1 privileges granted"), format!("role {role}: password set")];
    assert_eq!(changed(&response), expected);
    stack.connect(role, PASSWORD).await.unwrap();
    stack.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_stack_keeps_its_database_and_rolling_back_succeeds_although_the_schema_is_newer() {
    let stack = Stack::new().await;
    let function = stack.start(&[]).await;
    stack.deploy(&function, CREATE).await;
    let mut owner = stack.connect(&stack.owner, OWNER_PASSWORD).await.unwrap();
    let newer = "create table sluice.newer (id bigint); alter table public.routes_table add column altitude bigint;
        insert into public._sqlx_migrations (version, description, success, checksum, execution_time)
        values (900, 'newer', true, 'x', 1)";
    owner.execute(newer).await.unwrap();
    let (response, answer) = stack.deploy(&function, ROLLBACK).await;
    assert_eq!((changed(&response), &answer["Status"]), (vec![], &json!("SUCCESS")));

    let (response, answer) = stack.deploy(&function, DELETE).await;
    assert_eq!(answer["Status"], "SUCCESS");
    assert_eq!(response["done"], "nothing, because database and topics stay");
    assert_eq!(text(&mut owner, "select count(*)::text from sluice.newer").await, "0");
    owner.close().await.unwrap();
    stack.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_prepares_everything_and_gets_an_admin_whose_password_is_only_in_the_response() {
    let stack = Stack::new().await;
    let function = stack.start(&[]).await;
    let done = function.invoke(&json!({})).await.unwrap();
    assert!(done["changed"].as_array().unwrap().contains(&json!("database created")), "{done}");
    assert_eq!(function.invoke(&json!({})).await.unwrap(), json!({"changed": [], "differences": []}));

    let made = function.invoke(&json!({"admin": "Ann"})).await.unwrap();
    assert_eq!(made["admin"], "Ann");
    let password = made["password"].as_str().unwrap();
    assert_eq!(password.len(), 24);
    assert!(!function.lambda.sandboxes()[0].log().contains(password));
    let again = function.invoke(&json!({"admin": "Ann"})).await.unwrap();
    assert_ne!(again["password"], password, "a lost password is replaced");
    let mut owner = stack.connect(&stack.owner, OWNER_PASSWORD).await.unwrap();
    assert_eq!(text(&mut owner, "select string_agg(name || ' ' || role, ',') from sluice.users").await, "Ann admin");
    let audited = r#"select string_agg("user" || ' ' || action || ' ' || object, ', ') from sluice.audit"#;
    // The second invocation only replaced the password, which the audit log does not distinguish.
    let expected = "function: migrate created users/Ann, function: migrate created users/Ann";
    assert_eq!(text(&mut owner, audited).await, expected);
    owner.close().await.unwrap();

    assert_eq!(function.error_type(&json!({"admin": "a:b"})).await, "Sluice.Admin");
    assert_eq!(function.error_type(&json!({"admni": "Ann"})).await, "Sluice.NotAnEvent");
    stack.remove().await;
}
