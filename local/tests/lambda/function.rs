//! Runs a function in one sandbox, and reads its log.

use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use local::lambda::{Answer, Lambda, Plan};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::{KafkaSettings, topics};
use sqlx::PgPool;
use tempfile::TempDir;

use super::support::gateway::{ADMIN, plan};
use super::support::{binaries, kafka};

/// The timeout of `ingest` in template.yaml.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A running function.
pub(crate) struct LambdaFunction {
    pub(crate) lambda: Lambda,
    _folder: TempDir,
}

/// Returns the variables that every function gets: its database, its cluster, its contracts and its token key.
pub(crate) fn environment(database_url: &str, kafka: &KafkaSettings, contracts: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", database_url.to_owned()),
        ("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers.clone()),
        ("CONTRACTS_DIR", contracts.to_str().unwrap().to_owned()),
        ("TOKEN_KEY", "5a".repeat(32)),
    ]
}

impl LambdaFunction {
    /// Starts the function. Each invocation may take `timeout`.
    pub(crate) async fn start(name: &'static str, environment: Vec<(&'static str, String)>, timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan {
            name,
            binary: binaries::folder().await.join(name),
            environment,
            timeout,
            freezes: true,
            folder: folder.path().to_owned(),
        };
        Self { lambda: Lambda::start(plan, 1).await.unwrap(), _folder: folder }
    }

    /// Returns the function's answer to an event, or the JSON of the error.
    pub(crate) async fn invoke(&self, event: &Value) -> Result<Value, Value> {
        match self.lambda.invoke(Bytes::from(event.to_string())).await {
            Answer::Response(body) => Ok(serde_json::from_slice(&body).unwrap()),
            Answer::Error(body) => Err(serde_json::from_slice(&body).unwrap()),
        }
    }

    /// Returns the type of the error that an event causes.
    pub(crate) async fn error_type(&self, event: &Value) -> String {
        self.invoke(event).await.unwrap_err()["errorType"].as_str().unwrap().to_owned()
    }

    /// Posts JSON as API Gateway does, with the admin's credentials. Returns status and body.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u64, Value) {
        let answer = self.invoke(&request("$default", path, headers, body)).await.unwrap();
        (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
    }

    /// Returns the lines logged so far, each of which is JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let log = self.lambda.sandboxes()[0].log();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    /// Returns the lines from which CloudWatch makes metrics, without their metadata.
    pub(crate) fn metrics(&self) -> Vec<Value> {
        let lines = self.lines().into_iter().filter(|line| line.get("_aws").is_some());
        let mut metrics: Vec<Value> = lines.collect();
        metrics.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("_aws")));
        metrics
    }

    /// Returns the log lines with this message.
    pub(crate) fn said(&self, message: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["message"] == message).collect()
    }
}

/// The function `ingest` with everything that it needs: topics in Kafka, and an admin in the database.
pub(crate) struct IngestLambda {
    pub(crate) function: LambdaFunction,
    pub(crate) registry: Registry,
    _contracts: super::support::gateway::GatewayPlan,
}

impl IngestLambda {
    pub(crate) async fn start(database: (&PgPool, &str), kafka: &KafkaSettings, timeout: Duration) -> Self {
        let plan = plan();
        let registry = Registry::load(Some(plan.contracts())).unwrap();
        topics::ensure(kafka, &registry).await.unwrap();
        let (pool, url) = database;
        make_admin(pool, &UserName::parse(ADMIN.0).unwrap(), Password::given(ADMIN.1)).await.unwrap();
        let function = LambdaFunction::start("ingest", environment(url, kafka, plan.contracts()), timeout).await;
        Self { function, registry, _contracts: plan }
    }

    /// Returns the users whose positions are in the topic of `route`.
    pub(crate) async fn users(&self, kafka: &KafkaSettings) -> Vec<i64> {
        let values = kafka::values(kafka, &self.registry.stream("route").unwrap().topic).await;
        let events = values.iter().filter_map(|value| serde_json::from_slice::<Value>(value).ok());
        let mut users: Vec<i64> = events.filter_map(|event| event["userID"].as_i64()).collect();
        users.sort_unstable();
        users
    }
}

/// Changes AWS's example of an HTTP API's event (payload format 2.0) to a `POST` of JSON with the admin's credentials.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
pub(crate) fn request(stage: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/http_api.json")).unwrap();
    // API Gateway decodes the path once.
    let path = percent_decode_str(path).decode_utf8().unwrap();
    let path = if stage == "$default" { path.into_owned() } else { format!("/{stage}{path}") };
    let credentials = base64_simd::STANDARD.encode_to_string(format!("{}:{}", ADMIN.0, ADMIN.1));
    event["headers"]["authorization"] = json!(format!("Basic {credentials}"));
    event["headers"]["content-type"] = json!("application/json");
    for (name, value) in headers {
        event["headers"][name] = json!(value);
    }
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!("");
    event["requestContext"]["http"]["path"] = json!(path);
    event["requestContext"]["stage"] = json!(stage);
    event["body"] = json!(base64_simd::STANDARD.encode_to_string(body));
    event
}

/// Returns an event with a position of a user.
pub(crate) fn position(user: i64) -> String {
    json!({"userID": user, "timestamp": 1557258853.563, "coordinates": [52.3676, 4.9041]}).to_string()
}

/// Returns a batch of positions, in the form of AWS's example.
pub(crate) fn batch(topic: &str, first_offset: i64, positions: &[String]) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/msk.json")).unwrap();
    let mut record = event["records"]["mytopic-0"][0].clone();
    let records = (first_offset..).zip(positions).map(|(offset, position)| {
        record["topic"] = json!(topic);
        record["offset"] = json!(offset);
        record["value"] = json!(base64_simd::STANDARD.encode_to_string(position));
        record.clone()
    });
    let records: Vec<Value> = records.collect();
    event["records"] = json!({ format!("{topic}-0"): records });
    event
}
