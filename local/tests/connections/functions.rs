//! Runs the real binary of `ingest` in an emulation of Lambda. The binary looks up its brokers, password and token key
//! on AWS.

use std::time::Duration;

use serde_json::json;
use shared::contract::Registry;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::topics;
use testing::TestDatabase;

use crate::aws::{CLUSTER, SECRET, StubAws, TOKEN_SECRET};
use crate::function::{LambdaFunction, TIMEOUT, position, request};
use crate::support::gateway::{ADMIN, plan};
use crate::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn ingest_looks_up_its_brokers_and_its_token_key_and_its_password_on_aws_and_rereads_a_rotated_password() {
    let (plan, database, aws) = (plan(), TestDatabase::create().await, StubAws::start().await);
    let kafka = kafka::settings();
    topics::ensure(&kafka, &Registry::load(Some(plan.contracts())).unwrap()).await.unwrap();
    make_admin(&database.pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    let run = async |sql: String| sqlx::raw_sql(&sql).execute(&database.pool).await.map(drop).unwrap();
    run(format!("create role {role} superuser login password 'first'")).await;
    let set_secret = |password: &str| {
        let secret = json!({"username": role, "password": password}).to_string();
        aws.set(|answers| answers.secret = secret);
    };
    set_secret("first");
    aws.set(|answers| answers.brokers = json!({"bootstrapBrokerString": kafka.bootstrap_servers}));

    let (_, place) = database.url.split_once('@').unwrap();
    let mut environment: Vec<(&'static str, String)> = vec![
        ("MSK_CLUSTER_ARN", CLUSTER.to_owned()),
        ("DATABASE_URL", format!("postgres://{place}")),
        ("DATABASE_SECRET_ARN", SECRET.to_owned()),
        ("TOKEN_SECRET_ARN", TOKEN_SECRET.to_owned()),
        ("CONTRACTS_DIR", plan.contracts().to_str().unwrap().to_owned()),
    ];
    environment.extend(aws.variables().map(|(name, value)| (name, value.to_owned())));
    let ingest = LambdaFunction::start("ingest", environment, TIMEOUT).await;
    let ready = ingest.lambda.sandboxes()[0].ready_after();
    tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap().unwrap();

    for user in 1..=3 {
        assert_eq!(ingest.post("/events/route", &[], &position(user)).await.0, 202);
    }
    assert_eq!((aws.answers().brokers_asked, aws.answers().secret_asked), (1, 1), "each is looked up only once");

    run(format!("alter role {role} password 'second'")).await;
    set_secret("second");
    run(format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")).await;
    let mut question = request("$default", "/continents", &[], "");
    question["requestContext"]["http"]["method"] = json!("GET");
    let answer = ingest.invoke(&question).await.unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!((aws.answers().brokers_asked, aws.answers().secret_asked), (1, 2));
    let said = ingest.lambda.sandboxes()[0].log();
    assert!(!said.contains("second") && said.contains("the login has been renewed"), "{said}");
    ingest.lambda.stop().await.unwrap();
    run(format!("drop role {role}")).await;
}
