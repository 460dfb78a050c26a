//! Takes locks so that parents and children do not miss each other. Without locks, a child could find its parent
//! missing, and begin to wait just after the parent has looked for waiting children.
//!
//! Each stream of parents has a lock. A batch with children takes the lock in shared mode before it looks for the
//! parents. A batch that may create parents takes the lock exclusively before it writes. Both hold the lock until they
//! commit. So either a child finds its parent, or the parent finds the child waiting. Locks are taken after the
//! watermarks and before any row, in the order of the streams' names, so that batches cannot deadlock.

use std::collections::BTreeMap;

use shared::contract::{Contract, Mode, Registry};
use sqlx::PgConnection;
use xxhash_rust::xxh3::xxh3_64;

use super::plan::Planned;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LockMode {
    Shared,
    Exclusive,
}

/// Takes the locks that these partitions' records need.
pub(super) async fn lock(
    connection: &mut PgConnection,
    registry: &Registry,
    planned: &[Planned<'_, '_>],
) -> Result<(), sqlx::Error> {
    let mut modes = BTreeMap::new();
    for one in planned {
        gather(registry, &one.partition.contract, &mut modes);
    }
    for (stream, mode) in modes {
        let lock = match mode {
            LockMode::Shared => "select pg_advisory_xact_lock_shared($1)",
            LockMode::Exclusive => "select pg_advisory_xact_lock($1)",
        };
        let key = xxh3_64(format!("sluice entity {stream}").as_bytes()).cast_signed();
        sqlx::query(lock).bind(key).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Collects the locks that a stream's records need. If a record creates a parent, children that wait for the
/// parent may land with it, so the locks for these children are included.
fn gather<'r>(registry: &'r Registry, contract: &'r Contract, modes: &mut BTreeMap<&'r str, LockMode>) {
    let Mode::Entity(entity) = &contract.mode else { return };
    let mut need = |stream: &'r str, mode: LockMode| {
        let strictest = modes.entry(stream).or_insert(mode);
        *strictest = mode.max(*strictest);
    };
    if let Some(parent) = &entity.parent {
        need(&parent.stream, LockMode::Shared);
    }
    let children: Vec<_> = registry.children(&contract.stream).collect();
    if !children.is_empty() {
        need(&contract.stream, LockMode::Exclusive);
    }
    for (child, _) in children {
        gather(registry, child, modes);
    }
}
