//! The routes. A handler parses the request, calls the domain, and returns its answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use shared::contract::Contract;
use shared::http::answer::{List, json, written};
use shared::http::cross_site;
use shared::http::edge::{note_stream, note_user};
use shared::http::fields::{Fields, NoQuery, PAGE};
use shared::identity::{Admin, Caller, Identity, anyone, authenticated, authenticated_or_key};
use shared::ledger::gaps::ListedGap;

use crate::accept::{AcceptOptions, Accepted, accept};
use crate::body::PostedEvents;
use crate::dry_run::{Purpose, VALIDATE_ONLY, validate};
use crate::entities::{self, EntityRoute, Operation};
use crate::error::Error;
use crate::event_status::{self, EventStatus, ReceiptStatus};
use crate::health::{self, Healthy};
use crate::streams::Stream;
use crate::{Ingest, body, gaps, openapi, problems, streams, submit};

/// Builds the function's routes for registered users and their service keys, to be served by
/// [`shared::http::edge::serve`].
pub fn routes(ingest: Arc<Ingest>, identity: Identity) -> Router {
    let for_keys = for_keys().route_layer(from_fn_with_state(identity.clone(), authenticated_or_key));
    let for_users = for_users().route_layer(from_fn_with_state(identity, authenticated));
    for_keys.merge(for_users).merge(open()).with_state(ingest)
}

/// Builds the routes without authentication, for tests of other parts and for measuring the cost of authentication.
pub fn routes_for_anyone(ingest: Arc<Ingest>) -> Router {
    for_keys().merge(for_users()).route_layer(from_fn(anyone)).merge(open()).with_state(ingest)
}

/// Builds the function's routes without authentication: each request must carry its [`Caller`]. The console's pages use
/// these routes on behalf of the signed-in user.
pub fn routes_for_callers(ingest: Arc<Ingest>) -> Router {
    for_keys().merge(for_users()).merge(open()).with_state(ingest)
}

/// Builds the routes that accept service keys: those for posting events and for reading receipts.
fn for_keys() -> Router<Arc<Ingest>> {
    Router::new()
        .route("/events/{stream}", post(post_events))
        .merge(submitting())
        .route("/receipts/{topic}/{partition}/{offset}", get(get_receipt))
        .route("/receipts", get(get_receipts))
        // The route accepts any method, so that an unknown name leads to a `404`, whatever the method is. Service keys
        // may not `GET` an entity or a table.
        .route("/{entity}", any(on_entity))
}

fn for_users() -> Router<Arc<Ingest>> {
    Router::new()
        .route("/gaps", get(get_gaps))
        .route("/streams", get(get_streams))
        .route("/streams/{stream}", get(get_stream))
}

/// `GET` also sends events, for older clients. Requests from another site's page are therefore rejected, even if the
/// user only follows a link. `HEAD` is refused, because the handler of `GET` would otherwise answer `HEAD`, too, and
/// send events.
fn submitting() -> Router<Arc<Ingest>> {
    let methods = get(submit_events).post(submit_events).head(not_submit_events).fallback(not_submit_events);
    Router::new().route("/submit/{n}", methods).route_layer(from_fn(cross_site::reject))
}

fn open() -> Router<Arc<Ingest>> {
    Router::new()
        .route("/health", get(get_health))
        .route("/openapi.json", get(get_openapi))
        .route("/problems/{code}", get(get_problem))
}

type App = State<Arc<Ingest>>;

async fn post_events(
    State(ingest): App,
    caller: Caller,
    Path(stream): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    post_to(&ingest, &caller, &stream, &head, body).await
}

/// Returns the stream that a request posts to, or `None` if [`post_events_without_router`] cannot answer the request.
pub fn posted_stream<'u>(method: &Method, uri: &'u Uri) -> Option<&'u str> {
    // A plain name consists of letters, digits, `-` and `_`. Any other name may be encoded, or have several segments.
    // The router decides what such a name means.
    let is_plain =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    uri.path().strip_prefix("/events/").filter(|_| *method == Method::POST).filter(is_plain)
}

/// Answers `POST /events/{stream}` as [`routes`] does, but without a router. The router's layers would take a quarter
/// of the CPU time of such a request.
pub async fn post_events_without_router(ingest: &Ingest, identity: &Identity, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let origin = head.extensions.get().cloned().unwrap_or_default();
    match identity.authenticate_or_key(&head.headers, &origin).await {
        Ok(caller) => {
            note_user(&caller.name);
            let stream = posted_stream(&head.method, &head.uri).unwrap_or_default();
            post_to(ingest, &caller, stream, &head, body).await.into_response()
        }
        Err(denied) => denied.into_response(),
    }
}

async fn post_to(ingest: &Ingest, caller: &Caller, stream: &str, head: &Parts, body: Body) -> Result<Response, Error> {
    let purpose = Purpose::from_query(&Fields::from_query(head.uri.query(), &[VALIDATE_ONLY])?)?;
    let contract = streams::contract(ingest, stream, |contract| caller.may_post(contract).is_ok())?;
    let options = AcceptOptions::from_request(caller, contract, head)?;
    let posted = body::read(&head.headers, body).await?;
    send_or_validate(ingest, contract, &posted, None, purpose, options).await
}

async fn send_or_validate(
    ingest: &Ingest,
    contract: &Contract,
    posted: &PostedEvents,
    operation: Option<Operation>,
    purpose: Purpose,
    options: AcceptOptions<'_>,
) -> Result<Response, Error> {
    Ok(match purpose {
        Purpose::Send => accept(ingest, contract, posted, operation, options).await?.into_response(),
        Purpose::ValidateOnly => validate(contract, posted, operation, options)?.into_response(),
    })
}

async fn submit_events(
    State(ingest): App,
    caller: Caller,
    Path(number): Path<String>,
    _: NoQuery,
    request: Request,
) -> Result<Accepted, Error> {
    let contract = submit::contract(&ingest)?;
    let (head, _) = request.into_parts();
    let options = AcceptOptions::from_request(&caller, contract, &head)?;
    submit::reject_key(&options)?;
    let posted = submit::generate(contract, &ingest.clock, &number).await?;
    accept(&ingest, contract, &posted, None, options).await
}

async fn not_submit_events() -> Error {
    Error::MethodNotAllowed { allow: "GET, POST" }
}

async fn get_receipt(
    State(ingest): App,
    Path((topic, partition, offset)): Path<(String, String, String)>,
    _: NoQuery,
) -> Result<EventStatus, Error> {
    event_status::find(&ingest, &topic, &partition, &offset).await
}

async fn get_receipts(State(ingest): App, uri: Uri) -> Result<List<ReceiptStatus>, Error> {
    event_status::find_all(&ingest, &Fields::from_query(uri.query(), &["ids"])?).await
}

async fn get_gaps(State(ingest): App, _: Admin, uri: Uri) -> Result<List<ListedGap>, Error> {
    gaps::list(&ingest, &Fields::from_query(uri.query(), &PAGE)?).await
}

async fn get_streams(State(ingest): App, uri: Uri) -> Result<Response, Error> {
    let listed = streams::list(&ingest, &Fields::from_query(uri.query(), &PAGE)?)?;
    Ok(listed.into_response())
}

async fn get_stream(State(ingest): App, Path(stream): Path<String>, _: NoQuery) -> Result<Response, Error> {
    let contract = streams::contract(&ingest, &stream, |_| true)?;
    note_stream(&contract.stream);
    Ok(Stream::from(contract.as_ref()).into_response())
}

async fn on_entity(
    State(ingest): App,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    let named = entities::resolve(&ingest, &name)?;
    match (named, request.method(), Operation::from_method(request.method())) {
        (_, &(Method::GET | Method::HEAD), _) => {
            caller.must_be_user()?;
            show_entities(&ingest, named, request.uri()).await
        }
        (EntityRoute::Stream(contract, _), _, Some(operation)) => {
            command_entity(&ingest, &caller, contract, operation, request).await
        }
        _ => Err(Error::MethodNotAllowed { allow: named.allow() }),
    }
}

async fn show_entities(ingest: &Ingest, named: EntityRoute<'_>, uri: &Uri) -> Result<Response, Error> {
    let query = Fields::from_query(uri.query(), &entities::parameters(named))?;
    match named {
        EntityRoute::Stream(_, entity) => {
            let found = entities::find(ingest, entity, &query).await?;
            Ok(json(StatusCode::OK, &found))
        }
        EntityRoute::Table(entity) => {
            let listed = entities::list(ingest, entity, &query).await?;
            Ok(listed.into_response())
        }
    }
}

async fn command_entity(
    ingest: &Ingest,
    caller: &Caller,
    contract: &Contract,
    operation: Operation,
    request: Request,
) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let options = AcceptOptions::from_request(caller, contract, &head)?;
    let query = match operation {
        // The command of a deletion may be in the query.
        Operation::Delete => Fields::parse(head.uri.query().unwrap_or_default().as_bytes())?,
        Operation::Create | Operation::Update => Fields::from_query(head.uri.query(), &[VALIDATE_ONLY])?,
    };
    let purpose = Purpose::from_query(&query)?;
    let posted = body::read_entity(&head.headers, query.without(VALIDATE_ONLY), body, contract).await?;
    send_or_validate(ingest, contract, &posted, Some(operation), purpose, options).await
}

async fn get_health(State(ingest): App) -> Result<Healthy, Error> {
    health::check(&ingest).await
}

async fn get_problem(Path(code): Path<String>, _: NoQuery, headers: HeaderMap) -> Result<Response, Error> {
    problems::explain(&code, &headers)
}

async fn get_openapi(State(ingest): App) -> Response {
    let document = ingest.openapi.get_or_init(|| openapi::document(&ingest.registry).to_string().into());
    written(StatusCode::OK, document.clone())
}
