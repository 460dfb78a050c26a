//! Replays a dead letter: sends its event to its topic again, through `ingest`. If several callers request the same
//! replay at once, the event is sent only once. `routes` replays single letters, and `runs` replays many.
//!
//! - `later`: searches Kafka for later events with the letters' keys
//! - `headers`: the headers of the replay

mod headers;
mod later;

use std::time::Instant;

use axum::extract::Request;
use ingest::{Accepted, CheckedEvent, Ingest, Prefer, Receipt, check_event, respond, send_records};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use shared::contract::Contract;
use shared::contract::json::not_json;
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::http::lambda;
use shared::identity::Caller;
use shared::kafka::{Outgoing, SEND_TIMEOUT};
use shared::ledger::Destination;
use shared::ledger::audit::{self, Action, NewEntry};
use shared::ledger::dead_letters::{self, DeadLetter};
use shared::ledger::filter::LetterStatus;
use shared::record::replay::Searched;

use self::later::Later;
use crate::Console;
use crate::body::Members;
use crate::dead_letters::no_such_letter;
use crate::error::Error;
use crate::not_replayable::{LONGEST_SEARCH, NotReplayable};

pub(crate) use self::headers::{first_place, replay_headers};
pub(crate) use self::later::Sought;

/// The options of a request to replay a dead letter.
#[derive(Debug)]
pub(crate) struct ReplayOptions {
    user: String,
    arrived: Instant,
    deadline: Option<Instant>,
    prefer: Prefer,
    /// Whether the letter is replayed even if it may replace a later event with the same key.
    is_forced: bool,
}

impl ReplayOptions {
    /// Reads a request's query and headers.
    pub(crate) fn from_request(caller: Caller, request: &Request) -> Result<Self, Error> {
        let query = Fields::from_query(request.uri().query(), &["force"])?;
        let is_forced = match query.get("force")? {
            None | Some("false") => false,
            Some("true" | "") => true,
            Some(_) => return Err(Error::malformed("`force` must be `true` or `false`.")),
        };
        let (prefer, deadline) = (Prefer::from_headers(request.headers()), lambda::deadline(request.extensions()));
        Ok(Self { user: caller.name, arrived: Instant::now(), deadline, prefer, is_forced })
    }

    /// Returns the time by which the search for later events must end, so that there is time to send the letter.
    fn search_until(&self) -> Instant {
        let longest = self.arrived + LONGEST_SEARCH;
        match self.deadline.and_then(|deadline| deadline.checked_sub(SEND_TIMEOUT)) {
            Some(deadline) => deadline.min(longest),
            None => longest,
        }
    }
}

/// Replays a dead letter. If the body contains an edited event, sends that event instead.
///
/// If the function is killed between the send and the commit, the letter stays open. A repeated request then sends the
/// letter again under the same id, so the event lands once. `consume` also marks the letter as replayed when it reads
/// the replay.
pub(crate) async fn replay(
    console: &Console,
    id: &str,
    body: Option<&[u8]>,
    options: ReplayOptions,
) -> Result<Accepted, Error> {
    let ingest = &*console.ingest;
    let id: i64 = id.parse().map_err(|_| no_such_letter())?;
    let letter = in_time(dead_letters::find(&ingest.pool, id)).await?.ok_or_else(no_such_letter)?;
    let contract = replayable(ingest, &letter)?;
    let edited = body.map(|body| edited(contract, body)).transpose()?;
    let searched = if options.is_forced {
        None
    } else {
        let payload = edited.as_ref().map_or(&letter.payload[..], |edited| &edited.text[..]);
        let found = order(ingest, contract, &[Sought { letter: &letter, payload }], options.search_until()).await?;
        found.into_iter().next().unwrap_or(Order::Irrelevant).allowed()?
    };
    if options.deadline.is_some_and(|deadline| Instant::now() + SEND_TIMEOUT > deadline) {
        return Err(Error::unacknowledged());
    }
    let receipt = send(ingest, contract, id, searched.as_ref(), (edited.as_ref(), &options)).await?;
    let times = (options.arrived, options.deadline);
    Ok(respond(ingest, &letter.topic, vec![receipt], None, options.prefer, times).await?)
}

/// The event in a request's body, exactly as the caller wrote it.
#[derive(Deserialize)]
struct Edited {
    event: Box<RawValue>,
}

/// Reads an edited event and checks it like any other event.
fn edited(contract: &Contract, body: &[u8]) -> Result<CheckedEvent, Error> {
    Members::parse(body, &["event"])?.require("event")?;
    let Edited { event } = serde_json::from_slice(body).map_err(|error| Error::NotJson(not_json(&error)))?;
    Ok(check_event(contract, event.get().as_bytes().to_vec().into())?)
}

/// Returns the contract of a letter's stream.
///
/// # Errors
/// The letter cannot be replayed.
pub(crate) fn replayable<'i>(ingest: &'i Ingest, letter: &DeadLetter) -> Result<&'i Contract, NotReplayable> {
    match letter.status {
        LetterStatus::Open => {}
        LetterStatus::Replayed => return Err(NotReplayable::Replayed),
        status @ (LetterStatus::Discarded | LetterStatus::Expired) => return Err(NotReplayable::Closed(status)),
    }
    match letter.destination {
        Destination::Postgresql => {}
        Destination::Bigquery => return Err(NotReplayable::OfBigquery),
    }
    ingest.registry.topic(&letter.topic).map(AsRef::as_ref).ok_or(NotReplayable::NoStream)
}

/// Whether a letter may be replayed, given the events that were sent after it.
#[derive(Debug)]
pub(crate) enum Order {
    /// The order of the events does not matter, or their versions decide which event wins.
    Irrelevant,
    /// The result of the search for later events with the letter's key.
    Searched(Later),
}

impl Order {
    /// Returns the offsets up to which the search found no later event with the letter's key. Returns `None` if later
    /// events do not matter.
    ///
    /// # Errors
    /// A later event with the letter's key, or another replay of the letter, was written or may still be written. Or
    /// the search could not find out whether there is such an event.
    pub(crate) fn allowed(self) -> Result<Option<Searched>, NotReplayable> {
        match self {
            Self::Irrelevant | Self::Searched(Later::NoKey) => Ok(None),
            Self::Searched(Later::None(searched)) => Ok(Some(searched)),
            Self::Searched(Later::Found(place)) => Err(NotReplayable::LaterEvent(place)),
            Self::Searched(Later::SentAgain(place)) => Err(NotReplayable::SentAgain(place)),
            Self::Searched(Later::Gone) => Err(NotReplayable::Gone),
            Self::Searched(Later::OutOfTime) => Err(NotReplayable::OutOfTime),
        }
    }
}

/// Looks for later events with the keys of a stream's letters. Returns one result for each letter, in the same order as
/// `sought`.
pub(crate) async fn order(
    ingest: &Ingest,
    contract: &Contract,
    sought: &[Sought<'_>],
    deadline: Instant,
) -> Result<Vec<Order>, Error> {
    match contract.row_key().filter(|_| contract.version().is_none()) {
        None => Ok(sought.iter().map(|_| Order::Irrelevant).collect()),
        Some(key) => {
            let found = later::search(ingest, contract, key, sought, deadline).await?;
            Ok(found.into_iter().map(Order::Searched).collect())
        }
    }
}

/// Sends a letter, or the edited event, and marks the letter as replayed. The letter is locked, so that concurrent
/// requests send it only once.
async fn send(
    ingest: &Ingest,
    contract: &Contract,
    id: i64,
    searched: Option<&Searched>,
    (edited, options): (Option<&CheckedEvent>, &ReplayOptions),
) -> Result<Receipt, Error> {
    let mut transaction = in_time(ingest.pool.begin()).await?;
    let letter = in_time(dead_letters::lock(&mut transaction, id)).await?.ok_or_else(no_such_letter)?;
    replayable(ingest, &letter)?;
    let headers = replay_headers(&letter, searched, edited.is_some());
    let (key, value) = match edited {
        Some(CheckedEvent { key, text }) => (key.as_deref().map(str::as_bytes), &text[..]),
        None => (letter.key.as_deref(), &letter.payload[..]),
    };
    let record = Outgoing { topic: &contract.topic, key, value: Some(value), headers: &headers };
    let sent = send_records(ingest, contract, &[record]).await.pop();
    let receipt = sent.ok_or_else(Error::unacknowledged)??;
    in_time(async {
        dead_letters::mark_replayed(&mut transaction, &[(id, receipt.place())]).await?;
        let detail = json!({"force": options.is_forced, "edited": edited.is_some()});
        let object = format!("dead-letters/{id}");
        let entry = NewEntry { user: &options.user, action: Action::Replayed, object, detail };
        audit::insert(&mut *transaction, &entry).await?;
        transaction.commit().await
    })
    .await?;
    Ok(receipt)
}
