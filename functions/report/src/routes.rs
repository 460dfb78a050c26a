//! The routes. A handler parses the request, calls the domain, and returns its answer.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use shared::http::accept::prefers_html;
use shared::http::answer::json;
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::identity::{Identity, authenticated};

use crate::error::Error;
use crate::question::Question;
use crate::tally::Tally;
use crate::{Reports, page, summary};

/// Builds the function's routes, to be served by [`shared::http::edge::serve`].
pub fn routes(reports: Reports, identity: Identity) -> Router {
    Router::new()
        .route("/report", get(get_report))
        .route_layer(from_fn_with_state(identity, authenticated))
        .with_state(reports)
}

async fn get_report(State(reports): State<Reports>, headers: HeaderMap, uri: Uri) -> Result<Response, Error> {
    let question = Question::from_query(&Fields::from_query(uri.query(), &Question::PARAMETERS)?)?;
    let counted = in_time(summary::count(&reports.pool, &question)).await?;
    let tally = Tally::new(question, counted, reports.clock.now_ms());
    let mut response = if prefers_html(&headers) { page::page(&tally) } else { json(StatusCode::OK, &tally) };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
