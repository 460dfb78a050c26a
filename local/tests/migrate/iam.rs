//! Tests functions that log in to PostgreSQL with IAM tokens. The database's owner still logs in with a password.

use std::time::Duration;

use local::servers::{DataFolder, Postgres, PostgresOptions};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::authority::Authority;
use crate::aws::{OWNER_SECRET, SECRET, StubAws};
use crate::function::LambdaFunction;
use crate::support::gateway::plan;
use crate::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_role_created_for_iam_tokens_gets_a_password_only_when_it_switches_to_passwords() {
    let (plan, aws, authority) = (plan(), StubAws::start().await, Authority::new());
    let data = DataFolder::temporary().unwrap();
    let certificate = Some(authority.for_server(&["127.0.0.1"]));
    let mut postgres = Postgres::start(&data, PostgresOptions { certificate, ..Default::default() }).await.unwrap();
    let mut server = PgConnection::connect(&postgres.database_url()).await.unwrap();
    // As on RDS, the owner is not a superuser, but may grant `rds_iam`, whose members log in with tokens.
    let roles =
        "create role rds_iam; create role rds_superuser; create role owner login createdb createrole password 'p';
        grant rds_iam to rds_superuser with admin option; grant rds_superuser to owner";
    server.execute(roles).await.unwrap();
    aws.set(|answers| {
        answers.owner_secret = json!({"username": "owner", "password": "p"}).to_string();
        answers.secret = json!({"username": "functions", "password": "the functions' own password"}).to_string();
    });

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &authority.certificate).unwrap();
    let server_url = postgres.database_url();
    let place = server_url.split(['@', '/']).nth(3).unwrap();
    let root = file.path().display();
    let url = format!("postgres://functions@{place}/events?sslmode=verify-full&sslrootcert={root}");
    let start = async |login: (&'static str, &str)| {
        let mut environment = vec![
            ("DATABASE_URL", url.clone()),
            ("OWNER_SECRET_ARN", OWNER_SECRET.to_owned()),
            ("KAFKA_BOOTSTRAP_SERVERS", kafka::settings().bootstrap_servers),
            ("CONTRACTS_DIR", plan.contracts().to_str().unwrap().to_owned()),
            (login.0, login.1.to_owned()),
        ];
        environment.extend(aws.variables().map(|(name, value)| (name, value.to_owned())));
        LambdaFunction::start("migrate", environment, Duration::from_secs(900)).await
    };
    let mut role = async || -> (bool, bool) {
        const ROLE: &str = "select rolpassword is not null, pg_has_role(oid, 'rds_iam', 'member')
            from pg_authid where rolname = 'functions'";
        sqlx::query_as(ROLE).fetch_one(&mut server).await.unwrap()
    };

    let with_tokens = start(("DATABASE_AUTH", "iam")).await;
    let done = with_tokens.invoke(&json!({})).await.unwrap();
    assert!(done["changed"].as_array().unwrap().contains(&json!("role functions created")), "{done}");
    assert_eq!(role().await, (false, true));
    assert_eq!(with_tokens.invoke(&json!({})).await.unwrap()["changed"], json!([]));

    // RDS accepts no passwords from members of `rds_iam`. Therefore, the role must leave `rds_iam`.
    let with_password = start(("DATABASE_SECRET_ARN", SECRET)).await;
    let done = with_password.invoke(&json!({})).await.unwrap();
    let expected = ["role functions: no longer a member of rds_iam", "role functions: password set"];
    assert_eq!(done["changed"], json!(expected), "{done}");
    assert_eq!(role().await, (true, false));
    assert_eq!(
        with_tokens.invoke(&json!({})).await.unwrap()["changed"],
        json!(["role functions: 1 privileges granted"])
    );
    assert_eq!(role().await, (true, true));
    postgres.stop().await;
}
