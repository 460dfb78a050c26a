//! Lands commands that were waiting, once their parents have landed.

use shared::contract::Contract;
use shared::ledger::waiting::{self, Released};
use shared::ledger::{Destination, Rejection};
use sqlx::PgConnection;

use super::settle::{BatchResult, RejectedRecord, Settled, reject, settle_claimed};
use crate::candidate::Candidate;
use crate::check::{Event, Rows};
use crate::envelope::Envelope;
use crate::write::{Context, WriteError};

/// Lands the commands that were waiting for the entities in `created`. If these commands create entities in turn, lands
/// the commands that were waiting for those, too, and so on.
pub(super) async fn release(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    created: Vec<String>,
    outcome: &mut BatchResult,
) -> Result<(), WriteError> {
    let mut parents = vec![(contract.stream.clone(), created)];
    while let Some((stream, keys)) = parents.pop() {
        if keys.is_empty() {
            continue;
        }
        for (child, _) in context.registry.children(&stream) {
            let released = waiting::release(connection, &child.stream, &stream, &keys).await?;
            if released.is_empty() {
                continue;
            }
            let mut settled = land_released(connection, context, child, &released).await?;
            settled.add_to(&mut outcome.landed, child);
            outcome.refused.append(&mut settled.refused);
            parents.push((child.stream.clone(), settled.created));
        }
    }
    Ok(())
}

async fn land_released(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    released: &[Released],
) -> Result<Settled, WriteError> {
    let mut rows = Rows::new(Destination::Postgresql);
    let check = |one: &Released| rows.check(contract, &one.payload, &Envelope::for_record(&one.record()));
    let events: Vec<Result<Event, Rejection>> = released.iter().map(check).collect();
    let mut candidates = Vec::with_capacity(released.len());
    let mut rejected: Vec<RejectedRecord<'_>> = Vec::new();
    for (one, event) in released.iter().zip(&events) {
        match event {
            Ok(event) => candidates.push(Candidate::new(one.record(), event, &rows).waiting_since(one.since_ms)),
            Err(rejection) => rejected.push((one.record(), rejection)),
        }
    }
    let mut settled = reject(connection, context.now_ms, contract, &rejected).await?;
    settled.add(settle_claimed(connection, context, contract, &candidates).await?);
    for one in released {
        settled.activity.counts(one.record().position).released += 1;
    }
    Ok(settled)
}
