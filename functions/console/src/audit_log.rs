//! Lists the entries of the audit log: who replayed, discarded, unblocked, deleted or created what.

use shared::http::answer::List;
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::ledger::audit::{self, Entry};

use crate::Console;
use crate::error::Error;

/// Lists the entries, newest first.
pub(crate) async fn list(console: &Console, query: &Fields) -> Result<List<Entry>, Error> {
    let (before, limit) = (query.before_id()?, query.limit()?);
    let mut items = in_time(audit::list(&console.ingest.pool, before, i64::from(limit) + 1)).await?;
    let has_more = items.len() > usize::from(limit);
    items.truncate(limit.into());
    let next = items.last().filter(|_| has_more).map(|entry| entry.id.to_string());
    Ok(List { items, next })
}
