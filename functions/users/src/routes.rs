//! The routes. A handler takes the request apart, calls what does the work, and hands on its answer.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use shared::http::edge::Origin;
use shared::http::fields::Fields;
use shared::identity::{Admin, Caller, authenticated};

use crate::error::Error;
use crate::{Users, fields, lists, passwords, registration, session};

/// The function's routes; to be served by [`shared::http::edge::serve`].
pub fn routes(users: Users) -> Router {
    let guarded = Router::new()
        .route("/blocked", get(get_blocked))
        .route("/blocked/{user}", delete(delete_block))
        .route("/users", get(get_users))
        .route("/users/{user}", delete(delete_user))
        .route("/users/{user}/password", put(put_password))
        .route_layer(from_fn_with_state(users.identity.clone(), authenticated));
    let open = Router::new()
        .route("/register", post(register))
        .route("/new_user", post(register))
        .route("/login", post(log_in));
    guarded.merge(open).with_state(users)
}

async fn register(
    State(users): State<Users>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Error> {
    registration::must_be_allowed(&users, &headers, &origin).await?;
    let fields = fields::read(request).await?;
    registration::register(&users, &fields).await
}

async fn log_in(
    State(users): State<Users>,
    Extension(origin): Extension<Origin>,
    request: Request,
) -> Result<Response, Error> {
    let fields = fields::read(request).await?;
    session::log_in(&users, &fields, &origin).await
}

async fn get_blocked(State(users): State<Users>, _: Admin) -> Result<Response, Error> {
    lists::blocked(&users).await
}

async fn delete_block(State(users): State<Users>, _: Admin, Path(user): Path<String>) -> Result<StatusCode, Error> {
    lists::lift_block(&users, &user).await
}

async fn get_users(State(users): State<Users>, _: Admin, uri: Uri) -> Result<Response, Error> {
    lists::users(&users, &Fields::of_query(uri.query())?).await
}

async fn delete_user(
    State(users): State<Users>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Error> {
    lists::delete_user(&users, &caller, &user).await
}

async fn put_password(
    State(users): State<Users>,
    caller: Caller,
    Extension(origin): Extension<Origin>,
    Path(user): Path<String>,
    request: Request,
) -> Result<StatusCode, Error> {
    let fields = fields::read(request).await?;
    passwords::change(&users, &caller, &user, &fields, &origin).await
}
