//! Locks between parents and children: a child that finds its parent missing and a parent that looks for waiting
//! children must not miss each other.
//!
//! Children of a stream hold its lock shared from before they look for their parents until they are committed. Whoever
//! creates parents holds it alone from before it writes until it is committed: then every child either sees the
//! parent or has been seen waiting. Locks are taken after the watermarks, before any row, in the order of the
//! streams' names, so that nobody waits in a circle.

use std::collections::BTreeMap;

use shared::contract::{Contract, Mode, Registry};
use sqlx::PgConnection;
use xxhash_rust::xxh3::xxh3_64;

use super::Partition;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    Shared,
    Alone,
}

/// Takes the locks that these partitions' records need.
pub(super) async fn lock(
    connection: &mut PgConnection,
    registry: &Registry,
    fresh: &[(&Partition<'_>, usize, i32)],
) -> Result<(), sqlx::Error> {
    let mut holds = BTreeMap::new();
    for (partition, _, _) in fresh {
        gather(registry, &partition.contract, &mut holds);
    }
    for (stream, hold) in holds {
        let lock = match hold {
            Hold::Shared => "select pg_advisory_xact_lock_shared($1)",
            Hold::Alone => "select pg_advisory_xact_lock($1)",
        };
        let key = xxh3_64(format!("sluice entity {stream}").as_bytes()).cast_signed();
        sqlx::query(lock).bind(key).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What a stream's records need, and what is released when they land.
fn gather<'r>(registry: &'r Registry, contract: &'r Contract, holds: &mut BTreeMap<&'r str, Hold>) {
    let Mode::Entity(entity) = &contract.mode else { return };
    let mut hold = |stream: &'r str, hold: Hold| {
        let held = holds.entry(stream).or_insert(hold);
        *held = hold.max(*held);
    };
    if let Some(parent) = &entity.parent {
        hold(&parent.stream, Hold::Shared);
    }
    let children: Vec<_> = registry.children(&contract.stream).collect();
    if !children.is_empty() {
        hold(&contract.stream, Hold::Alone);
    }
    for (child, _) in children {
        gather(registry, child, holds);
    }
}
