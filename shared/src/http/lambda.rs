//! Routes behind API Gateway, on Lambda.

use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::http::Extensions;
use axum::middleware::{Next, from_fn};
use lambda_http::http::Uri;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::util::{MapRequest, MapRequestLayer};
use lambda_http::tower::{Layer as _, Service as _};
use lambda_http::{Adapter, Context, Error, LambdaEvent, Request, RequestExt as _};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgPool;

use super::edge::serve;
use crate::database;
use crate::metrics::{Metrics, embed};

/// What an invocation keeps of its time, to write its answer.
const RESERVE: Duration = Duration::from_millis(500);

/// Answers API Gateway's requests with these routes, one at a time, until Lambda ends the process. What each has
/// counted in `metrics` goes to CloudWatch, and nothing is in flight on the connections of `pool` any more.
///
/// # Errors
/// The runtime API does not do its part.
pub async fn run(routes: Router, pool: PgPool, metrics: Metrics) -> Result<(), Error> {
    let to_the_end = from_fn(move |request: AxumRequest, next: Next| {
        let (pool, metrics) = (pool.clone(), metrics.clone());
        async move {
            let response = next.run(request).await;
            embed(&metrics);
            // The process may be frozen as soon as it has answered.
            database::settle(&pool).await;
            response
        }
    });
    lambda_http::run(MapRequestLayer::new(without_stage).layer(serve(routes).layer(to_the_end))).await
}

/// Until when a request is to be dealt with, so that it can be answered before Lambda ends its invocation; none where
/// no Lambda ends it. `cargo lambda watch` tells a time in 1970.
pub fn deadline(extensions: &Extensions) -> Option<Instant> {
    let context = extensions.get::<Context>()?;
    let left = context.deadline().duration_since(SystemTime::now()).ok()?;
    Some(Instant::now() + left.saturating_sub(RESERVE))
}

/// Routes as a function that other events invoke, too.
#[derive(Clone)]
pub struct HttpFunction(MapRequest<Router, fn(Request) -> Request>);

impl HttpFunction {
    /// A function that answers API Gateway's events with these routes.
    pub fn new(routes: Router) -> Self {
        Self(MapRequestLayer::new(without_stage as fn(Request) -> Request).layer(serve(routes)))
    }

    /// Answers an event of API Gateway (payload format 2.0) in the form that it expects.
    ///
    /// # Errors
    /// The event is none of API Gateway's.
    pub async fn invoke(&self, event: &str, context: Context) -> Result<Box<RawValue>, serde_json::Error> {
        let payload: LambdaRequest = serde_json::from_str(event)?;
        let answering = Adapter::from(self.0.clone()).call(LambdaEvent { payload, context });
        let Ok(response) = answering.await;
        to_raw_value(&response)
    }
}

/// Takes away the name of a stage, which stands before the path of all but `$default`.
fn without_stage(mut request: Request) -> Request {
    let stage = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        _ => None,
    };
    let prefix = stage.map(|stage| format!("/{stage}")).unwrap_or_default();
    let path_and_query = request.uri().path_and_query().map(|rest| rest.as_str()).unwrap_or_default();
    if let Some(rest) = path_and_query.strip_prefix(&prefix).filter(|rest| rest.starts_with('/'))
        && let Ok(uri) = rest.parse::<Uri>()
    {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;

    use super::*;

    fn path(stage: &str, path: &str) -> String {
        let mut context = ApiGatewayV2httpRequestContext::default();
        context.stage = Some(stage.to_owned());
        let mut request = Request::default().with_request_context(RequestContext::ApiGatewayV2(context));
        *request.uri_mut() = Uri::try_from(path).unwrap_or_default();
        without_stage(request).uri().to_string()
    }

    #[test]
    fn a_named_stage_is_no_part_of_the_path() {
        assert_eq!(path("prod", "https://x.org/prod/events/city?a=/prod/"), "/events/city?a=/prod/");
        assert_eq!(path("prod", "/product/city"), "/product/city");
        assert_eq!(path("$default", "/events/city"), "/events/city");
    }
}
