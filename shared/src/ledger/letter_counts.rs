//! Tables `dead_letter_counts` and `dead_letter_group_counts`: how many dead letters there are. Triggers on
//! `dead_letters` update them, so a million letters are counted without being read.

use sqlx::{PgExecutor, Postgres, QueryBuilder};

use super::filter::{Filter, LetterStatus, push_between};

/// A range of time in microseconds since the Unix epoch: its start, and its end, which is excluded.
type Range = (Option<i64>, Option<i64>);

const TEN_MINUTES_US: i64 = 600_000_000;
const DAY_US: i64 = 144 * TEN_MINUTES_US;

/// The rows that are read to count the letters in a range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The total counts.
    Ever,
    /// The counts per day.
    Days,
    /// The counts per ten minutes.
    TenMinutes,
    /// The letters themselves, for a range that contains no whole period of ten minutes.
    Letters,
}

/// Splits a range of time into whole days, whole periods of ten minutes, and the remainders at both ends.
fn split((since, until): Range) -> Vec<(Source, Range)> {
    if (since, until) == (None, None) {
        return vec![(Source::Ever, (None, None))];
    }
    let whole = |(since, until): Range, unit: i64| {
        let from =
            since.map(|since| since.div_euclid(unit) * unit + if since.rem_euclid(unit) == 0 { 0 } else { unit });
        let to = until.map(|until| until.div_euclid(unit) * unit);
        let is_empty = from.zip(to).is_some_and(|(from, to)| from >= to);
        (!is_empty).then_some((from, to))
    };
    let Some(tens) = whole((since, until), TEN_MINUTES_US) else { return vec![(Source::Letters, (since, until))] };
    let mut parts = vec![(Source::Letters, (since, tens.0)), (Source::Letters, (tens.1, until))];
    match whole(tens, DAY_US) {
        None => parts.push((Source::TenMinutes, tens)),
        Some(days) => {
            parts.extend([
                (Source::TenMinutes, (tens.0, days.0)),
                (Source::Days, days),
                (Source::TenMinutes, (days.1, tens.1)),
            ]);
        }
    }
    // Removes empty parts, such as the remainder at an open end.
    parts.retain(|(source, (from, to))| *source == Source::Days || from != to);
    parts
}

/// Appends a query that counts matching letters, with the columns `topic`, `error_code`, `pattern_hash` and `letters`.
/// A group may have several rows. Its size is the sum of their `letters`.
///
/// The filter's reason is either the name of a group or a letter's reason. If it is the name of a group, all letters of
/// the group match. Otherwise, a letter matches if its reason has the same hash.
pub(super) fn push_counted<'f>(filter: &'f Filter, query: &mut QueryBuilder<'f, Postgres>) {
    let push_is_group = |query: &mut QueryBuilder<'f, Postgres>, operator: &str| {
        if let Some(reason) = &filter.reason {
            query
                .push(" and ")
                .push_bind(reason)
                .push(operator)
                .push("sluice.reason_pattern(")
                .push_bind(reason)
                .push(")");
        }
    };
    for (number, (source, range)) in split(filter.times_us()).into_iter().enumerate() {
        query.push(if number == 0 { "" } else { " union all " });
        let span = match source {
            Source::Ever => "ever",
            Source::Days => "day",
            Source::TenMinutes => "ten minutes",
            Source::Letters => {
                query.push("select topic, error_code, pattern_hash, count(*) as letters from sluice.dead_letters");
                filter.push_where_between(query, range);
                push_is_group(query, " = ");
                query.push(" group by topic, error_code, pattern_hash");
                continue;
            }
        };
        query.push("select topic, error_code, pattern_hash, letters from sluice.dead_letter_group_counts");
        filter.push_where_shared(query);
        query.push(" and span = '").push(span).push("'");
        push_between(query, "since", range);
        if let Some(reason) = &filter.reason {
            query.push(" and pattern_hash = hashtextextended(").push_bind(reason).push(", 0)");
        }
        push_is_group(query, " = ");
    }
    let Some(reason) = &filter.reason else { return };
    query.push(" union all select topic, error_code, hashtextextended(sluice.reason_pattern(").push_bind(reason);
    query.push("), 0), ");
    if filter.times_us() == (None, None) {
        query.push("letters from ");
        push_of_reason(filter, reason, query);
        query.push(" where true");
    } else {
        // Usually, all letters with the same reason also have the same topic and error code. In that case, the index on
        // reasons is enough to count them, and no condition on topic or error code is needed.
        query.push("found.letters from (select topic, error_code, count(*) over () as places from ");
        push_of_reason(filter, reason, query);
        query.push(" group by topic, error_code having sum(letters) > 0) as p cross join lateral (");
        for (number, condition) in
            ["p.places = 1", "p.places > 1 and topic = p.topic and error_code = p.error_code"].into_iter().enumerate()
        {
            query.push(if number == 0 { "" } else { " union all " });
            query.push("select count(*) as letters from sluice.dead_letters where status = '");
            query.push(filter.status.name()).push("' and reason_hash = hashtextextended(").push_bind(reason);
            query.push(", 0) and ").push(condition);
            push_between(query, "created_at", filter.times_us());
        }
        query.push(") as found where true");
    }
    filter.push_place(query);
    push_is_group(query, " <> ");
}

/// Appends a subquery for the counts of the letters with this reason. The subquery includes all topics and error codes,
/// even if the filter names some.
fn push_of_reason<'f>(filter: &'f Filter, reason: &'f str, query: &mut QueryBuilder<'f, Postgres>) {
    query.push("(select topic, error_code, letters from sluice.dead_letter_counts");
    query.push(" where status = '").push(filter.status.name()).push("' and reason_hash = hashtextextended(");
    query.push_bind(reason).push(", 0)) as of_reason");
}

/// Appends a query for the topics and error codes that matching letters may have, with the columns `topic` and
/// `error_code`.
pub(super) fn push_places<'f>(filter: &'f Filter, query: &mut QueryBuilder<'f, Postgres>) {
    query.push("select topic, error_code from sluice.dead_letter_group_counts");
    filter.push_where_shared(query);
    query.push(" and span = 'ever'");
    if let Some(reason) = &filter.reason {
        query.push(" and pattern_hash = hashtextextended(sluice.reason_pattern(").push_bind(reason).push("), 0)");
    }
    query.push(" group by topic, error_code having sum(letters) > 0");
}

/// Appends a condition on a group: all of its letters that have the filter's status have the same reason. `group` is
/// the SQL name of the group's row, and `reason_hash` is the SQL expression of the reason's hash.
pub(super) fn push_has_one_reason(
    filter: &Filter,
    query: &mut QueryBuilder<'_, Postgres>,
    group: &str,
    reason_hash: &str,
) {
    let status = filter.status.name();
    for (table, of_reason) in [
        ("(select sum(c.letters) from sluice.dead_letter_counts c", format!("c.reason_hash = {reason_hash})")),
        (
            " = (select sum(c.letters) from sluice.dead_letter_group_counts c",
            format!("c.pattern_hash = {group}.pattern_hash and c.span = 'ever')"),
        ),
    ] {
        query.push(table).push(" where c.status = '").push(status).push("' and c.topic = ").push(group);
        query.push(".topic and c.error_code = ").push(group).push(".error_code and ").push(of_reason);
    }
}

/// Counts a destination's open letters, by topic.
///
/// # Errors
/// PostgreSQL's error.
pub(super) async fn open_by_topic(
    executor: impl PgExecutor<'_>,
    destination: &str,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    const SELECT: &str = "
        select topic, sum(letters)::bigint from sluice.dead_letter_group_counts
        where status = $1 and span = 'ever' and destination = $2 group by topic having sum(letters) > 0";
    sqlx::query_as(SELECT).bind(LetterStatus::Open.name()).bind(destination).fetch_all(executor).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time that is this many days, periods of ten minutes, and microseconds after the epoch.
    const fn at(days: i64, tens: i64, us: i64) -> Option<i64> {
        Some(days * DAY_US + tens * TEN_MINUTES_US + us)
    }

    #[test]
    fn without_bounds_the_total_counts_are_read() {
        assert_eq!(split((None, None)), [(Source::Ever, (None, None))]);
    }

    #[test]
    fn a_range_is_split_into_days_and_ten_minute_periods_and_remainders() {
        let (since, until) = (at(1, 141, 1), at(4, 2, 7));
        let expected = [
            (Source::Letters, (since, at(1, 142, 0))),
            (Source::Letters, (at(4, 2, 0), until)),
            (Source::TenMinutes, (at(1, 142, 0), at(2, 0, 0))),
            (Source::Days, (at(2, 0, 0), at(4, 0, 0))),
            (Source::TenMinutes, (at(4, 0, 0), at(4, 2, 0))),
        ];
        assert_eq!(split((since, until)), expected);
    }

    #[test]
    fn a_range_from_midnight_to_midnight_has_only_days() {
        assert_eq!(split((at(1, 0, 0), at(3, 0, 0))), [(Source::Days, (at(1, 0, 0), at(3, 0, 0)))]);
        assert_eq!(split((at(-3, 0, 0), at(-1, 0, 0))), [(Source::Days, (at(-3, 0, 0), at(-1, 0, 0)))]);
    }

    #[test]
    fn a_range_without_a_whole_day_is_counted_by_ten_minute_periods_or_letter_by_letter() {
        assert_eq!(split((at(1, 1, 0), at(1, 3, 0))), [(Source::TenMinutes, (at(1, 1, 0), at(1, 3, 0)))]);
        assert_eq!(split((at(1, 1, 5), at(1, 2, 9))), [(Source::Letters, (at(1, 1, 5), at(1, 2, 9)))]);
        assert_eq!(split((at(2, 0, 0), at(1, 0, 0))), [(Source::Letters, (at(2, 0, 0), at(1, 0, 0)))]);
    }

    #[test]
    fn a_range_with_an_open_end_is_counted_by_day() {
        let expected = [
            (Source::Letters, (at(1, 0, 1), at(1, 1, 0))),
            (Source::TenMinutes, (at(1, 1, 0), at(2, 0, 0))),
            (Source::Days, (at(2, 0, 0), None)),
        ];
        assert_eq!(split((at(1, 0, 1), None)), expected);
        assert_eq!(split((None, at(1, 0, 0))), [(Source::Days, (None, at(1, 0, 0)))]);
    }
}
