//! The dead letters that match a filter: listed, counted, and grouped by reason.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Postgres, QueryBuilder, Row as _};

use super::dead_letters::{COLUMNS, DeadLetter, read};
use super::filter::{Filter, push_time};
use super::letter_counts;

/// Whether statements stay prepared for later calls. They do not: after five calls, PostgreSQL might switch to a
/// generic plan. Such a plan cannot suit every reason, because a reason may match a single letter or most letters.
const PREPARED: bool = false;

/// The position of a letter in a list. Lists are in the order in which events became dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the event became a dead letter, microseconds since the Unix epoch.
    pub created_us: i64,
    /// The letter's id.
    pub id: i64,
}

/// Some dead letters of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The dead letters, oldest first.
    pub letters: Vec<DeadLetter>,
    /// The position of the page's last letter, if more follow.
    pub next: Option<Position>,
}

/// Lists matching dead letters after a position, oldest first: at most `limit`, and fewer if their payloads together
/// would exceed `max_bytes`, but at least one.
///
/// # Errors
/// PostgreSQL's error.
pub async fn list(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    after: Option<Position>,
    limit: i64,
    max_bytes: i64,
) -> Result<Page, sqlx::Error> {
    let mut query = QueryBuilder::new("select * from (");
    query.push("select *, count(*) over () as found, row_number() over (order by created_us, id) as position, ");
    query.push("sum(octet_length(payload)) over (order by created_us, id) as bytes from (select ").push(COLUMNS);
    query.push(" from sluice.dead_letters");
    push_page(&mut query, filter, after, limit + 1);
    query.push(") as page) as counted where position <= ").push_bind(limit);
    query.push(" and (bytes <= ").push_bind(max_bytes).push(" or position = 1) order by created_us, id");
    let rows = query.build().persistent(PREPARED).fetch_all(executor).await?;
    let letters = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let next = match rows.last() {
        Some(last) if usize::try_from(last.try_get::<i64, _>("found")?).is_ok_and(|found| found > rows.len()) => {
            Some(Position { created_us: last.try_get("created_us")?, id: last.try_get("id")? })
        }
        Some(_) | None => None,
    };
    Ok(Page { letters, next })
}

/// Appends the clauses that select the first `limit` matching letters after the position `after`.
fn push_page<'f>(query: &mut QueryBuilder<'f, Postgres>, filter: &'f Filter, after: Option<Position>, limit: i64) {
    const ORDERED: &str = " order by created_at, id limit ";
    let after = |query: &mut QueryBuilder<'f, Postgres>| {
        if let Some(Position { created_us, id }) = after {
            push_time(query.push(" and (created_at, id) > ("), created_us);
            query.push(", ").push_bind(id).push(")");
        }
    };
    // An error code or a reason may match few of the letters, so reading all letters in order would be slow. Instead,
    // the counts show which topics and error codes have matching letters. For each such topic and error code, an index
    // returns the letters in order: the index by topic and error code, or the index by reason.
    if filter.ids.is_none() && (filter.error_code.is_some() || filter.reason.is_some()) {
        query.push(" where id = any(array(select id from (");
        letter_counts::push_places(filter, query);
        query.push(") as p cross join lateral (select id, created_at from sluice.dead_letters");
        filter.push_where(query);
        query.push(" and topic = p.topic and error_code = p.error_code");
        after(query);
        query.push(ORDERED).push_bind(limit).push(") as of_place").push(ORDERED).push_bind(limit).push("))");
    } else {
        filter.push_where(query);
        after(query);
        query.push(ORDERED).push_bind(limit);
    }
}

/// Counts matching dead letters.
///
/// # Errors
/// PostgreSQL's error.
pub async fn count(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::new("select ");
    if filter.is_counted() {
        query.push("coalesce(sum(letters), 0)::bigint from (");
        letter_counts::push_counted(filter, &mut query);
        query.push(") as counted");
    } else {
        query.push("count(*) from sluice.dead_letters");
        filter.push_where(&mut query);
    }
    query.build_query_scalar().persistent(PREPARED).fetch_one(executor).await
}

/// Dead letters of one topic that have the same error code, and reasons that differ only in quoted values or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The topic.
    pub topic: String,
    /// The error code.
    pub error_code: String,
    /// The reason, if all letters have the same one, otherwise the reasons' pattern.
    pub reason: String,
    /// How many letters there are.
    pub count: i64,
    /// When the first event became a dead letter.
    pub first_at: Timestamp,
    /// When the last event became a dead letter.
    pub last_at: Timestamp,
    /// The id of a recent letter, as a sample.
    pub sample_id: i64,
}

/// Groups the dead letters that match the filter, and lists the largest group first. Skips `skip` groups, and returns
/// at most `limit`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn groups(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    skip: i64,
    limit: i64,
) -> Result<Vec<Group>, sqlx::Error> {
    let mut query = QueryBuilder::default();
    if filter.is_counted() {
        push_counted_groups(&mut query, filter, skip, limit);
    } else {
        query.push("select topic, error_code, count(*) as letters, max(id) as id,");
        query.push(" (extract(epoch from min(created_at)) * 1000000)::bigint as first_us,");
        query.push(" (extract(epoch from max(created_at)) * 1000000)::bigint as last_us,");
        query.push(" case when min(reason) = max(reason) then min(reason) else sluice.reason_pattern(min(reason)) end");
        query.push(" as reason from sluice.dead_letters");
        filter.push_where(&mut query);
        query.push(" group by topic, error_code, pattern_hash");
        query.push(" order by letters desc, topic, error_code, pattern_hash limit ").push_bind(limit);
        query.push(" offset ").push_bind(skip);
    }
    query.build().persistent(PREPARED).try_map(group).fetch_all(executor).await
}

/// Appends the query for groups whose sizes come from the counts. Of the letters themselves, it usually reads only the
/// first and the last of each group.
fn push_counted_groups<'f>(query: &mut QueryBuilder<'f, Postgres>, filter: &'f Filter, skip: i64, limit: i64) {
    const ORDERED: &str = " order by letters desc, topic, error_code, pattern_hash";
    const OF_GROUP: &str = " and topic = g.topic and error_code = g.error_code and pattern_hash = g.pattern_hash";
    query.push("with grouped as (select topic, error_code, pattern_hash, sum(letters)::bigint as letters from (");
    letter_counts::push_counted(filter, query);
    query.push(") as counted group by topic, error_code, pattern_hash having sum(letters) > 0").push(ORDERED);
    query.push(" limit ").push_bind(limit).push(" offset ").push_bind(skip).push(")");
    query.push(" select topic, error_code, letters, first.at as first_us, last.at as last_us, last.id, case");
    if let Some(reason) = &filter.reason {
        query.push(" when last.reason = ").push_bind(reason).push(" then last.reason");
    }
    // If all matching letters of a group have the same reason, the group shows that reason. The counts ignore the
    // filter's times: they show whether all letters of the group, at any time, have the same reason. If they do not,
    // the letters within the filter's times may still have only one reason, so these letters are searched for a second
    // one.
    query.push(" when first.reason <> last.reason then sluice.reason_pattern(last.reason) when ");
    letter_counts::push_has_one_reason(filter, query, "g", "last.reason_hash");
    query.push(" then last.reason when exists (select from sluice.dead_letters");
    filter.push_where(query);
    query.push(OF_GROUP).push(" and reason_hash <> last.reason_hash) then sluice.reason_pattern(last.reason)");
    query.push(" else last.reason end as reason from grouped g");
    for (name, order) in [("first", "created_at, id"), ("last", "created_at desc, id desc")] {
        query.push(" cross join lateral (select id, (extract(epoch from created_at) * 1000000)::bigint as at, reason,");
        query.push(" reason_hash from sluice.dead_letters");
        filter.push_where(query);
        query.push(OF_GROUP).push(" order by ").push(order).push(" limit 1) as ").push(name);
    }
    query.push(ORDERED);
}

fn group(row: PgRow) -> Result<Group, sqlx::Error> {
    let at = |column: &str| Ok::<_, sqlx::Error>(Timestamp::from_microsecond(row.try_get(column)?).unwrap_or_default());
    Ok(Group {
        topic: row.try_get("topic")?,
        error_code: row.try_get("error_code")?,
        reason: row.try_get("reason")?,
        count: row.try_get("letters")?,
        first_at: at("first_us")?,
        last_at: at("last_us")?,
        sample_id: row.try_get("id")?,
    })
}
