//! The function that a mapping invokes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use consume::Consume;
use reqwest::Url;
use tokio_util::task::AbortOnDropHandle;

/// Why an invocation failed. Its batch is delivered again.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// The function returned an error.
    #[error("{0}")]
    Failed(String),
    /// The function panicked.
    #[error("the function panicked")]
    Panicked,
    /// The function could not be reached, or did not answer.
    #[error("{url} did not answer: {source}")]
    Unreachable {
        /// The function's address.
        url: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer did not come from a function.
    #[error("{url} answered {status}: {body}")]
    Status {
        /// The address that answered.
        url: Url,
        /// The status of the answer.
        status: reqwest::StatusCode,
        /// The beginning of the answer.
        body: String,
    },
}

/// The future of a running invocation. The future resolves to the function's answer, which is JSON or empty.
pub type Invocation<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FunctionError>> + Send + 'a>>;

/// A function that accepts the events of a Kafka event source.
pub trait Function: Send + Sync {
    /// Invokes the function with the event's JSON. Dropping the future ends an invocation in this process. An
    /// invocation over HTTP may continue.
    fn invoke(&self, payload: Bytes) -> Invocation<'_>;
}

/// The timeout of `consume` in template.yaml.
pub const CONSUME_TIMEOUT: Duration = Duration::from_secs(300);

/// Invokes `consume` in this process.
pub struct InProcess(pub Arc<Consume>);

impl Function for InProcess {
    fn invoke(&self, payload: Bytes) -> Invocation<'_> {
        let consume = Arc::clone(&self.0);
        // `consume` runs in its own task, so that it can use another core than the mapping. A panic then fails only the
        // invocation, as on Lambda.
        let task = AbortOnDropHandle::new(tokio::spawn(async move { consume.invoke(&payload, CONSUME_TIMEOUT).await }));
        Box::pin(async move {
            match task.await {
                Ok(Ok(summary)) => serde_json::to_vec(&summary)
                    .map(Bytes::from)
                    .map_err(|error| FunctionError::Failed(error.to_string())),
                Ok(Err(error)) => Err(FunctionError::Failed(error.to_string())),
                Err(_panicked) => Err(FunctionError::Panicked),
            }
        })
    }
}

/// Invokes a function through Lambda's Invoke API. `cargo lambda watch` and `local/up` also serve this API.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
#[derive(Debug)]
pub struct OverHttp {
    client: reqwest::Client,
    url: Url,
}

/// The time limit for an answer. It exceeds the 14 minutes that a function with a Kafka source may run.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

impl OverHttp {
    /// Creates a client for the function `name` at `endpoint`.
    ///
    /// # Errors
    /// The endpoint is an address without a path, such as `mailto:`, or the HTTP client cannot be set up.
    pub fn new(endpoint: &Url, name: &str) -> Result<Self, EndpointError> {
        let mut url = endpoint.clone();
        url.path_segments_mut().map_err(|()| EndpointError::NotABase(endpoint.clone()))?.pop_if_empty().extend([
            "2015-03-31",
            "functions",
            name,
            "invocations",
        ]);
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(LONGEST_INVOCATION)
            .build()
            .map_err(EndpointError::Client)?;
        Ok(Self { client, url })
    }

    async fn post(&self, payload: Bytes) -> Result<Bytes, FunctionError> {
        let unreachable = |source| FunctionError::Unreachable { url: self.url.clone(), source };
        let answer = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .body(payload)
            .send()
            .await
            .map_err(unreachable)?;
        let status = answer.status();
        let is_error = answer.headers().contains_key("x-amz-function-error");
        let body = answer.bytes().await.map_err(unreachable)?;
        let error = serde_json::from_slice::<ErrorAnswer>(&body).ok();
        match error {
            Some(ErrorAnswer { error_type, error_message }) => {
                Err(FunctionError::Failed(format!("{error_type}: {error_message}")))
            }
            None if is_error || !status.is_success() => Err(FunctionError::Status {
                url: self.url.clone(),
                status,
                body: String::from_utf8_lossy(&body).chars().take(200).collect(),
            }),
            None => Ok(body),
        }
    }
}

impl Function for OverHttp {
    fn invoke(&self, payload: Bytes) -> Invocation<'_> {
        Box::pin(self.post(payload))
    }
}

/// Why functions cannot be invoked at an address.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address is of a kind that has no path, such as `mailto:`.
    #[error("{0} is not an address with a path, such as http://127.0.0.1:9000")]
    NotABase(Url),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[source] reqwest::Error),
}

/// A handler's error, in the form in which the Runtime API reports it.
#[derive(Debug, serde::Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "errorType")]
    error_type: String,
    #[serde(rename = "errorMessage", default)]
    error_message: String,
}
