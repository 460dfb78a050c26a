//! Groups dead letters by stream, error code and reason.

use jiff::Timestamp;
use serde::Serialize;
use shared::http::answer::List;
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::ledger::matching::{self, Group};

use crate::Console;
use crate::error::Error;
use crate::filter::FilterParts;

/// A group in a response.
#[derive(Debug, Serialize)]
pub(crate) struct GroupItem {
    /// The stream that uses the topic. `None` if no stream uses the topic any more.
    stream: Option<String>,
    topic: String,
    error_code: String,
    reason: String,
    count: i64,
    first_at: Timestamp,
    last_at: Timestamp,
    sample_id: i64,
}

/// Lists the groups of the letters that match the query's filter, the largest group first. The cursor of a page is the
/// number of groups on the pages before it.
pub(crate) async fn list(console: &Console, query: &Fields) -> Result<List<GroupItem>, Error> {
    let registry = &console.ingest.registry;
    let filter = FilterParts::from_query(query)?.resolve(registry)?;
    let (skip, limit) = (query.after_id()?.max(0), query.limit()?);
    let mut groups = in_time(matching::groups(&console.ingest.pool, &filter, skip, i64::from(limit) + 1)).await?;
    let has_more = groups.len() > usize::from(limit);
    groups.truncate(limit.into());
    let item = |group: Group| {
        let Group { topic, error_code, reason, count, first_at, last_at, sample_id } = group;
        let stream = registry.topic(&topic).map(|contract| contract.stream.clone());
        GroupItem { stream, topic, error_code, reason, count, first_at, last_at, sample_id }
    };
    let next = has_more.then(|| (skip + i64::from(limit)).to_string());
    Ok(List { items: groups.into_iter().map(item).collect(), next })
}
