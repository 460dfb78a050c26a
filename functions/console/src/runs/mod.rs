//! A run replays all dead letters that match a filter. The letters are selected when the run is created. `advance` then
//! sends them to their topics again.

mod advance;

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use shared::http::answer::{self, List};
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::identity::Caller;
use shared::ledger::audit::{self, Action, NewEntry};
use shared::ledger::replay_runs::{self, Run};
use shared::ledger::{matching, replay_run_letters};

pub(crate) use self::advance::advance_all;
pub use self::advance::advance_forever;
use crate::error::Error;
use crate::filter::FilterParts;
use crate::{Console, body};

/// The body of a request that creates a run.
#[derive(Debug)]
pub(crate) struct RunBody {
    filter: FilterParts,
    dry_run: bool,
    /// Whether the run also replays letters whose event was already replayed three times, and letters whose keys have,
    /// or may have, later events.
    force: bool,
}

impl RunBody {
    /// Reads a request's body.
    pub(crate) async fn from_request(request: Request) -> Result<Self, Error> {
        let mut body = body::read(request, &["filter", "dry_run", "force"]).await?;
        let filter = FilterParts::from_body(&mut body)?;
        Ok(Self { filter, dry_run: body.flag("dry_run")?, force: body.flag("force")? })
    }
}

/// A run in a response.
#[derive(Debug, Serialize)]
pub(crate) struct RunItem {
    id: i64,
    count: i64,
    replayed: i64,
    skipped: i64,
    skip_reasons: BTreeMap<String, i64>,
    status: String,
    href: String,
    created_by: String,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
    filter: Value,
    force: bool,
}

impl From<Run> for RunItem {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            count: run.letters,
            replayed: run.replayed,
            skipped: run.skipped,
            skip_reasons: run.skip_reasons,
            status: run.status,
            href: format!("/dead-letters/replays/{}", run.id),
            created_by: run.created_by,
            created_at: run.created_at,
            finished_at: run.finished_at,
            filter: run.filter,
            force: run.is_forced,
        }
    }
}

impl IntoResponse for RunItem {
    fn into_response(self) -> Response {
        answer::json(StatusCode::OK, &self)
    }
}

/// The answer to a request that creates a run.
#[derive(Debug)]
pub(crate) enum Requested {
    /// The request asked only for the number of matching letters.
    Counted(i64),
    /// The run was created.
    Created(Box<RunItem>),
}

impl IntoResponse for Requested {
    fn into_response(self) -> Response {
        match self {
            Self::Counted(count) => answer::json(StatusCode::OK, &json!({ "count": count })),
            Self::Created(run) => answer::json(StatusCode::ACCEPTED, &run),
        }
    }
}

/// Creates a run that replays the open letters that match the filter. A request with `dry_run` only counts these
/// letters, and creates no run.
pub(crate) async fn create(console: &Console, caller: &Caller, body: RunBody) -> Result<Requested, Error> {
    let RunBody { filter: parts, dry_run, force } = body;
    let pool = &console.ingest.pool;
    let given = serde_json::to_value(&parts).unwrap_or_default();
    let filter = parts.resolve_open(&console.ingest.registry)?;
    if dry_run {
        return Ok(Requested::Counted(in_time(matching::count(pool, &filter)).await?));
    }
    let run = in_time(async {
        let mut transaction = pool.begin().await?;
        let id = replay_runs::insert(&mut transaction, &caller.name, &given, force).await?;
        let letters = replay_run_letters::insert_matching(&mut transaction, id, &filter).await?;
        let run = replay_runs::set_letters(&mut transaction, id, letters).await?;
        let detail = json!({"filter": given, "count": letters, "force": force});
        let entry = NewEntry { user: &caller.name, action: Action::Replayed, object: object(id), detail };
        audit::insert(&mut *transaction, &entry).await?;
        transaction.commit().await?;
        Ok::<_, sqlx::Error>(run)
    })
    .await?;
    console.wake();
    Ok(Requested::Created(Box::new(run.into())))
}

/// Lists runs, newest first.
pub(crate) async fn list(console: &Console, query: &Fields) -> Result<List<RunItem>, Error> {
    let (before, limit) = (query.before_id()?, query.limit()?);
    let mut runs = in_time(replay_runs::list(&console.ingest.pool, before, i64::from(limit) + 1)).await?;
    let has_more = runs.len() > usize::from(limit);
    runs.truncate(limit.into());
    let next = runs.last().filter(|_| has_more).map(|run| run.id.to_string());
    Ok(List { items: runs.into_iter().map(RunItem::from).collect(), next })
}

/// Returns one run. Advances the run first if the process has no background task for runs, as on Lambda.
pub(crate) async fn find(console: &Console, id: &str) -> Result<RunItem, Error> {
    let id = parse(id)?;
    if console.advances_with_requests() {
        advance::advance_for_request(console, id).await;
    }
    let run = in_time(replay_runs::find(&console.ingest.pool, id)).await?;
    Ok(run.ok_or_else(no_such_run)?.into())
}

/// Cancels a run. A step that is in progress still replays its letters.
pub(crate) async fn cancel(console: &Console, caller: &Caller, id: &str) -> Result<RunItem, Error> {
    let id = parse(id)?;
    let run = in_time(async {
        let mut transaction = console.ingest.pool.begin().await?;
        if replay_runs::cancel(&mut transaction, id).await? {
            let entry =
                NewEntry { user: &caller.name, action: Action::Cancelled, object: object(id), detail: json!({}) };
            audit::insert(&mut *transaction, &entry).await?;
        }
        let run = replay_runs::find(&mut *transaction, id).await?;
        transaction.commit().await?;
        Ok::<_, sqlx::Error>(run)
    })
    .await?;
    Ok(run.ok_or_else(no_such_run)?.into())
}

fn object(id: i64) -> String {
    format!("dead-letters/replays/{id}")
}

fn parse(id: &str) -> Result<i64, Error> {
    id.parse().map_err(|_| no_such_run())
}

fn no_such_run() -> Error {
    Error::NotFound("There is no such run.")
}
