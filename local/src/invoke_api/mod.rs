//! Lambda's Invoke API for the functions in this process.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>

mod caller;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use console::ConsoleFunction;
use consume::Consume;
use lambda_runtime::{Context, Diagnostic};
use report::ReportFunction;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use shared::http::lambda::HttpFunction;

use self::caller::no_web_page;
use crate::event_source_mapping::function::CONSUME_TIMEOUT;

/// A little more than Lambda's payload quota of 6 MiB.
const MOST_PAYLOAD_BYTES: usize = 7 * 1024 * 1024;

/// All functions that can be invoked.
#[derive(Clone)]
pub(crate) struct Functions {
    pub(crate) consume: Arc<Consume>,
    pub(crate) ingest: HttpFunction,
    pub(crate) console: ConsoleFunction,
    pub(crate) users: HttpFunction,
    pub(crate) report: ReportFunction,
}

/// The beginning of the paths that [`routes`] serves.
pub(crate) const PREFIX: &str = "/2015-03-31/functions/";

/// Serves the only supported route of the Invoke API.
pub(crate) fn routes(functions: Functions) -> Router {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .layer(DefaultBodyLimit::max(MOST_PAYLOAD_BYTES))
        .route_layer(from_fn(no_web_page))
        .with_state(functions)
}

async fn invoke(State(functions): State<Functions>, Path(name): Path<String>, payload: Bytes) -> Response {
    let context = Context::default();
    let answer = match (name.as_str(), std::str::from_utf8(&payload)) {
        ("consume", _) => consumed(&functions.consume, &payload).await,
        ("ingest", Ok(event)) => functions.ingest.invoke(event, context).await.map_err(not_an_event),
        ("console", Ok(event)) => functions.console.invoke(event, context).await.map_err(Diagnostic::from),
        ("users", Ok(event)) => functions.users.invoke(event, context).await.map_err(not_an_event),
        ("report", Ok(event)) => functions.report.invoke(event, context).await.map_err(Diagnostic::from),
        ("ingest" | "console" | "users" | "report", Err(error)) => Err(not_an_event(error)),
        (name, _) => {
            let answer = json!({ "Type": "User", "Message": format!("Function not found: {name}") });
            return (StatusCode::NOT_FOUND, Json(answer)).into_response();
        }
    };
    match answer {
        Ok(answer) => ([(CONTENT_TYPE, "application/json")], Box::<str>::from(answer).into_string()).into_response(),
        Err(Diagnostic { error_type, error_message }) => {
            let mut response = Json(json!({ "errorType": error_type, "errorMessage": error_message })).into_response();
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            response
        }
    }
}

async fn consumed(consume: &Consume, payload: &[u8]) -> Result<Box<RawValue>, Diagnostic> {
    let summary = consume.invoke(payload, CONSUME_TIMEOUT).await?;
    to_raw_value(&summary).map_err(not_an_event)
}

fn not_an_event(error: impl std::fmt::Display) -> Diagnostic {
    Diagnostic { error_type: "Sluice.NotAnEvent".to_owned(), error_message: error.to_string() }
}
