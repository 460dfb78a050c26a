//! A client of the gateway's routes, for commands that send a request and print the answer. (`send` has a different
//! client, which retries.)

use std::error::Error as _;
use std::time::Duration;

use clap::Args;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde_json::Value;

use crate::DEFAULT_ADDRESS;
use crate::credentials::Credentials;

/// The time limit for an answer. The gateway may take about 20 s to answer `GET /follow`.
const ANSWER: Duration = Duration::from_secs(40);

/// The address of the gateway, and the user who sends the requests.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayArgs {
    /// Address of the gateway.
    #[arg(long, value_name = "URL", default_value = DEFAULT_ADDRESS)]
    to: Url,
    /// Credentials of an admin (HTTP Basic).
    #[arg(long, value_name = "NAME:PASSWORD")]
    user: Option<Credentials>,
}

/// Why the gateway gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0}: https is not supported yet: this command has no TLS. Give an http address")]
    Https(Url),
    #[error("{0} is not a valid address: give one such as http://127.0.0.1:9000")]
    Address(Url),
    #[error("the HTTP client could not be set up: {0}")]
    Setup(#[source] reqwest::Error),
    #[error("{url} did not answer: {cause}. Is `./local/up` running? Name another address with --to URL")]
    Unreachable { url: Url, cause: String },
    #[error("{}", refusal(*.status, .detail))]
    Refused { status: StatusCode, detail: String },
    #[error("{url} did not answer with JSON: {cause}")]
    Unexpected { url: Url, cause: String },
}

fn refusal(status: StatusCode, detail: &str) -> String {
    match status {
        StatusCode::UNAUTHORIZED => format!("{detail} Give an admin's name and password: --user NAME:PASSWORD"),
        StatusCode::FORBIDDEN => format!("{detail} Only admins may do this."),
        _ if detail.is_empty() => format!("the gateway answered {status}"),
        _ => detail.to_owned(),
    }
}

/// The gateway at an address.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    credentials: Option<Credentials>,
}

impl Client {
    /// Creates a client, which connects at its first request.
    pub(crate) fn new(gateway: GatewayArgs) -> Result<Self, ClientError> {
        let GatewayArgs { to: base, user: credentials } = gateway;
        match base.scheme() {
            "http" if base.has_host() => {}
            "https" => return Err(ClientError::Https(base)),
            _ => return Err(ClientError::Address(base)),
        }
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).timeout(ANSWER).build();
        Ok(Self { http: http.map_err(ClientError::Setup)?, base, credentials })
    }

    /// Gets a resource.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, ClientError> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(self.http.get(url)).await
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, ClientError> {
        self.ask(self.http.post(self.url(path)).json(body)).await
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Value, ClientError> {
        let request = match &self.credentials {
            Some(Credentials { name, password }) => request.basic_auth(name, Some(password)),
            None => request,
        };
        let unreachable =
            |error: reqwest::Error| ClientError::Unreachable { url: self.base.clone(), cause: cause(&error) };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        let json: Result<Value, _> = serde_json::from_slice(&body);
        match json {
            Ok(json) if status.is_success() => Ok(json),
            Err(error) if status.is_success() => {
                Err(ClientError::Unexpected { url: self.base.clone(), cause: error.to_string() })
            }
            problem => {
                let detail = problem.ok().and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
                Err(ClientError::Refused { status, detail: detail.unwrap_or_default() })
            }
        }
    }
}

/// Returns an error's innermost cause, because the outer causes repeat the address.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut source = error.source();
    let mut text = error.to_string();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[tokio::test]
    async fn if_nothing_answers_the_error_is_one_line_that_ends_with_the_flag_for_another_address() {
        // The listener is dropped at once, so nothing listens on its port.
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let to = Url::parse(&format!("http://{unused}")).unwrap();
        let client = Client::new(GatewayArgs { to, user: None }).unwrap();
        let error = client.get(&["dead-letters"], &[]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("http://{unused}/ did not answer: ")), "{error}");
        assert!(error.ends_with("Name another address with --to URL") && !error.contains('\n'), "{error}");
    }
}
