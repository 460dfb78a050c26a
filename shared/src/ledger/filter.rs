//! The filter by which operators select dead letters, whether they list, group, count, discard or replay them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Postgres, QueryBuilder};

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LetterStatus {
    /// An operator has to decide what to do with it.
    #[default]
    Open,
    /// It was replayed.
    Replayed,
    /// An operator has discarded it.
    Discarded,
    /// Its key, headers and payload were erased, because its retention is over.
    Expired,
}

impl LetterStatus {
    const ALL: [Self; 4] = [Self::Open, Self::Replayed, Self::Discarded, Self::Expired];

    /// Returns the status's name in the table and in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Expired => "expired",
        }
    }

    /// Returns the status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Letters whose reasons differ only in quoted values and numbers form a group. In the group's name, this placeholder
/// stands for each of those values and numbers.
const PLACEHOLDER: char = '…';

/// Conditions on dead letters, all of which have to hold. Without any conditions, every open letter matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// The letter's status.
    pub status: LetterStatus,
    /// The topic of the letter's record must equal each of these topics, so if two of them differ, nothing matches.
    pub topics: Vec<String>,
    /// The error code.
    pub error_code: Option<String>,
    /// The reason, or the name of its group.
    pub reason: Option<String>,
    /// A text that the reason or the payload contains. The payload may contain it with JSON escapes.
    pub contains: Option<String>,
    /// The event became a dead letter at or after this time.
    pub since: Option<Timestamp>,
    /// The event became a dead letter before this time.
    pub until: Option<Timestamp>,
    /// The letters' ids.
    pub ids: Option<Vec<i64>>,
}

impl Filter {
    /// Returns whether matching letters are counted with the help of the tables of counts. Otherwise, they are counted
    /// one by one.
    pub(super) fn is_counted(&self) -> bool {
        let Self { status: _, topics: _, error_code: _, reason: _, contains, since: _, until: _, ids } = self;
        contains.is_none() && ids.is_none()
    }

    /// Returns `since` and `until` in microseconds since the Unix epoch.
    pub(super) fn times_us(&self) -> (Option<i64>, Option<i64>) {
        (self.since.map(Timestamp::as_microsecond), self.until.map(Timestamp::as_microsecond))
    }

    /// Appends `where` and the conditions on the columns that letters and counts share.
    pub(super) fn push_where_shared<'f>(&'f self, query: &mut QueryBuilder<'f, Postgres>) {
        // The status is part of the statement's text, so that PostgreSQL plans for this status.
        query.push(" where status = '").push(self.status.name()).push("'");
        self.push_place(query);
    }

    /// Appends the conditions on topic and error code, each preceded by `and`.
    pub(super) fn push_place<'f>(&'f self, query: &mut QueryBuilder<'f, Postgres>) {
        for topic in &self.topics {
            query.push(" and topic = ").push_bind(topic);
        }
        if let Some(code) = &self.error_code {
            query.push(" and error_code = ").push_bind(code);
        }
    }

    /// Appends `where` and the conditions on a letter's columns.
    pub(super) fn push_where<'f>(&'f self, query: &mut QueryBuilder<'f, Postgres>) {
        self.push_where_between(query, self.times_us());
    }

    /// Like [`Filter::push_where`], but with another range of times.
    pub(super) fn push_where_between<'f>(
        &'f self,
        query: &mut QueryBuilder<'f, Postgres>,
        (since_us, until_us): (Option<i64>, Option<i64>),
    ) {
        self.push_where_shared(query);
        if let Some(reason) = &self.reason {
            if reason.contains(PLACEHOLDER) {
                query.push(" and pattern_hash = hashtextextended(sluice.reason_pattern(").push_bind(reason);
                // `reason_pattern` maps a reason to the name of its group, and the name of a group to itself. So the
                // name of a group matches all letters of the group, and any other reason matches only letters with
                // exactly that reason.
                query.push("), 0) and (reason = ").push_bind(reason).push(" or ").push_bind(reason);
                query.push(" = sluice.reason_pattern(").push_bind(reason).push("))");
            } else {
                query.push(" and reason_hash = hashtextextended(").push_bind(reason).push(", 0)");
                query.push(" and reason = ").push_bind(reason);
            }
        }
        if let Some(text) = &self.contains {
            query.push(" and (position(").push_bind(text).push(" in reason) > 0");
            for spelling in json_spellings(text) {
                query.push(" or position(").push_bind(spelling.into_bytes()).push(" in payload) > 0");
            }
            query.push(")");
        }
        push_between(query, "created_at", (since_us, until_us));
        if let Some(ids) = &self.ids {
            query.push(" and id = any(").push_bind(ids).push(")");
        }
    }
}

/// Returns how a payload may spell a text: unchanged, escaped for a JSON string (RFC 8259, section 7), or escaped so
/// that only ASCII remains.
fn json_spellings(text: &str) -> BTreeSet<String> {
    let mut escaped = Value::from(text).to_string();
    escaped.pop();
    escaped.remove(0);
    let mut ascii = String::with_capacity(escaped.len());
    for unit in escaped.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
            Ok(_) | Err(_) => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    [text.to_owned(), escaped, ascii].into()
}

/// Appends the condition that a column holds a time in a range, given in microseconds since the Unix epoch.
pub(super) fn push_between(
    query: &mut QueryBuilder<'_, Postgres>,
    column: &str,
    (since_us, until_us): (Option<i64>, Option<i64>),
) {
    for (limit, operator) in [(since_us, ">="), (until_us, "<")] {
        if let Some(unix_us) = limit {
            query.push(" and ").push(column).push(" ").push(operator).push(" ");
            push_time(query, unix_us);
        }
    }
}

/// Appends a time, given in microseconds since the Unix epoch.
pub(super) fn push_time(query: &mut QueryBuilder<'_, Postgres>, unix_us: i64) {
    query.push("(timestamptz 'epoch' + ").push_bind(unix_us).push(" * interval '1 microsecond')");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_each_spelling_that_a_payload_may_use() {
        for (text, expected) in [
            ("Alvand", &["Alvand"][..]),
            ("a\"b", &["a\"b", "a\\\"b"]),
            ("Köln", &["Köln", "K\\u00f6ln"]),
            ("\u{1f600}", &["\u{1f600}", "\\ud83d\\ude00"]),
        ] {
            assert_eq!(json_spellings(text), expected.iter().map(|&spelling| spelling.to_owned()).collect(), "{text}");
        }
    }
}
