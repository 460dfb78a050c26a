//! Sends CloudFormation an answer: a PUT to a signed address of S3.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use tokio::time::{sleep, timeout};

/// The number of attempts to send an answer. All attempts, with the pauses, take less than half a minute.
const ATTEMPTS: u32 = 5;
/// The time limit for S3's answer.
const PATIENCE: Duration = Duration::from_secs(4);
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why CloudFormation did not get an answer. The address is a secret, so no message contains it.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The address is not HTTPS.
    #[error("ResponseURL must be an https URL")]
    Address,
    /// The machine's CA certificates cannot be read.
    #[error("the machine's CA certificates cannot be read: {0}")]
    Certificates(#[source] std::io::Error),
    /// S3 refuses the answer.
    #[error("CloudFormation's address refused the answer: {0}")]
    Refused(StatusCode),
    /// S3 cannot be reached.
    #[error(
        "the answer did not reach CloudFormation's address: {0}; do the subnets have a route to S3, through NAT or a gateway \
         endpoint whose policy allows CloudFormation's buckets?"
    )]
    Unreachable(String),
}

/// Sends an answer, several times if necessary.
///
/// # Errors
/// The address is wrong or cannot be reached, or S3 refuses the answer.
pub(crate) async fn deliver(url: &str, body: String) -> Result<(), DeliveryError> {
    let uri: Uri = url.parse().map_err(|_malformed| DeliveryError::Address)?;
    if uri.scheme_str() != Some("https") && !is_here(&uri) {
        return Err(DeliveryError::Address);
    }
    let (client, body) = (client()?, Bytes::from(body));
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let error = match put(&client, &uri, body.clone()).await {
            Ok(status) if status.is_success() => return Ok(()),
            Ok(status) if !may_pass(status) => return Err(DeliveryError::Refused(status)),
            Ok(status) => status.to_string(),
            Err(cause) => cause,
        };
        if attempt == ATTEMPTS {
            return Err(DeliveryError::Unreachable(error));
        }
        tracing::warn!("the answer did not reach CloudFormation's address, and will be sent again: {error}");
        sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

fn client() -> Result<HttpsClient, DeliveryError> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(aws_lc_rs::default_provider())
        .map_err(DeliveryError::Certificates)?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

async fn put(client: &HttpsClient, uri: &Uri, body: Bytes) -> Result<StatusCode, String> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = uri.clone();
    // The address is signed for requests with an empty content type.
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(""));
    match timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(response)) => Ok(response.status()),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_late) => Err("no answer in time".to_owned()),
    }
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Returns whether the address is on this machine, as in tests.
fn is_here(uri: &Uri) -> bool {
    let address = uri.host().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    address.is_some_and(|address| address.is_loopback())
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
