//! Serves routes on Lambda, behind API Gateway.

use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::http::Extensions;
use axum::http::header::HOST;
use axum::middleware::{Next, from_fn};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::tower::util::{MapRequest, MapRequestLayer};
use lambda_http::tower::{Layer as _, Service as _};
use lambda_http::{Adapter, Context, Error, LambdaEvent, Request, RequestExt as _, lambda_runtime};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgPool;
use url::Url;

use super::edge::serve;
use super::path::{encoded, encoded_query, with_path};
use crate::database;
use crate::metrics::{Metrics, embed};
use crate::process::clock::unix_ms;

/// The part of an invocation's time that is reserved for writing the response.
const RESERVE: Duration = Duration::from_millis(500);
/// The time limit of a request in milliseconds, counted from its arrival at API Gateway. API Gateway waits for 30 s,
/// including the time that a new Lambda sandbox takes to start. This limit leaves a second for sending the response.
const API_GATEWAY_MS: i64 = 29_000;
/// The header with the scheme of the caller's request. `lambda_http` puts the scheme into a URL.
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
/// The longest time that Lambda lets an invocation run. An event that is older must be a recording, as in tests.
const LONGEST_INVOCATION_MS: i64 = 900_000;

/// Serves API Gateway's requests with these routes, one at a time, until Lambda ends the process. After each request,
/// this writes `metrics` for CloudWatch, and waits until nothing is in flight on the connections of `pool`.
///
/// # Errors
/// The Runtime API fails.
pub async fn run(routes: Router, pool: PgPool, metrics: Metrics) -> Result<(), Error> {
    let to_the_end = from_fn(move |request: AxumRequest, next: Next| {
        let (pool, metrics) = (pool.clone(), metrics.clone());
        async move {
            let response = next.run(request).await;
            embed(&metrics);
            // Lambda may freeze the process as soon as the process has answered.
            database::wait_until_idle(&pool).await;
            response
        }
    });
    let service = MapRequestLayer::new(with_decoded_path).layer(serve(routes).layer(to_the_end));
    lambda_runtime::run(MapRequestLayer::new(with_encoded_path).layer(Adapter::from(service))).await
}

/// Returns the deadline of a request: early enough to answer before Lambda ends the invocation, and before API Gateway
/// gives up. `None` outside Lambda.
pub fn deadline(extensions: &Extensions) -> Option<Instant> {
    let now = SystemTime::now();
    // `cargo lambda watch` reports a deadline in 1970, which is ignored.
    let lambdas = extensions.get::<Context>().and_then(|context| context.deadline().duration_since(now).ok());
    let lambdas = lambdas.map(|left| left.saturating_sub(RESERVE));
    let gateways = match extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => left_at_api_gateway(context.time_epoch, unix_ms(now)),
        _ => None,
    };
    let left = lambdas.into_iter().chain(gateways).min()?;
    Some(Instant::now() + left)
}

/// Copies the extensions that [`deadline`] reads, so that a call on behalf of a request has the request's deadline.
pub fn copy_deadline(from: &Extensions, to: &mut Extensions) {
    if let Some(context) = from.get::<Context>() {
        to.insert(context.clone());
    }
    if let Some(context) = from.get::<RequestContext>() {
        to.insert(context.clone());
    }
}

/// Returns how long API Gateway still waits for the response to a request that it received at `received_ms`. Returns
/// `None` if `received_ms` is at least 15 minutes in the past, or further than that in the future. The event must then
/// be a recording, because Lambda ends every invocation after 15 minutes.
fn left_at_api_gateway(received_ms: i64, now_ms: i64) -> Option<Duration> {
    let age_ms = now_ms.checked_sub(received_ms)?;
    let left_ms = API_GATEWAY_MS.saturating_sub(age_ms).max(0);
    let is_current = (-LONGEST_INVOCATION_MS..LONGEST_INVOCATION_MS).contains(&age_ms);
    is_current.then(|| Duration::from_millis(left_ms.unsigned_abs()))
}

/// Serves routes in a function that is also invoked by services other than API Gateway.
#[derive(Clone)]
pub struct HttpFunction(MapRequest<Router, fn(Request) -> Request>);

impl HttpFunction {
    /// Creates a function that answers API Gateway's events with these routes.
    pub fn new(routes: Router) -> Self {
        Self(MapRequestLayer::new(with_decoded_path as fn(Request) -> Request).layer(serve(routes)))
    }

    /// Answers an event of API Gateway (payload format 2.0).
    ///
    /// # Errors
    /// The event is not from API Gateway.
    pub async fn invoke(&self, event: &str, context: Context) -> Result<Box<RawValue>, serde_json::Error> {
        let payload: LambdaRequest = serde_json::from_str(event)?;
        let event = with_encoded_path(LambdaEvent { payload, context });
        let answering = Adapter::from(self.0.clone()).call(event);
        let Ok(response) = answering.await;
        to_raw_value(&response)
    }
}

/// Encodes an event's path and query, before `lambda_http` parses them as parts of a URL.
fn with_encoded_path(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload {
        remove_unusable_origin(request);
        request.raw_path = request.raw_path.as_deref().map(encoded);
        request.raw_query_string = request.raw_query_string.as_deref().map(encoded_query);
    }
    event
}

/// Removes a host that cannot be part of a URL. With such a host, `lambda_http` would panic, so any caller could make
/// the function fail. An invalid scheme could cause the same panic. The scheme is always removed, because nothing reads
/// it.
fn remove_unusable_origin(request: &mut ApiGatewayV2httpRequest) {
    let is_usable = |host: &str| {
        let url = Url::parse(&format!("https://{host}/"));
        url.is_ok_and(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
    };
    request.headers.remove(X_FORWARDED_PROTO);
    let host = request.headers.get(HOST).map(|host| host.to_str().is_ok_and(is_usable));
    if host == Some(false) {
        request.headers.remove(HOST);
    }
    request.request_context.domain_name = request.request_context.domain_name.take().filter(|name| is_usable(name));
}

/// Replaces the path that `lambda_http` made with the path that [`with_encoded_path`] encoded, so that dot segments
/// stay in the path. The stage's name, which precedes the path in every stage except `$default`, is removed.
fn with_decoded_path(mut request: Request) -> Request {
    let stage = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        _ => None,
    };
    let path = request.raw_http_path();
    let prefix = stage.map(|stage| format!("/{}", encoded(stage))).unwrap_or_default();
    let path = path.strip_prefix(&prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if let Some(uri) = with_path(request.uri(), path) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::extract::Path;
    use axum::routing::get;
    use serde_json::{Value, json};

    use super::*;

    fn event(stage: &str, raw_path: &str, raw_query: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": raw_path, "rawQueryString": raw_query, "headers": {},
            "isBase64Encoded": false,
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "d", "domainPrefix": "p", "requestId": "r",
                "routeKey": "$default", "stage": stage, "time": "t", "timeEpoch": 1,
                "http": {
                    "method": "GET", "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"
                }
            }
        })
    }

    /// Returns the status of the answer, and what the handler saw.
    async fn seen(event: &Value) -> (u64, String) {
        let handler = async |Path(name): Path<String>, uri: axum::http::Uri| {
            format!("{name} {}", uri.query().unwrap_or_default())
        };
        let function = HttpFunction::new(Router::new().route("/users/{name}", get(handler)));
        let answer = function.invoke(&event.to_string(), Context::default()).await;
        let answer: Value = answer.ok().and_then(|answer| serde_json::from_str(answer.get()).ok()).unwrap_or_default();
        (answer["statusCode"].as_u64().unwrap_or_default(), answer["body"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn a_handler_sees_the_name_as_it_was_before_the_caller_encoded_it() {
        for (raw_path, name) in [
            ("/users/eve", "eve"),
            ("/users/eve?1", "eve?1"),
            ("/users/eve#1", "eve#1"),
            ("/users/a%41", "a%41"),
            ("/users/a%2F..%2Fbob", "a%2F..%2Fbob"),
            ("/users/J\u{f6}rg K", "J\u{f6}rg K"),
            ("/users/a\\b", "a\\b"),
            ("/users/a\tb\n", "a\tb\n"),
            ("/users/a;b=c", "a;b=c"),
        ] {
            assert_eq!(seen(&event("$default", raw_path, "")).await, (200, format!("{name} ")), "{raw_path}");
            let with_stage = event("prod", &format!("/prod{raw_path}"), "a=%23&b=/prod/");
            assert_eq!(seen(&with_stage).await, (200, format!("{name} a=%23&b=/prod/")), "{raw_path}");
        }
        assert_eq!(seen(&event("$default", "/users/eve", "a=b c#d\"")).await, (200, "eve a=b%20c%23d%22".to_owned()));
    }

    #[tokio::test]
    async fn a_path_with_dot_segments_is_refused_and_an_encoded_slash_separates_segments() {
        for raw_path in ["/users/a/../bob", "/users/..", "/users/./bob", "/.."] {
            assert_eq!(seen(&event("$default", raw_path, "")).await.0, 400, "{raw_path}");
        }
        for raw_path in ["/users/a/bob", "/", "", "//users/bob"] {
            assert_eq!(seen(&event("$default", raw_path, "")).await.0, 404, "{raw_path}");
        }
    }

    #[tokio::test]
    async fn an_invalid_host_or_scheme_does_not_make_the_function_fail() {
        for host in ["1.2.3.4.5", "a.127.0.0.1:80", "a b", "[", "a?b=c", "a#b", "a/b", "", ":"] {
            let mut event = event("$default", "/users/eve", "a=b");
            event["requestContext"]["domainName"] = json!(host);
            event["headers"] = json!({"x-forwarded-proto": host});
            assert_eq!(seen(&event).await, (200, "eve a=b".to_owned()), "{host}");
            event["headers"]["host"] = json!(host);
            assert_eq!(seen(&event).await, (200, "eve a=b".to_owned()), "{host}");
        }
    }

    #[tokio::test]
    async fn a_named_stage_is_removed_from_the_path_once() {
        for (stage, raw_path, status) in [
            ("prod", "/prod/users/eve", 200),
            ("prod", "/users/eve", 200),
            ("prod", "/prod/prod/users/eve", 404),
            ("users", "/users/users/eve", 200),
        ] {
            assert_eq!(seen(&event(stage, raw_path, "")).await.0, status, "{stage} {raw_path}");
        }
    }

    #[test]
    fn even_a_request_that_reaches_the_function_late_must_end_before_api_gateway_gives_up() {
        const NOW_MS: i64 = 1_700_000_000_000;
        let left_ms = |age_ms: i64| left_at_api_gateway(NOW_MS - age_ms, NOW_MS).map(|left| left.as_millis());
        for (age_ms, expected) in [
            (0, Some(29_000)),
            (4_000, Some(25_000)),
            (29_000, Some(0)),
            (35_000, Some(0)),
            // The clock of API Gateway is ahead of ours.
            (-50, Some(29_050)),
            // Recorded events.
            (900_000, None),
            (NOW_MS - 1, None),
            (-900_001, None),
        ] {
            assert_eq!(left_ms(age_ms), expected, "{age_ms}");
        }
    }

    #[test]
    fn the_earlier_of_the_two_deadlines_counts() {
        let now_ms = unix_ms(SystemTime::now());
        let left = |lambdas_ms: i64, age_ms: i64| {
            let mut context = Context::default();
            context.deadline = (now_ms + lambdas_ms).max(0).unsigned_abs();
            let mut request = lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext::default();
            request.time_epoch = now_ms - age_ms;
            let mut extensions = Extensions::new();
            extensions.insert(context);
            extensions.insert(RequestContext::ApiGatewayV2(request));
            deadline(&extensions)
                .map(|deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64().round())
        };
        assert_eq!(left(30_000, 5_000), Some(24.0));
        assert_eq!(left(10_500, 5_000), Some(10.0));
        assert_eq!(left(30_500, now_ms - 1), Some(30.0));
        assert_eq!(left(-now_ms, 5_000), Some(24.0));
        assert_eq!(left(-now_ms, now_ms - 1), None);
    }
}
