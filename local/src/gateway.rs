//! All functions in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use consume::Consume;
use ingest::Ingest;
use report::{ReportSettings, Reports};
use shared::aws::Aws;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database::Login;
use shared::http::edge::{Peer, serve};
use shared::http::lambda::HttpFunction;
use shared::http::login::logged_in;
use shared::identity::{Identity, IdentitySettings, Relay};
use shared::kafka::{KafkaSettings, Producer};
use shared::metrics::Metrics;
use shared::settings::Settings;
use sqlx::PgPool;
use tokio_util::task::AbortOnDropHandle;
use users::{Users, UsersSettings};

use crate::CommandError;
use crate::event_source_mapping::EventSourceMapping;
use crate::event_source_mapping::configuration::MappingConfiguration;
use crate::event_source_mapping::function::InProcess;
use crate::invoke_api::{self, Functions};

/// Connections for HTTP requests, and as many for batches.
const CONNECTIONS: u32 = 16;

/// The functions, connected to one database and one cluster.
pub struct Gateway {
    kafka: KafkaSettings,
    pool: PgPool,
    login: Login,
    ingest: Arc<Ingest>,
    identity: Identity,
    background: Vec<AbortOnDropHandle<()>>,
    users: Users,
    reports: Reports,
    consume: Arc<Consume>,
    metrics: Metrics,
}

impl Gateway {
    /// Sets the functions up, as their `main` does on Lambda. Database and topics have to be ready.
    ///
    /// # Errors
    /// The database's login is not found, or a Kafka setting or the way of mail is refused.
    pub async fn new(
        settings: Settings,
        kafka: KafkaSettings,
        identity: &IdentitySettings,
        users: UsersSettings,
        report: &ReportSettings,
        registry: Arc<Registry>,
        clock: Clock,
    ) -> Result<Self, CommandError> {
        let (pool, login) = Login::open(&settings.database, &Aws::default(), &clock, CONNECTIONS).await?;
        let producer = Producer::new(&kafka)?;
        let wait = settings.wait_for_parent;
        let relay = Relay::of(&registry, &pool, &producer);
        let relaying = relay.clone().map(|relay| tokio::spawn(relay.send_forever()));
        let renewing = tokio::spawn(login.clone().renew_forever());
        let background = relaying.into_iter().chain([renewing]).map(AbortOnDropHandle::new).collect();
        let identity = Identity::new(pool.clone(), clock.clone(), identity, relay);
        let users = Users::new(identity.clone(), pool.clone(), clock.clone(), users);
        let reports = Reports::new(pool.clone(), clock.clone(), report, &Aws::default())?;
        let metrics = Metrics::default();
        let ingest = Ingest::new(pool.clone(), Arc::clone(&registry), producer, clock.clone(), wait, metrics.clone());
        let consume = Arc::new(Consume::new(pool.clone(), registry, clock, wait, metrics.clone()));
        let ingest = Arc::new(ingest);
        Ok(Self { kafka, pool, login, ingest, identity, background, users, reports, consume, metrics })
    }

    /// The routes of the HTTP API, `/metrics`, and Lambda's Invoke API: to be served on loopback only, as whoever can invoke
    /// `consume` can write anything.
    pub fn service(&self) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
        let logged_in = |routes| logged_in(routes, self.login.clone());
        let ingest = logged_in(ingest::routes(Arc::clone(&self.ingest), self.identity.clone()));
        let users = logged_in(users::routes(self.users.clone()));
        let reports = logged_in(report::routes(self.reports.clone(), self.identity.clone()));
        let functions = Functions {
            consume: Arc::clone(&self.consume),
            ingest: HttpFunction::new(ingest.clone()),
            users: HttpFunction::new(users.clone()),
            report: report::Function::new(self.reports.clone(), reports.clone()),
        };
        let metrics = Router::new().route("/metrics", get(metrics)).with_state(self.metrics.clone());
        serve(ingest.merge(users).merge(reports).merge(metrics))
            .merge(invoke_api::routes(functions))
            .layer(from_fn(with_peer))
            .into_make_service_with_connect_info()
    }

    /// Starts a mapping that invokes `consume`.
    ///
    /// # Errors
    /// A Kafka setting is refused.
    pub fn start_mapping(&self, configuration: MappingConfiguration) -> Result<EventSourceMapping, CommandError> {
        let function = Arc::new(InProcess(Arc::clone(&self.consume)));
        Ok(EventSourceMapping::start(configuration, &self.kafka, function)?)
    }

    /// Closes the connections to the database, once nothing uses them any more.
    pub async fn close(self) {
        drop(self.background);
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
