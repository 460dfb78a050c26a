//! Discards the dead letters that match a filter.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use shared::http::answer;
use shared::http::database::in_time;
use shared::identity::Caller;
use shared::ledger::audit::{self, Action, NewEntry};
use shared::ledger::{dead_letters, matching};

use crate::error::Error;
use crate::filter::FilterParts;
use crate::{Console, body};

/// The maximum number of letters that one transaction discards.
const LETTERS_AT_ONCE: i64 = 10_000;
/// The time limit for a request. API Gateway gives up after 30 s.
const LONGEST: Duration = Duration::from_secs(15);
/// The maximum length of a note.
const NOTE_CHARACTERS: usize = 1_000;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct DiscardBody {
    filter: FilterParts,
    note: Option<String>,
    dry_run: bool,
}

impl DiscardBody {
    /// Reads a request's body.
    pub(crate) async fn from_request(request: Request) -> Result<Self, Error> {
        let mut body = body::read(request, &["filter", "note", "dry_run"]).await?;
        let filter = FilterParts::from_body(&mut body)?;
        Ok(Self { filter, note: body.text("note")?, dry_run: body.flag("dry_run")? })
    }
}

/// The result: the number of letters that a dry run counted, or that were discarded.
#[derive(Debug, Serialize)]
pub(crate) struct Discarded {
    count: u64,
    /// The number of matching letters that are still open, because the time ran out or because they were being
    /// replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

impl IntoResponse for Discarded {
    fn into_response(self) -> Response {
        answer::json(StatusCode::OK, &self)
    }
}

/// Discards the open letters that match the filter. A dry run only counts them.
pub(crate) async fn discard(console: &Console, caller: &Caller, body: DiscardBody) -> Result<Discarded, Error> {
    let DiscardBody { filter, note, dry_run } = body;
    let given = serde_json::to_value(&filter).unwrap_or_default();
    let pool = &console.ingest.pool;
    let filter = filter.resolve_open(&console.ingest.registry)?;
    let matching = async || Ok::<_, sqlx::Error>(in_time(matching::count(pool, &filter)).await?.unsigned_abs());
    if dry_run {
        return Ok(Discarded { count: matching().await?, left: None });
    }
    let note = note.filter(|note| !note.trim().is_empty() && note.chars().count() <= NOTE_CHARACTERS);
    let note =
        note.ok_or_else(|| Error::malformed("`note` must say why the letters are discarded (1 to 1,000 characters)."))?;
    let begun = Instant::now();
    let detail = json!({"filter": given, "note": note, "count": 0});
    let entry = NewEntry { user: &caller.name, action: Action::Discarded, object: "dead-letters".to_owned(), detail };
    let entry = in_time(audit::insert(pool, &entry)).await?;
    let mut count = 0;
    loop {
        let discarded = in_time(async {
            let mut transaction = pool.begin().await?;
            let discarded = dead_letters::discard(&mut transaction, &filter, &note, LETTERS_AT_ONCE).await?;
            audit::set_count(&mut *transaction, entry, count + discarded).await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(discarded)
        })
        .await?;
        count += discarded;
        if discarded < LETTERS_AT_ONCE.unsigned_abs() || begun.elapsed() > LONGEST {
            return Ok(Discarded { count, left: Some(matching().await?) });
        }
    }
}
