//! Mode `entity`: commands that create, update and delete rows. They are decided in memory, in offset order, against
//! existing rows. At most three statements write the rows, and one more stores the commands that wait for a parent.

mod command;
mod decide;
mod table;

use std::collections::BTreeMap;

use shared::contract::{Contract, Entity, Mode, Registry};
use shared::ledger::waiting::{self, Queue, Waiter};
use sqlx::PgConnection;

use self::command::Command;
use self::decide::{Before, decide};
use self::table::Existing;
use super::{Context, Exceptions, WriteError};
use crate::candidate::Candidate;

pub(super) async fn write(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    entity: &Entity,
    slice: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    let commands: Vec<Command<'_>> = slice.iter().map(|candidate| Command::read(contract, entity, candidate)).collect();
    let known = look_up(connection, context.registry, contract, entity, &commands).await?;
    let decided = decide(entity, &commands, known);

    table::delete(connection, &contract.stream, entity, context.now_ms, decided.rows.values()).await?;
    table::update(connection, entity, decided.rows.values().filter(|row| row.is_updated())).await?;
    table::insert(connection, entity, decided.rows.values().filter(|row| row.is_inserted())).await?;
    if let Some(parent) = &entity.parent {
        let queue = Queue { stream: &contract.stream, parent_stream: &parent.stream };
        let waiters = decided.waiting.iter().map(|(index, parent_key)| Waiter {
            record: slice[*index].record,
            entity_key: &commands[*index].key,
            parent_key,
            since_ms: slice[*index].waiting_since_ms.unwrap_or(context.now_ms),
            event_id: slice[*index].id.map(|id| id.id),
        });
        waiting::enqueue(connection, queue, &waiters.collect::<Vec<_>>()).await?;
    }
    Ok(Exceptions {
        created: decided.rows.values().filter(|row| row.is_inserted()).map(|row| row.key.to_owned()).collect(),
        rejected: decided.rejected,
        superseded: decided.superseded,
        waiting: decided.waiting.into_iter().map(|(index, _)| index).collect(),
        ..Exceptions::default()
    })
}

/// Locks the rows that the commands are about, and collects the state that the decisions depend on.
async fn look_up(
    connection: &mut PgConnection,
    registry: &Registry,
    contract: &Contract,
    entity: &Entity,
    commands: &[Command<'_>],
) -> Result<Before, WriteError> {
    let keys: BTreeMap<&str, &Command<'_>> = commands.iter().map(|command| (command.key.as_str(), command)).collect();
    let Existing { keys: existing, versions } =
        table::lock_existing(connection, &contract.stream, entity, &keys).await?;

    let deleted: Vec<&str> =
        commands.iter().filter(|command| command.is_delete()).map(|command| command.key.as_str()).collect();
    let mut with_children = std::collections::HashSet::new();
    if !deleted.is_empty() {
        for (_, child) in registry.children(&contract.stream) {
            with_children.extend(table::parents_of(connection, child, &deleted).await?);
        }
    }
    let (queued, parents) = match &entity.parent {
        None => Default::default(),
        Some(parent) => {
            let keys: Vec<&str> = keys.into_keys().collect();
            let queued = waiting::queued(connection, &contract.stream, &keys).await?;
            let wanted: std::collections::BTreeSet<&str> =
                commands.iter().filter_map(|command| command.parent.as_deref()).collect();
            let parents = match registry.stream(&parent.stream).map(|contract| &contract.mode) {
                Some(Mode::Entity(parent)) => table::lock_parents(connection, parent, &wanted).await?,
                // The registry guarantees that a parent is an entity.
                Some(Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_)) | None => Default::default(),
            };
            (queued, parents)
        }
    };
    Ok(Before { existing, versions, queued, parents, with_children })
}
