//! Reads stored counts from `sluice.user_event_counts`. The events at a range's ends, which no stored count covers, are
//! counted one by one.

use jiff::civil::DateTime;
use sqlx::{PgExecutor, Row as _};

use crate::question::{By, Parts, Question};

/// The number of events with one name: a city or country as it arrived, or an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) events: i64,
}

/// Counts the events that a question asks for. One statement counts all of them, so all counts are from the same
/// moment. A name may occur several times, and some counts may be negative. The caller must add up the counts of each
/// name.
///
/// # Errors
/// The database fails.
pub(crate) async fn count(database: impl PgExecutor<'_>, question: &Question) -> Result<Vec<Counted>, sqlx::Error> {
    let Parts { from, first, first_month, last_month, last, to } = question.parts();
    let query = match (question.by, question.from, question.to) {
        (By::City | By::Country, None, None) => sqlx::query(EVER).bind(question.by.name()),
        (By::City | By::Country, ..) => {
            within(PLACES, &[from, first, first_month, last_month, last, to]).bind(question.by.name())
        }
        (By::Hour, ..) => within(HOURS, &[from, first, last, to]),
    };
    let row = query.fetch_one(database).await?;
    let names: Vec<String> = row.try_get(0)?;
    let events: Vec<i64> = row.try_get(1)?;
    Ok(names.into_iter().zip(events).map(|(name, events)| Counted { name, events }).collect())
}

// These queries return one row with arrays. Reading the arrays is several times as fast as reading a row for each name.
const EVER: &str = "
    select coalesce(array_agg(name), '{}'), coalesce(array_agg(events), '{}')
    from sluice.user_event_counts where what = $1";

const PLACES: &str = "
    select coalesce(array_agg(name), '{}'), coalesce(array_agg(events), '{}') from (
        select name, sum(events)::bigint from sluice.user_event_counts
        where what = $7 || '-month' and since >= $3::timestamp and since < $4::timestamp group by name
        union all
        select name, sum(events)::bigint from sluice.user_event_counts
        where what = $7 || '-day' and since >= $2::timestamp and since < $3::timestamp group by name
        union all
        select name, sum(events)::bigint from sluice.user_event_counts
        where what = $7 || '-day' and since >= $4::timestamp and since < $5::timestamp group by name
        union all
        select case $7 when 'city' then city else coalesce(country, '') end, count(*) from public.user_events
        where datetime >= $1::timestamp and datetime < $2::timestamp group by 1
        union all
        select case $7 when 'city' then city else coalesce(country, '') end, count(*) from public.user_events
        where datetime >= $5::timestamp and datetime < $6::timestamp group by 1
    ) as counted (name, events)";

// Infinite times have no hour and are excluded. Times before the year 1, which only SQL can insert, are marked `BC`,
// because programs disagree about how ISO 8601 numbers the years before the year 1.
const HOURS: &str = r#"
    select coalesce(array_agg(to_char(hour, 'YYYY-MM-DD"T"HH24:MI') || case when hour < '0001-01-01' then ' BC' else '' end), '{}'),
           coalesce(array_agg(events), '{}')
    from (
        select since, sum(events)::bigint from sluice.user_event_counts
        where what = 'hour' and since >= $2::timestamp and since < $3::timestamp and isfinite(since) group by since
        union all
        select date_trunc('hour', datetime), count(*) from public.user_events
        where datetime >= $1::timestamp and datetime < $2::timestamp group by 1
        union all
        select date_trunc('hour', datetime), count(*) from public.user_events
        where datetime >= $3::timestamp and datetime < $4::timestamp group by 1
    ) as counted (hour, events)"#;

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Creates a query and binds the bounds of the parts as its first arguments.
fn within<'q>(statement: &'q str, bounds: &[DateTime]) -> Query<'q> {
    let time = |time: DateTime| match time {
        DateTime::MIN => "-infinity".to_owned(),
        DateTime::MAX => "infinity".to_owned(),
        time => time.to_string(),
    };
    bounds.iter().fold(sqlx::query(statement), |query, bound| query.bind(time(*bound)))
}

#[cfg(test)]
mod tests;
