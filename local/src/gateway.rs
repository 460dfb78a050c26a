//! All functions in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use consume::Consume;
use ingest::Ingest;
use serde_json::json;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::{Peer, serve};
use shared::identity::{Identity, IdentitySettings, Relay};
use shared::kafka::Producer;
use shared::settings::Settings;
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use users::{Users, UsersSettings};

use crate::CommandError;
use crate::event_source_mapping::EventSourceMapping;
use crate::event_source_mapping::configuration::MappingConfiguration;
use crate::event_source_mapping::function::InProcess;
use crate::invoker::no_web_page;

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
        let ingest = Arc::new(Ingest::new(pool.clone(), Arc::clone(&registry), producer, clock.clone(), wait));
        let consume = Arc::new(Consume::new(pool.clone(), registry, clock, wait));
        Ok(Self { settings, pool, ingest, identity, relaying, users, consume })
    }

    /// The routes of the HTTP API, and Lambda's Invoke API: to be served on loopback only, as whoever can invoke
    /// `consume` can write anything.
    pub fn service(&self) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
        let functions = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .layer(DefaultBodyLimit::max(MOST_PAYLOAD_BYTES))
            .route_layer(from_fn(no_web_page))
            .with_state(Arc::clone(&self.consume));
        let routes =
            ingest::routes(Arc::clone(&self.ingest), self.identity.clone()).merge(users::routes(self.users.clone()));
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

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke(State(consume): State<Arc<Consume>>, Path(name): Path<String>, payload: Bytes) -> Response {
    if name != "consume" {
        let answer = json!({ "Type": "User", "Message": format!("Function not found: {name}") });
        return (StatusCode::NOT_FOUND, Json(answer)).into_response();
    }
    match consume.invoke(&payload).await {
        Ok(summary) => Json(summary).into_response(),
        Err(error) => {
            let answer = json!({ "errorType": "ConsumeError", "errorMessage": error.to_string() });
            let unhandled = HeaderValue::from_static("Unhandled");
            (HeaderMap::from_iter([(FUNCTION_ERROR, unhandled)]), Json(answer)).into_response()
        }
    }
}

const FUNCTION_ERROR: axum::http::HeaderName = axum::http::HeaderName::from_static("x-amz-function-error");
