//! The function `ingest` on AWS Lambda.

use std::sync::Arc;

use lambda_http::http::Uri;
use lambda_http::request::RequestContext;
use lambda_http::tower::Layer as _;
use lambda_http::tower::util::MapRequestLayer;
use lambda_http::{Error, Request, RequestExt as _};
use shared::clock::Clock;
use shared::contract::Registry;
use shared::kafka::Producer;
use shared::settings::Settings;

/// One request at a time on Lambda: a replay holds one connection, `/health` or a lookup another.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> Result<(), Error> {
    shared::telemetry::start();
    let settings = Settings::from_env()?;
    let registry = Arc::new(Registry::load(settings.contracts_dir.as_deref())?);
    let producer = Producer::new(&settings.kafka)?;
    let pool = shared::database::connect(&settings.database_url, DATABASE_CONNECTIONS)?;
    let ingest = ingest::Ingest::new(pool, registry, producer, Clock::system(), settings.wait_for_parent);
    let router = ingest::router(Arc::new(ingest));
    lambda_http::run(MapRequestLayer::new(without_stage).layer(router)).await
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
