//! Follows events through every stage: `GET /follow`.
//!
//! The ledger does not store every event. So a search for an event reads the stream's topic in Kafka, from a given time
//! onwards.
//!
//! - `request`: what the query asks for
//! - `wanted`: decides whether a record matches the query
//! - `scan`: reads the topic's partitions, within a time limit
//! - `partitioner`: computes a key's partition, which `scan` reads first
//! - `cursor`: the position at which the next request continues
//! - `stages`: looks up the outcomes of the records that were found
//! - `row`: reads the row of an event
//! - `item`: a followed event in a response

mod cursor;
mod item;
mod partitioner;
mod request;
mod row;
mod scan;
mod stages;
mod wanted;

use std::time::{Duration, Instant};

use shared::http::answer::List;
use shared::http::fields::Fields;

use self::cursor::Cursor;
pub(crate) use self::item::FollowedEvent;
pub(crate) use self::request::PARAMETERS;
use self::request::{FollowRequest, Sought};
use self::scan::{Found, Scan};
use crate::Console;
use crate::error::Error;

/// The time limit for reading Kafka in a request. Looking up the outcomes of the records takes additional time.
const READ_FOR: Duration = Duration::from_secs(15);
/// The time that is reserved before a request's deadline for looking up the outcomes.
const LOOK_UP_FOR: Duration = Duration::from_secs(5);

/// Finds the events that a query asks for, and the outcome of each.
///
/// `deadline` is the request's deadline, if it has one.
///
/// # Errors
/// The query is malformed, there is no such stream or partition, or Kafka or the database does not answer.
pub(crate) async fn follow(
    console: &Console,
    query: &Fields,
    deadline: Option<Instant>,
) -> Result<List<FollowedEvent>, Error> {
    let ingest = &console.ingest;
    let request = FollowRequest::from_query(query, &ingest.registry, ingest.clock.now_ms())?;
    let longest = Instant::now() + READ_FOR;
    let until = deadline.and_then(|deadline| deadline.checked_sub(LOOK_UP_FOR)).map_or(longest, |at| at.min(longest));
    let Found { records, next } = match &request.sought {
        Sought::Receipt { partition, offset } => {
            scan::read_one(&ingest.reader, request.contract, *partition, *offset, until).await?
        }
        Sought::Events { wanted, cursor } => {
            let FollowRequest { contract, limit, .. } = request;
            Scan { reader: &ingest.reader, contract, wanted, limit, deadline: until }.run(*cursor).await?
        }
    };
    let items = stages::look_up(console, request.contract, records).await?;
    Ok(List { items, next: next.map(Cursor::to_text) })
}
