//! Random user events, for whoever wants to see something: made from the stream's contract, sent as any others.

use shared::contract::Contract;
use shared::contract::random::RandomEvents;

use crate::accept::Demand;
use crate::body::Posted;
use crate::error::Error;
use crate::{Ingest, body, streams};

/// The stream that the events are of.
const STREAM: &str = "user-event";

/// The stream's contract.
pub(crate) fn contract(ingest: &Ingest) -> Result<&Contract, Error> {
    streams::contract(ingest, STREAM)
}

/// Other events are drawn each time, so a repetition would be another payload under the same key.
///
/// # Errors
/// There is an `Idempotency-Key`.
pub(crate) fn refuse_key(demand: &Demand<'_>) -> Result<(), Error> {
    match demand.idempotency_key {
        Some(_) => Err(Error::malformed("random events are others each time: an Idempotency-Key cannot hold for them")),
        None => Ok(()),
    }
}

/// As many events as the path says, as if they had been posted in a batch.
pub(crate) async fn draw(ingest: &Ingest, number: &str) -> Result<Posted, Error> {
    let number = number.parse().ok().filter(|number| (1..=body::EVENTS).contains(number)).ok_or(Error::Number)?;
    let contract =
        ingest.registry.stream(STREAM).cloned().ok_or_else(|| Error::not_found("There is no such stream."))?;
    let clock = ingest.clock.clone();
    let drawn = tokio::task::spawn_blocking(move || {
        let mut events = RandomEvents::new(contract, clock);
        let mut rng = rand::rng();
        (0..number).map(|_| events.event(&mut rng).map(|event| event.to_string())).collect::<Result<Vec<_>, _>>()
    });
    let events = drawn.await.map_err(|_| Error::NoEvents)?.map_err(|error| {
        tracing::error!(%error, "no random event");
        Error::NoEvents
    })?;
    Ok(Posted::batch(&events))
}
