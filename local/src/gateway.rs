//! Runs all functions except `migrate` and `consume-bigquery` in this process.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use console::{Console, ConsoleFunction};
use consume::Consume;
use ingest::{Ingest, post_events_without_router, posted_stream};
use report::{ReportSettings, Reports};
use shared::aws::Aws;
use shared::contract::Registry;
use shared::database::Login;
use shared::http::edge::{answer, serve, with_fallback};
use shared::http::lambda::HttpFunction;
use shared::http::login::LoggedIn;
use shared::http::path::as_behind_api_gateway;
use shared::identity::{Identity, IdentitySettings};
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, Producer};
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use shared::start::{Settings, login_relay};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;
use users::{Users, UsersSettings};

use crate::CommandError;
use crate::event_source_mapping::EventSourceMapping;
use crate::event_source_mapping::configuration::MappingConfiguration;
use crate::event_source_mapping::function::InProcess;
use crate::http_server::{self, PATIENCE, cut_off_slow_bodies, cut_off_slow_body};
use crate::invoke_api::{self, Functions};
use crate::monitor::Monitor;

/// The maximum number of connections in the database pool, which serves HTTP requests. `consume` keeps the connections
/// for its batches outside the pool.
const CONNECTIONS: u32 = 16;

/// The functions, connected to one database and one cluster.
pub struct Gateway {
    kafka: KafkaSettings,
    login: Login,
    ingest: Arc<Ingest>,
    console: Arc<Console>,
    identity: Identity,
    background: Vec<AbortOnDropHandle<()>>,
    users: Users,
    reports: Reports,
    consume: Arc<Consume>,
    metrics: Metrics,
    monitor: Arc<Monitor>,
}

impl Gateway {
    /// Sets up the functions as their `main` functions do on Lambda. The database and the topics must be ready.
    ///
    /// # Errors
    /// The database's login cannot be found, or a Kafka or mail setting is rejected.
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
        let reader = KafkaReader::new(kafka.clone());
        let wait = settings.wait_for_parent;
        let relay = login_relay(&registry, &pool, &producer);
        let relaying = relay.clone().map(|relay| tokio::spawn(relay.send_forever()));
        let renewing = tokio::spawn(login.clone().renew_forever());
        let identity = Identity::new(pool.clone(), clock.clone(), identity, relay);
        let users = Users::new(identity.clone(), pool.clone(), Arc::clone(&registry), clock.clone(), users);
        let reports = Reports::new(pool.clone(), clock.clone(), report, &Aws::default())?;
        let metrics = Metrics::default();
        let ingest = Ingest::new(
            pool.clone(),
            Arc::clone(&registry),
            producer,
            reader.clone(),
            clock.clone(),
            wait,
            metrics.clone(),
        );
        let consume = Consume::new(pool.clone(), Arc::clone(&registry), clock, wait, metrics.clone(), Arc::new(reader));
        let consume = Arc::new(consume.with_retention(settings.retention));
        consume.log_differences().await;
        let ingest = Arc::new(ingest);
        let console = Arc::new(Console::in_background(Arc::clone(&ingest)));
        let replaying = Arc::clone(&console);
        let replaying = tokio::spawn(async move { console::advance_forever(&replaying).await });
        let background = relaying.into_iter().chain([renewing, replaying]).map(AbortOnDropHandle::new).collect();
        let monitor = Arc::new(Monitor::new(metrics.clone(), registry, pool.clone(), kafka.clone()));
        Ok(Self { kafka, login, ingest, console, identity, background, users, reports, consume, metrics, monitor })
    }

    /// Serves the HTTP API, `/metrics` and Lambda's Invoke API until `stop` is cancelled, then finishes the requests
    /// that have begun. `listener` must be on loopback only: anyone who can invoke `consume` can write anything.
    pub fn serve(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let front = Arc::new(self.front());
        let answer = move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request).await }
        };
        http_server::serve(listener, answer, PATIENCE, stop)
    }

    fn front(&self) -> Front {
        let function = |name| {
            let (metrics, logged_in) = (self.metrics.clone(), LoggedIn::new(self.login.clone()));
            Arc::new(Function { name, metrics, logged_in })
        };
        let limited =
            |function: &Arc<Function>, routes: Router| routes.layer(from_fn_with_state(Arc::clone(function), run));
        let ingesting = function("ingest");
        let ingest = limited(&ingesting, ingest::routes(Arc::clone(&self.ingest), self.identity.clone()));
        let console = console::routes(Arc::clone(&self.console), self.users.clone(), self.identity.clone());
        let console = limited(&function("console"), console);
        let users = limited(&function("users"), users::routes(self.users.clone()));
        let reports = report::routes(self.reports.clone(), self.identity.clone());
        let reports = limited(&function("report"), reports);
        let functions = Functions {
            consume: Arc::clone(&self.consume),
            ingest: HttpFunction::new(ingest.clone()),
            console: ConsoleFunction::new(Arc::clone(&self.console), console.clone()),
            users: HttpFunction::new(users.clone()),
            report: report::ReportFunction::new(self.reports.clone(), reports.clone()),
        };
        let metrics = Router::new().route("/metrics", get(metrics)).with_state(Arc::clone(&self.monitor));
        let routes = ingest.merge(console).merge(users).merge(reports).merge(metrics);
        let invoke = invoke_api::routes(functions).layer(from_fn_with_state(PATIENCE, cut_off_slow_bodies));
        Front {
            ingest: Arc::clone(&self.ingest),
            identity: self.identity.clone(),
            ingesting,
            routes: with_fallback(routes),
            invoke: invoke.fallback_service(serve(Router::new())),
        }
    }

    /// Returns a handle that invokes `consume`.
    pub fn consume(&self) -> InProcess {
        InProcess(Arc::clone(&self.consume))
    }

    /// Starts a mapping that invokes `consume`.
    ///
    /// # Errors
    /// A Kafka setting is rejected.
    pub fn start_mapping(&self, configuration: MappingConfiguration) -> Result<EventSourceMapping, CommandError> {
        Ok(EventSourceMapping::start(configuration, &self.kafka, Arc::new(self.consume()))?)
    }

    /// Closes the database connections once they are unused.
    pub async fn close(self) {
        drop(self.background);
        self.consume.close().await;
    }
}

/// Passes requests on to the functions.
struct Front {
    ingest: Arc<Ingest>,
    identity: Identity,
    /// The name, the metrics and the login of `ingest`.
    ingesting: Arc<Function>,
    routes: Router,
    invoke: Router,
}

impl Front {
    async fn answer(&self, mut request: Request) -> Response {
        if request.uri().path().starts_with(invoke_api::PREFIX) {
            return routed(&self.invoke, request).await;
        }
        // Changes the path to the form in which a function gets it from API Gateway. A path that is not UTF-8 stays as
        // it is, and matches no route.
        if let Some(uri) = as_behind_api_gateway(request.uri()) {
            *request.uri_mut() = uri;
        }
        let handle = async |request: Request| match posted_stream(request.method(), request.uri()) {
            Some(_) => {
                let post = async |request| post_events_without_router(&self.ingest, &self.identity, request).await;
                self.ingesting.run(Some(EVENTS), request, post).await
            }
            None => routed(&self.routes, request).await,
        };
        answer(request, handle).await
    }
}

/// The pattern of the route that [`Front`] answers without a router.
const EVENTS: &str = "/events/{stream}";

async fn routed(routes: &Router, request: Request) -> Response {
    // Boxes the router's future. Otherwise, the future of every request would reserve memory for the router's future,
    // even if the request does not use the router.
    let Ok(response) = Box::pin(routes.clone().oneshot(request)).await;
    response
}

/// The name, the metrics and the login of a function in the gateway.
struct Function {
    name: &'static str,
    metrics: Metrics,
    logged_in: LoggedIn,
}

impl Function {
    /// Runs a request with the function's database login and circuit breaker. Answers `408` if the request's body stops
    /// arriving. Records how long the request takes. `route` is the pattern of the request's route.
    async fn run(
        &self,
        route: Option<&str>,
        request: Request,
        handle: impl AsyncFnOnce(Request) -> Response,
    ) -> Response {
        let begun = Instant::now();
        let Self { name, metrics, logged_in } = self;
        let run = async |request| logged_in.run(handle(request)).await;
        let response = cut_off_slow_body(PATIENCE, request, run).await;
        if let Some(route) = route {
            metrics.note_request(name, route, response.status().as_u16(), begun.elapsed());
        }
        response
    }
}

async fn run(State(function): State<Arc<Function>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    function.run(route.as_ref().map(MatchedPath::as_str), request, async |request| next.run(request).await).await
}

/// Returns the counters since the process began, and the current lag.
async fn metrics(State(monitor): State<Arc<Monitor>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], monitor.scrape().await).into_response()
}
