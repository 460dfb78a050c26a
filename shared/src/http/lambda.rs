//! Routes behind API Gateway, on Lambda.

use axum::Router;
use lambda_http::http::Uri;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::util::{MapRequest, MapRequestLayer};
use lambda_http::tower::{Layer as _, Service as _};
use lambda_http::{Adapter, Context, Error, LambdaEvent, Request, RequestExt as _};
use serde_json::value::{RawValue, to_raw_value};

use super::edge::serve;

/// Answers API Gateway's requests with these routes, one at a time, until Lambda ends the process.
///
/// # Errors
/// The runtime API does not do its part.
pub async fn run(routes: Router) -> Result<(), Error> {
    lambda_http::run(MapRequestLayer::new(without_stage).layer(serve(routes))).await
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
