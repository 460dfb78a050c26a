//! Claims the ids of events in the landing transaction. At most one event lands under an id. A rejected event keeps its
//! id, so that sending the same events again has the same result. Otherwise, a command that was rejected the first time
//! could land the second time, although commands that were meant to follow it have already landed.

use std::collections::{HashMap, HashSet};

use shared::ledger::event_ids::{self, HeldId};
use shared::ledger::waiting::PARENT_MISSING;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::check::EventId;

/// The result of an event's claim to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The event is the first with its id, or retries a rejected event.
    First,
    /// An event with the same id and payload came before, in this batch or an earlier one. This event shares the
    /// earlier event's outcome.
    Repeat,
    /// An event with the same id but another payload came before.
    Conflict,
}

/// Returns whether an event may retry the rejected event that has the same id. The payloads of the two events must be
/// equal. In addition, one of two things must be true: the event is a replayed dead letter, or the rejected event's
/// parent did not arrive in time. In the second case, the parent may have arrived since.
fn may_retry(id: &EventId, held: &HeldId) -> bool {
    let is_open = held.error_code.as_ref().is_some_and(|code| id.is_replay || code == PARENT_MISSING);
    is_open && id.payload.is(held.payload_hash)
}

/// Claims the ids of a stream's events. Returns the results in the order of the events.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    stream: &str,
    ids: &[EventId],
    now_ms: i64,
) -> Result<Vec<Claim>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut first: HashMap<Uuid, i64> = HashMap::with_capacity(ids.len());
    for id in ids {
        first.entry(id.id).or_insert(id.payload.stored());
    }
    let mut held = event_ids::insert(connection, stream, first, now_ms).await?;
    let retried: HashSet<Uuid> =
        ids.iter().filter(|id| held.get(&id.id).is_some_and(|held| may_retry(id, held))).map(|id| id.id).collect();
    let reopened = event_ids::reopen(connection, stream, &retried, now_ms).await?;
    let claims = ids.iter().map(|id| match held.get_mut(&id.id) {
        None => {
            held.insert(id.id, HeldId { payload_hash: id.payload.stored(), error_code: None });
            Claim::First
        }
        Some(held) if !id.payload.is(held.payload_hash) => Claim::Conflict,
        Some(held) if may_retry(id, held) && reopened.contains(&id.id) => {
            held.error_code = None;
            Claim::First
        }
        Some(_) => Claim::Repeat,
    });
    Ok(claims.collect())
}
