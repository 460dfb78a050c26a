//! The counts that `sluice.user_event_counts` keeps, and the events at a range's ends, counted one by one.

use jiff::civil::DateTime;
use sqlx::{PgExecutor, Row as _};

use crate::question::{By, Parts, Question};

/// Events that have one name: a city's or a country's as it came, or an hour's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) events: i64,
}

/// Counts the events that a question asks for, in one statement, and so of one moment.
///
/// # Errors
/// The database does not do its part.
pub(crate) async fn count(database: impl PgExecutor<'_>, question: &Question) -> Result<Vec<Counted>, sqlx::Error> {
    let rows = match (question.by, question.from, question.to) {
        (By::City, None, None) => sqlx::query(EVER).bind("city").fetch_all(database).await?,
        (By::Country, None, None) => sqlx::query(EVER).bind("country").fetch_all(database).await?,
        (By::City, ..) => within(CITIES, question).fetch_all(database).await?,
        (By::Country, ..) => within(COUNTRIES, question).fetch_all(database).await?,
        (By::Hour, ..) => within(HOURS, question).fetch_all(database).await?,
    };
    rows.iter().map(|row| Ok(Counted { name: row.try_get(0)?, events: row.try_get(1)? })).collect()
}

const EVER: &str = "
    select name, sum(events)::bigint from sluice.user_event_counts
    where what = $1
    group by name having sum(events) <> 0";

const CITIES: &str = "
    select name, sum(events)::bigint from (
        select name, events from sluice.user_event_counts
        where what = 'city-day' and since >= $2::timestamp and since < $3::timestamp
        union all
        select city, count(*) from public.user_events
        where datetime >= $1::timestamp and datetime < $2::timestamp group by city
        union all
        select city, count(*) from public.user_events
        where datetime >= $3::timestamp and datetime < $4::timestamp group by city
    ) as counted (name, events)
    group by name having sum(events) <> 0";

const COUNTRIES: &str = "
    select name, sum(events)::bigint from (
        select name, events from sluice.user_event_counts
        where what = 'country-day' and since >= $2::timestamp and since < $3::timestamp
        union all
        select coalesce(country, ''), count(*) from public.user_events
        where datetime >= $1::timestamp and datetime < $2::timestamp group by 1
        union all
        select coalesce(country, ''), count(*) from public.user_events
        where datetime >= $3::timestamp and datetime < $4::timestamp group by 1
    ) as counted (name, events)
    group by name having sum(events) <> 0";

const HOURS: &str = r#"
    select to_char(hour, 'YYYY-MM-DD"T"HH24:MI'), sum(events)::bigint from (
        select since, events from sluice.user_event_counts
        where what = 'hour' and since >= $2::timestamp and since < $3::timestamp
        union all
        select date_trunc('hour', datetime), count(*) from public.user_events
        where datetime >= $1::timestamp and datetime < $2::timestamp group by 1
        union all
        select date_trunc('hour', datetime), count(*) from public.user_events
        where datetime >= $3::timestamp and datetime < $4::timestamp group by 1
    ) as counted (hour, events)
    group by hour having sum(events) <> 0"#;

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn within<'q>(statement: &'q str, question: &Question) -> Query<'q> {
    let Parts { head, whole, tail } = question.parts();
    let text = |time: DateTime, end: DateTime, infinite: &str| match time == end {
        true => infinite.to_owned(),
        false => time.to_string(),
    };
    let from = |time| text(time, DateTime::MIN, "-infinity");
    let to = |time| text(time, DateTime::MAX, "infinity");
    sqlx::query(statement).bind(from(head.0)).bind(from(whole.0)).bind(to(whole.1)).bind(to(tail.1))
}

#[cfg(test)]
mod tests;
