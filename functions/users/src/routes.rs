//! The routes. A handler parses the request, calls a function of the domain, and returns that function's answer.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use shared::http::edge::Origin;
use shared::http::fields::{Fields, NoQuery, PAGE};
use shared::identity::{Admin, Caller, authenticated};

use crate::error::Error;
use crate::{Users, fields, keys, lists, passwords, registration, session};

/// The `404` for a `PUT` request to a path below `/users` that does not end in `/password`.
const NO_SUCH_ROUTE: Error = Error::NotFound("This route does not exist. `/openapi.json` lists the routes.");

/// Builds the function's routes, to be served by [`shared::http::edge::serve`].
pub fn routes(users: Users) -> Router {
    let guarded = guarded().route_layer(from_fn_with_state(users.identity.clone(), authenticated));
    guarded.merge(open()).with_state(users)
}

/// Builds the routes for registered users, but without authentication: each request must already carry its [`Caller`].
/// The console's pages use these routes on behalf of the signed-in user.
pub fn routes_for_callers(users: Users) -> Router {
    guarded().with_state(users)
}

fn guarded() -> Router<Users> {
    Router::new()
        .route("/blocked", get(get_blocked))
        // New names must not contain `/`, but the name in `/blocked/{*user}` and `/users/{*user}` can: the user may
        // have registered when `/` was still allowed, or someone may have tried to log in with such a name. API Gateway
        // decodes `%2F`, so the name is the whole rest of the path.
        .route("/blocked/{*user}", delete(delete_block))
        .route("/users", get(get_users))
        .route("/users/{*user}", delete(delete_user).put(put_password))
        .route("/keys", get(get_keys).post(post_key))
        .route("/keys/{id}", delete(delete_key))
}

fn open() -> Router<Users> {
    Router::new().route("/register", post(register)).route("/new_user", post(register)).route("/login", post(log_in))
}

async fn register(
    State(users): State<Users>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Error> {
    let admin = registration::must_be_allowed(&users, &headers, &origin).await?;
    let fields = fields::read(request).await?;
    registration::register(&users, admin.as_ref(), &fields).await
}

async fn log_in(
    State(users): State<Users>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Result<Response, Error> {
    let fields = fields::read(request).await?;
    session::log_in(&users, &fields, &origin).await
}

async fn get_blocked(State(users): State<Users>, _: Admin, _: NoQuery) -> Result<Response, Error> {
    lists::blocked(&users).await
}

async fn delete_block(
    State(users): State<Users>,
    Admin(caller): Admin,
    Path(user): Path<String>,
    _: NoQuery,
) -> Result<StatusCode, Error> {
    lists::lift_block(&users, &caller, &user).await
}

async fn get_users(State(users): State<Users>, _: Admin, uri: Uri) -> Result<Response, Error> {
    lists::users(&users, &Fields::from_query(uri.query(), &PAGE)?).await
}

async fn delete_user(
    State(users): State<Users>,
    caller: Caller,
    Path(user): Path<String>,
    _: NoQuery,
) -> Result<StatusCode, Error> {
    lists::delete_user(&users, &caller, &user).await
}

async fn put_password(
    State(users): State<Users>,
    caller: Caller,
    Extension(origin): Extension<Origin>,
    Path(path): Path<String>,
    _: NoQuery,
    request: Request,
) -> Result<StatusCode, Error> {
    let user = path.strip_suffix("/password").ok_or(NO_SUCH_ROUTE)?;
    let fields = fields::read(request).await?;
    passwords::change(&users, &caller, user, &fields, &origin).await
}

async fn post_key(State(users): State<Users>, caller: Caller, _: NoQuery, request: Request) -> Result<Response, Error> {
    let fields = fields::read(request).await?;
    keys::create(&users, &caller, &fields).await
}

async fn get_keys(State(users): State<Users>, caller: Caller, uri: Uri) -> Result<Response, Error> {
    keys::list(&users, &caller, &Fields::from_query(uri.query(), &PAGE)?).await
}

async fn delete_key(
    State(users): State<Users>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<StatusCode, Error> {
    keys::delete(&users, &caller, &id).await
}
