//! Lists ranges of offsets that Kafka no longer had when `consume` needed them.

use shared::http::answer::List;
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::ledger::gaps::{self, ListedGap};

use crate::Ingest;
use crate::error::Error;

/// Lists gaps, oldest first.
pub(crate) async fn list(ingest: &Ingest, query: &Fields) -> Result<List<ListedGap>, Error> {
    let after = query.after_id()?;
    let limit = query.limit()?;
    let mut items = in_time(gaps::list(&ingest.pool, after, i64::from(limit) + 1)).await?;
    let has_more = items.len() > usize::from(limit);
    items.truncate(limit.into());
    let next = items.last().filter(|_| has_more).map(ListedGap::cursor);
    Ok(List { items, next })
}
