//! A stub of the AWS services that Sluice uses: MSK (a cluster's brokers), Secrets Manager (secrets) and SES (e-mail).
//! Tests can change the brokers and the secret.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::aws::Aws;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub(crate) const CLUSTER: &str = "arn:aws:kafka:eu-central-1:123456789012:cluster/sluice/5f-2";
pub(crate) const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sluice-AbCdEf";

/// The secret that holds the key for signing tokens.
pub(crate) const TOKEN_SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:tokens-AbCdEf";

/// The secret that holds the login of the database's owner.
pub(crate) const OWNER_SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner-AbCdEf";

/// The current answers of the stub, and how often some of them were requested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    /// The answer of `GetBootstrapBrokers`.
    pub(crate) brokers: Value,
    /// The text of [`SECRET`].
    pub(crate) secret: String,
    /// The text of [`OWNER_SECRET`].
    pub(crate) owner_secret: String,
    /// Whether requests are answered with 500. Requests for the token key and for the owner's secret always succeed.
    pub(crate) is_down: bool,
    /// Whether requests for brokers are answered with 429.
    pub(crate) is_throttled: bool,
    pub(crate) brokers_asked: usize,
    pub(crate) secret_asked: usize,
    /// The e-mails that `SendEmail` received.
    pub(crate) mails: Vec<Value>,
}

/// A stub of three AWS services.
pub(crate) struct StubAws {
    /// The stub's address.
    pub(crate) url: String,
    answers: Arc<Mutex<Answers>>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl StubAws {
    pub(crate) async fn start() -> Self {
        let answers = Arc::<Mutex<Answers>>::default();
        // MSK has a path for each operation. Secrets Manager has one path for all operations.
        let router = Router::new()
            .route("/v1/clusters/{arn}/bootstrap-brokers", get(brokers))
            .route("/", post(secret))
            .route("/v2/email/outbound-emails", post(mail))
            .with_state(Arc::clone(&answers));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        Self { url, answers, _serving: serving }
    }

    /// Changes the answers.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap());
    }

    pub(crate) fn answers(&self) -> Answers {
        self.answers.lock().unwrap().clone()
    }

    /// Returns the AWS settings of clients in this process.
    pub(crate) async fn client(&self) -> Aws {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .test_credentials()
            .timeout_config(Aws::timeouts())
            .endpoint_url(&self.url);
        Aws::with(config.load().await)
    }

    /// Returns the variables that make a process send its requests to the stub.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL_KAFKA", &self.url),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.url),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "a test's own secret"),
        ]
    }
}

type Api = State<Arc<Mutex<Answers>>>;

/// <https://docs.aws.amazon.com/msk/1.0/apireference/clusters-clusterarn-bootstrap-brokers.html>
async fn brokers(State(answers): Api, Path(arn): Path<String>) -> (StatusCode, Json<Value>) {
    let mut answers = answers.lock().unwrap();
    answers.brokers_asked += 1;
    if answers.is_down {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"message": "down"})));
    }
    if answers.is_throttled {
        return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"message": "too many requests"})));
    }
    if arn != CLUSTER {
        return (StatusCode::NOT_FOUND, Json(json!({"message": "there is no such cluster"})));
    }
    (StatusCode::OK, Json(answers.brokers.clone()))
}

/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
async fn secret(State(answers): Api, headers: HeaderMap, question: Bytes) -> (StatusCode, Json<Value>) {
    let question: Value = serde_json::from_slice(&question).unwrap();
    if question["SecretId"] == TOKEN_SECRET {
        return (StatusCode::OK, Json(json!({"ARN": TOKEN_SECRET, "Name": "tokens", "SecretString": "5a".repeat(32)})));
    }
    let mut answers = answers.lock().unwrap();
    if question["SecretId"] == OWNER_SECRET {
        return (
            StatusCode::OK,
            Json(json!({"ARN": OWNER_SECRET, "Name": "owner", "SecretString": answers.owner_secret})),
        );
    }
    answers.secret_asked += 1;
    assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
    if answers.is_down {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"__type": "InternalServiceError"})));
    }
    if question["SecretId"] != SECRET {
        let error = json!({"__type": "ResourceNotFoundException", "message": "there is no such secret"});
        return (StatusCode::BAD_REQUEST, Json(error));
    }
    (StatusCode::OK, Json(json!({"ARN": SECRET, "Name": "sluice", "SecretString": answers.secret})))
}

/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>
async fn mail(State(answers): Api, Json(mail): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut answers = answers.lock().unwrap();
    if answers.is_down {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"message": "down"})));
    }
    answers.mails.push(mail);
    (StatusCode::OK, Json(json!({"MessageId": "1"})))
}
