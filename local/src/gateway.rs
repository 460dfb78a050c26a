//! All functions in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use consume::Consume;
use ingest::Ingest;
use serde_json::json;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::{Peer, serve};
use shared::identity::{Identity, IdentitySettings, Relay};
use shared::kafka::Producer;
use shared::metrics::Metrics;
use shared::settings::Settings;
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use users::{Users, UsersSettings};

use crate::CommandError;
use crate::event_source_mapping::EventSourceMapping;
use crate::event_source_mapping::configuration::MappingConfiguration;
use crate::event_source_mapping::function::{CONSUME_TIMEOUT, InProcess};

/// Connections for HTTP requests, and as many for batches.
const CONNECTIONS: u32 = 16;

/// Lambda's quota of a payload, and some room for what a request has beside it.
const MOST_PAYLOAD_BYTES: usize = 7 * 1024 * 1024;

/// The functions, connected to one database and one cluster.
pub struct Gateway {
    settings: Settings,
    pool: PgPool,
    ingest: Arc<Ingest>,
    identity: Identity,
    relaying: Option<AbortOnDropHandle<()>>,
    users: Users,
    consume: Arc<Consume>,
    metrics: Metrics,
}

impl Gateway {
    /// Sets the functions up, as their `main` does on Lambda. Database and topics have to be ready.
    ///
    /// # Errors
    /// The database's address or a Kafka setting is refused.
    pub fn new(
        settings: Settings,
        identity: &IdentitySettings,
        users: UsersSettings,
        registry: Arc<Registry>,
        clock: Clock,
    ) -> Result<Self, CommandError> {
        let pool = database::connect(&settings.database_url, CONNECTIONS)?;
        let producer = Producer::new(&settings.kafka)?;
        let wait = settings.wait_for_parent;
        let relay = Relay::of(&registry, &pool, &producer);
        let relaying = relay.clone().map(|relay| AbortOnDropHandle::new(tokio::spawn(relay.send_forever())));
        let identity = Identity::new(pool.clone(), clock.clone(), identity, relay);
        let users = Users::new(identity.clone(), pool.clone(), clock.clone(), users);
        let metrics = Metrics::default();
        let ingest = Ingest::new(pool.clone(), Arc::clone(&registry), producer, clock.clone(), wait, metrics.clone());
        let consume = Arc::new(Consume::new(pool.clone(), registry, clock, wait, metrics.clone()));
        Ok(Self { settings, pool, ingest: Arc::new(ingest), identity, relaying, users, consume, metrics })
    }

    /// The routes of the HTTP API, `/metrics`, and Lambda's Invoke API: to be served on loopback only, as whoever can invoke
    /// `consume` can write anything.
    pub fn service(&self) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
        let functions = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .layer(DefaultBodyLimit::max(MOST_PAYLOAD_BYTES))
            .with_state(Arc::clone(&self.consume));
        let metrics = Router::new().route("/metrics", get(metrics)).with_state(self.metrics.clone());
        let routes = ingest::routes(Arc::clone(&self.ingest), self.identity.clone())
            .merge(users::routes(self.users.clone()))
            .merge(metrics);
        serve(routes).merge(functions).layer(from_fn(with_peer)).into_make_service_with_connect_info()
    }

    /// Starts a mapping that invokes `consume`.
    ///
    /// # Errors
    /// A Kafka setting is refused.
    pub fn start_mapping(&self, configuration: MappingConfiguration) -> Result<EventSourceMapping, CommandError> {
        let function = Arc::new(InProcess(Arc::clone(&self.consume)));
        Ok(EventSourceMapping::start(configuration, &self.settings.kafka, function)?)
    }

    /// Closes the connections to the database, once nothing uses them any more.
    pub async fn close(self) {
        drop(self.relaying);
        self.pool.close().await;
    }
}

async fn with_peer(ConnectInfo(address): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Peer(address.ip()));
    next.run(request).await
}

/// What was counted since the process began.
async fn metrics(State(metrics): State<Metrics>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.prometheus()).into_response()
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke(State(consume): State<Arc<Consume>>, Path(name): Path<String>, payload: Bytes) -> Response {
    if name != "consume" {
        let answer = json!({ "Type": "User", "Message": format!("Function not found: {name}") });
        return (StatusCode::NOT_FOUND, Json(answer)).into_response();
    }
    match consume.invoke(&payload, CONSUME_TIMEOUT).await {
        Ok(summary) => Json(summary).into_response(),
        Err(error) => {
            let answer = json!({ "errorType": error.name(), "errorMessage": error.to_string() });
            let unhandled = HeaderValue::from_static("Unhandled");
            (HeaderMap::from_iter([(FUNCTION_ERROR, unhandled)]), Json(answer)).into_response()
        }
    }
}

const FUNCTION_ERROR: axum::http::HeaderName = axum::http::HeaderName::from_static("x-amz-function-error");
