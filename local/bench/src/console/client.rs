//! Sends one request after another, and measures the duration of each.

use std::time::Instant;

use local::CommandError;
use reqwest::Method;
use serde_json::{Value, json};

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Request {
    /// Creates a `GET`.
    pub(super) fn get(path: impl Into<String>, query: &[(&'static str, &str)]) -> Self {
        let query = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { method: Method::GET, path: path.into(), query, body: None }
    }

    /// Creates a `POST` with a JSON body.
    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), query: Vec::new(), body: Some(body) }
    }

    /// Creates a `POST` without a body.
    pub(super) fn post_nothing(path: impl Into<String>) -> Self {
        Self { method: Method::POST, path: path.into(), query: Vec::new(), body: None }
    }
}

/// An admin's client.
#[derive(Debug)]
pub(super) struct Client {
    url: String,
    http: reqwest::Client,
    token: String,
}

impl Client {
    /// Logs in.
    pub(super) async fn log_in(url: String, user: &str, password: &str) -> Result<Self, CommandError> {
        let http = reqwest::Client::builder().build().map_err(|error| failed(&error))?;
        let credentials = json!({"user": user, "pass": password});
        let answer = http.post(format!("{url}/login")).json(&credentials).send().await;
        let answer: Value = match answer {
            Ok(answer) => answer.json().await.map_err(|error| failed(&error))?,
            Err(error) => return Err(failed(&error)),
        };
        let token = answer["token"].as_str().ok_or_else(|| failed(&answer))?.to_owned();
        Ok(Self { url, http, token })
    }

    /// Sends a request. Returns the time until the last byte of its answer, in milliseconds.
    ///
    /// # Errors
    /// The request failed, or was refused.
    pub(super) async fn send(&self, request: &Request) -> Result<f64, CommandError> {
        let Request { method, path, query, body } = request;
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query);
        let mut sending =
            self.http.request(method.clone(), url.map_err(|error| failed(&error))?).bearer_auth(&self.token);
        if let Some(body) = body {
            sending = sending.json(body);
        }
        let begun = Instant::now();
        let answer = sending.send().await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let text = answer.bytes().await.map_err(|error| failed(&error))?;
        let took = begun.elapsed();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&text);
            return Err(CommandError::Bench(format!("{method} {path} {query:?}: {status} {text}")));
        }
        Ok(took.as_secs_f64() * 1_000.0)
    }
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Bench(error.to_string())
}
