//! Random user events for demonstrations, generated from the stream's contract and sent like other events.

use std::sync::Arc;

use random_events::RandomEvents;
use shared::contract::Contract;
use shared::process::clock::Clock;

use crate::accept::AcceptOptions;
use crate::body::PostedEvents;
use crate::error::Error;
use crate::{Ingest, body, streams};

/// The stream of the events.
pub(crate) const STREAM: &str = "user-event";

/// Returns the stream's contract.
pub(crate) fn contract(ingest: &Ingest) -> Result<&Arc<Contract>, Error> {
    streams::contract(ingest, STREAM, |_| false)
}

/// Rejects an `Idempotency-Key`: every call generates different events, so a retry would send a different payload.
///
/// # Errors
/// There is an `Idempotency-Key`.
pub(crate) fn reject_key(options: &AcceptOptions<'_>) -> Result<(), Error> {
    match options.idempotency_key {
        Some(_) => Err(Error::malformed(
            "`Idempotency-Key` is not supported here: every call generates different random events.",
        )),
        None => Ok(()),
    }
}

/// Generates a batch of random events, as if they had been posted. `number` is the number of events.
///
/// # Errors
/// `number` is not a number from 1 to 10,000, or no random event satisfies the contract.
pub(crate) async fn generate(contract: &Arc<Contract>, clock: &Clock, number: &str) -> Result<PostedEvents, Error> {
    let number = number.parse().ok().filter(|number| (1..=body::MAX_EVENTS).contains(number)).ok_or(Error::Number)?;
    let (contract, clock) = (Arc::clone(contract), clock.clone());
    let generated = tokio::task::spawn_blocking(move || {
        let mut events = RandomEvents::new(contract, clock);
        let mut rng = rand::rng();
        (0..number).map(|_| events.event(&mut rng).map(|event| event.to_string())).collect::<Result<Vec<_>, _>>()
    });
    let events = generated.await.map_err(|_| Error::NoEvents)?.map_err(|error| {
        tracing::error!(%error, "cannot generate a random event");
        Error::NoEvents
    })?;
    Ok(PostedEvents::batch(&events))
}
