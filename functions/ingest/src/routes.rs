//! The routes. A handler takes the request apart, calls what does the work, and hands on its answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use shared::contract::Contract;
use shared::identity::{Admin, Caller, Identity, anyone, authenticated};

use crate::accept::{Accepted, Demand, accept};
use crate::dead_letters::{self, Item, Replayed};
use crate::entities::{self, Named, Operation};
use crate::error::Error;
use crate::health::{self, Healthy};
use crate::receipts::{self, Fate};
use crate::streams::Stream;
use crate::{Ingest, body, openapi, streams, submit};
use shared::http::answer::{List, json, written};
use shared::http::fields::Fields;

/// The function's routes, to registered users; to be served by [`shared::http::edge::serve`].
pub fn routes(ingest: Arc<Ingest>, identity: Identity) -> Router {
    let guarded = guarded().route_layer(from_fn_with_state(identity, authenticated));
    guarded.merge(open()).with_state(ingest)
}

/// The function's routes, to anyone: for measuring what it costs to ask who it is, and for tests of other things.
pub fn routes_for_anyone(ingest: Arc<Ingest>) -> Router {
    guarded().route_layer(from_fn(anyone)).merge(open()).with_state(ingest)
}

fn guarded() -> Router<Arc<Ingest>> {
    Router::new()
        .route("/events/{stream}", post(post_events))
        // GET sends events, as it did before there was POST; what asks for a head only does not.
        .route("/submit/{n}", get(submit_events).post(submit_events).head(not_submit_events))
        .route("/receipts/{topic}/{partition}/{offset}", get(get_receipt))
        .route("/dead-letters", get(get_dead_letters))
        .route("/dead-letters/{id}", get(get_dead_letter))
        .route("/dead-letters/{id}/replay", post(replay_dead_letter))
        .route("/streams", get(get_streams))
        .route("/streams/{stream}", get(get_stream))
        // Of any method, so that an unknown name is not found whatever the method.
        .route("/{entity}", any(on_entity))
}

fn open() -> Router<Arc<Ingest>> {
    Router::new().route("/health", get(get_health)).route("/openapi.json", get(get_openapi))
}

type App = State<Arc<Ingest>>;

async fn post_events(
    State(ingest): App,
    caller: Caller,
    Path(stream): Path<String>,
    request: Request,
) -> Result<Accepted, Error> {
    let contract = streams::contract(&ingest, &stream)?;
    let (head, body) = request.into_parts();
    let demand = Demand::of(&caller, contract, &head)?;
    let posted = body::read(&head.headers, body).await?;
    accept(&ingest, contract, &posted, None, demand).await
}

async fn submit_events(
    State(ingest): App,
    caller: Caller,
    Path(number): Path<String>,
    request: Request,
) -> Result<Accepted, Error> {
    let contract = submit::contract(&ingest)?;
    let (head, _) = request.into_parts();
    let demand = Demand::of(&caller, contract, &head)?;
    submit::refuse_key(&demand)?;
    let drawn = submit::draw(&ingest, &number).await?;
    accept(&ingest, contract, &drawn, None, demand).await
}

async fn not_submit_events() -> Error {
    Error::MethodNotAllowed { allow: "GET, POST" }
}

async fn get_receipt(
    State(ingest): App,
    Path((topic, partition, offset)): Path<(String, String, String)>,
) -> Result<Fate, Error> {
    receipts::find(&ingest, &topic, &partition, &offset).await
}

async fn get_dead_letters(State(ingest): App, _: Admin, uri: Uri) -> Result<List<Item>, Error> {
    dead_letters::list(&ingest, &Fields::of_query(uri.query())?).await
}

async fn get_dead_letter(State(ingest): App, _: Admin, Path(id): Path<String>) -> Result<Item, Error> {
    dead_letters::find(&ingest, &id).await
}

async fn replay_dead_letter(State(ingest): App, _: Admin, Path(id): Path<String>) -> Result<Replayed, Error> {
    dead_letters::replay(&ingest, &id).await
}

async fn get_streams(State(ingest): App, uri: Uri) -> Result<Response, Error> {
    let listed = streams::list(&ingest, &Fields::of_query(uri.query())?)?;
    Ok(listed.into_response())
}

async fn get_stream(State(ingest): App, Path(stream): Path<String>) -> Result<Response, Error> {
    let contract = streams::contract(&ingest, &stream)?;
    Ok(Stream::from(contract).into_response())
}

async fn on_entity(
    State(ingest): App,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    let named = entities::named(&ingest, &name)?;
    match (named, request.method(), Operation::of(request.method())) {
        (_, &(Method::GET | Method::HEAD), _) => show_entities(&ingest, named, request.uri()).await,
        (Named::Stream(contract, _), _, Some(operation)) => {
            let accepted = command_entity(&ingest, &caller, contract, operation, request).await?;
            Ok(accepted.into_response())
        }
        _ => Err(Error::MethodNotAllowed { allow: named.allow() }),
    }
}

async fn show_entities(ingest: &Ingest, named: Named<'_>, uri: &Uri) -> Result<Response, Error> {
    let query = Fields::of_query(uri.query())?;
    match named {
        Named::Stream(_, entity) => {
            let found = entities::find(ingest, entity, &query).await?;
            Ok(json(StatusCode::OK, &found))
        }
        Named::Table(entity) => {
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
) -> Result<Accepted, Error> {
    let (head, body) = request.into_parts();
    let demand = Demand::of(caller, contract, &head)?;
    let query = head.uri.query().filter(|_| operation == Operation::Delete);
    let posted = body::read_entity(&head.headers, query, body, contract).await?;
    accept(ingest, contract, &posted, Some(operation), demand).await
}

async fn get_health(State(ingest): App) -> Result<Healthy, Error> {
    health::check(&ingest).await
}

async fn get_openapi(State(ingest): App) -> Response {
    let document = ingest.openapi.get_or_init(|| openapi::document(&ingest.registry).to_string().into());
    written(StatusCode::OK, document.clone())
}
