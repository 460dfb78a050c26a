//! The dead letters that match a filter: listed, counted, and grouped by reason.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, QueryBuilder, Row as _};

use super::dead_letters::{COLUMNS, DeadLetter, read};
use super::filter::{Filter, push_time};

/// The position of a letter in a list. Lists are in the order in which events became dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When it became a dead letter, microseconds since the Unix epoch.
    pub created_us: i64,
    /// Its id.
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

/// Lists matching dead letters after a position, oldest first: at most `limit`, and only as many as have payloads of at
/// most `max_bytes` together, but at least one.
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
    let mut query = QueryBuilder::new("select ");
    query.push(COLUMNS).push(", created_us, found from (");
    query.push("select *, count(*) over () as found, row_number() over (order by created_us, id) as position, ");
    query.push("sum(octet_length(payload)) over (order by created_us, id) as bytes from (select ").push(COLUMNS);
    query.push(", (extract(epoch from created_at) * 1000000)::bigint as created_us from sluice.dead_letters");
    filter.push_where(&mut query);
    if let Some(Position { created_us, id }) = after {
        push_time(query.push(" and (created_at, id) > ("), created_us);
        query.push(", ").push_bind(id).push(")");
    }
    query.push(" order by created_at, id limit ").push_bind(limit + 1);
    query.push(") as page) as counted where position <= ").push_bind(limit);
    query.push(" and (bytes <= ").push_bind(max_bytes).push(" or position = 1) order by created_us, id");
    let rows = query.build().fetch_all(executor).await?;
    let letters = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let next = match rows.last() {
        Some(last) if usize::try_from(last.try_get::<i64, _>("found")?).is_ok_and(|found| found > rows.len()) => {
            Some(Position { created_us: last.try_get("created_us")?, id: last.try_get("id")? })
        }
        Some(_) | None => None,
    };
    Ok(Page { letters, next })
}

/// Counts matching dead letters.
///
/// # Errors
/// PostgreSQL's error.
pub async fn count(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::new("select ");
    if filter.is_counted() {
        query.push("coalesce(sum(letters), 0)::bigint from sluice.dead_letter_counts");
        filter.push_where_counted(&mut query);
    } else {
        query.push("count(*) from sluice.dead_letters");
        filter.push_where(&mut query);
    }
    query.build_query_scalar().fetch_one(executor).await
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
    /// The id of the last letter, as a sample.
    pub sample_id: i64,
}

/// Groups matching dead letters, most frequent first: at most `limit`, after skipping `skip`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn groups(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    skip: i64,
    limit: i64,
) -> Result<Vec<Group>, sqlx::Error> {
    let mut query =
        QueryBuilder::new("with grouped as (select topic, error_code, pattern, sum(letters)::bigint as letters, ");
    query.push("case when min(reason) = max(reason) then min(reason) else pattern end as reason from (");
    if filter.is_counted() {
        query.push(
            "select topic, error_code, sluice.reason_pattern(reason) as pattern, reason, sum(letters) as letters",
        );
        query.push(" from sluice.dead_letter_counts");
        filter.push_where_counted(&mut query);
        query.push(" group by topic, error_code, reason having sum(letters) > 0");
    } else {
        query.push("select topic, error_code, sluice.reason_pattern(reason) as pattern, reason, count(*) as letters");
        query.push(" from sluice.dead_letters");
        filter.push_where(&mut query);
        query.push(" group by topic, error_code, reason");
    }
    query.push(") as reasons group by topic, error_code, pattern order by letters desc, topic, error_code, pattern");
    query.push(" limit ").push_bind(limit).push(" offset ").push_bind(skip).push(")");
    query.push(" select g.topic, g.error_code, g.reason, g.letters, first.at as first_us, last.at as last_us, last.id");
    query.push(" from grouped g");
    for (name, order) in [("first", "created_at, id"), ("last", "created_at desc, id desc")] {
        query.push(" cross join lateral (select id, (extract(epoch from created_at) * 1000000)::bigint as at");
        query.push(" from (select * from sluice.dead_letters");
        filter.push_where(&mut query);
        query.push(") as d where d.pattern_hash = hashtextextended(g.pattern, 0) and d.topic = g.topic");
        query.push(" and d.error_code = g.error_code order by ").push(order).push(" limit 1) as ").push(name);
    }
    query.push(" order by g.letters desc, g.topic, g.error_code, g.pattern");
    query.build().try_map(group).fetch_all(executor).await
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
