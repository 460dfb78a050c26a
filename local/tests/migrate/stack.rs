//! A stack before its first deployment: the secrets of the owner and of the functions, a server without the database,
//! and a server that takes CloudFormation's place and receives the answers.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use testing::TestDatabase;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::aws::{OWNER_SECRET, SECRET, StubAws};
use crate::function::LambdaFunction;
use crate::support::gateway::{GatewayPlan, plan};
use crate::support::{kafka, unique};

pub(crate) const OWNER_PASSWORD: &str = "the owner's own password";
pub(crate) const PASSWORD: &str = "the functions' own password";

/// The timeout of `migrate` in template.yaml.
const TIMEOUT: Duration = Duration::from_secs(900);

/// A stack. The database's owner is not a superuser, as on RDS.
pub(crate) struct Stack {
    pub(crate) plan: GatewayPlan,
    /// The superuser's access to the server.
    pub(crate) server: TestDatabase,
    pub(crate) aws: StubAws,
    /// The name of the database, which does not exist yet. The name contains characters that must be quoted in SQL.
    pub(crate) database: String,
    pub(crate) owner: String,
    pub(crate) role: String,
    /// The server's host and port.
    pub(crate) place: String,
    /// The address for answers to CloudFormation.
    pub(crate) receiver: String,
    received: Arc<Mutex<Vec<Value>>>,
    _receiving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Stack {
    pub(crate) async fn new() -> Self {
        let (plan, server, aws) = (plan(), TestDatabase::create().await, StubAws::start().await);
        let (owner, role, database) = (unique("owner"), unique("functions"), unique("Sluice's"));
        let create = format!("create role \"{owner}\" login createdb createrole password '{}'", quoted(OWNER_PASSWORD));
        sqlx::query(&create).execute(&server.pool).await.unwrap();
        let secret = |name: &str, password: &str| json!({"username": name, "password": password}).to_string();
        aws.set(|answers| {
            answers.owner_secret = secret(&owner, OWNER_PASSWORD);
            answers.secret = secret(&role, PASSWORD);
        });
        let received = Arc::<Mutex<Vec<Value>>>::default();
        let seen = Arc::clone(&received);
        let receive = async move |body: Bytes| seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let receiver = format!("http://{}/?signature", listener.local_addr().unwrap());
        let serving = axum::serve(listener, Router::new().fallback(receive));
        let receiving = AbortOnDropHandle::new(tokio::spawn(serving.into_future()));
        let (_, place) = server.url.split_once('@').unwrap();
        let place = place.split_once('/').unwrap().0.to_owned();
        Self { plan, server, aws, database, owner, role, place, receiver, received, _receiving: receiving }
    }

    /// Returns the variables that template.yaml sets.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("DATABASE_URL", format!("postgres://{}/{}", self.place, self.database)),
            ("DATABASE_SECRET_ARN", SECRET.to_owned()),
            ("OWNER_SECRET_ARN", OWNER_SECRET.to_owned()),
            ("KAFKA_BOOTSTRAP_SERVERS", kafka::settings().bootstrap_servers),
            ("CONTRACTS_DIR", self.plan.contracts().to_str().unwrap().to_owned()),
        ];
        environment.extend(self.aws.variables().map(|(name, value)| (name, value.to_owned())));
        environment
    }

    pub(crate) async fn start(&self, changed: &[(&'static str, &str)]) -> LambdaFunction {
        let mut environment = self.environment();
        environment.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        environment.extend(changed.iter().map(|(name, value)| (*name, (*value).to_owned())));
        LambdaFunction::start("migrate", environment, TIMEOUT).await
    }

    /// Sends the function a recorded request. Returns the function's response, and the answer that CloudFormation
    /// received.
    pub(crate) async fn deploy(&self, function: &LambdaFunction, event: &str) -> (Value, Value) {
        self.deploy_with(event, async |event| function.invoke(&event).await.unwrap()).await
    }

    /// Sends a recorded request with `invoke`. Returns the response, and the answer that CloudFormation received.
    pub(crate) async fn deploy_with(&self, event: &str, invoke: impl AsyncFnOnce(Value) -> Value) -> (Value, Value) {
        let event = self.addressed(event);
        let request_id = event["RequestId"].clone();
        self.received.lock().unwrap().clear();
        let response = invoke(event).await;
        let received = self.received();
        let [answer] = &received[..] else { panic!("{received:?}") };
        assert_eq!(answer["RequestId"], request_id);
        assert_eq!(answer["PhysicalResourceId"], "sluice-migrate");
        (response, answer.clone())
    }

    /// Returns a recorded request whose answer goes to the receiver.
    pub(crate) fn addressed(&self, event: &str) -> Value {
        let mut event: Value = serde_json::from_str(event).unwrap();
        event["ResponseURL"] = json!(self.receiver);
        event
    }

    /// Returns the answers that CloudFormation has received.
    pub(crate) fn received(&self) -> Vec<Value> {
        self.received.lock().unwrap().clone()
    }

    /// Connects to the database with this login.
    pub(crate) async fn connect(&self, name: &str, password: &str) -> Result<PgConnection, sqlx::Error> {
        let options: PgConnectOptions = format!("postgres://{}", self.place).parse()?;
        options.username(name).password(password).database(&self.database).connect().await
    }

    /// Removes the database and the roles from the server.
    pub(crate) async fn remove(self) {
        for sql in [
            format!("drop database if exists \"{}\" with (force)", self.database),
            format!("drop role if exists \"{}\"", self.role),
            format!("drop role if exists \"{}\"", self.owner),
        ] {
            sqlx::query(&sql).execute(&self.server.pool).await.unwrap();
        }
    }
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}
