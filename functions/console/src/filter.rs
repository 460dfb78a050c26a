//! Reads filters of dead letters from queries and bodies.

use jiff::Timestamp;
use serde::Serialize;
use shared::contract::Registry;
use shared::http::fields::{Fields, Malformed};
use shared::ledger::filter::{Filter, LetterStatus};

use crate::body::Members;
use crate::error::Error;

/// The maximum number of ids in a filter.
const MOST_IDS: usize = 1_000;

/// A filter's members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct FilterParts {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<i64>>,
}

impl FilterParts {
    /// The names of a filter's members.
    const NAMES: [&str; 9] = ["stream", "topic", "error_code", "reason", "contains", "since", "until", "status", "ids"];

    /// Takes the member `filter` out of a body.
    ///
    /// # Errors
    /// The member is missing, is not an object, or contains a member whose name or type is wrong.
    pub(crate) fn from_body(body: &mut Members) -> Result<Self, Error> {
        let mut members = body.object("filter", &Self::NAMES)?;
        Ok(Self {
            stream: members.text("stream")?,
            topic: members.text("topic")?,
            error_code: members.text("error_code")?,
            reason: members.text("reason")?,
            contains: members.text("contains")?,
            since: members.text("since")?,
            until: members.text("until")?,
            status: members.text("status")?,
            ids: members.ids("ids")?,
        })
    }

    /// Reads a query's filter.
    pub(crate) fn from_query(query: &Fields) -> Result<Self, Malformed> {
        let text = |name: &str| Ok::<_, Malformed>(query.get(name)?.map(str::to_owned));
        let ids = query.get("ids")?.map(|ids| {
            let ids = ids.split(',').map(|id| id.parse().ok()).collect::<Option<Vec<i64>>>();
            ids.ok_or_else(|| Malformed("`ids` must be numbers, separated by commas.".into()))
        });
        Ok(Self {
            stream: text("stream")?,
            topic: text("topic")?,
            error_code: text("error_code")?,
            reason: text("reason")?,
            contains: text("contains")?,
            since: text("since")?,
            until: text("until")?,
            status: text("status")?,
            ids: ids.transpose()?,
        })
    }

    /// Converts the members to a filter, and replaces the stream by its topic.
    ///
    /// # Errors
    /// A member's value is malformed, or there is no such stream.
    pub(crate) fn resolve(self, registry: &Registry) -> Result<Filter, Malformed> {
        let Self { stream, topic, error_code, reason, contains, since, until, status, ids } = self;
        if ids.as_ref().is_some_and(|ids| ids.len() > MOST_IDS) {
            return Err(Malformed(format!("`ids` must have at most {MOST_IDS} ids.").into()));
        }
        let of_stream = stream.map(|stream| match registry.stream(&stream) {
            Some(contract) => Ok(contract.topic.clone()),
            None => Err(Malformed(format!("There is no stream {stream:?}. `GET /streams` lists the streams.").into())),
        });
        let status = match status {
            None => LetterStatus::default(),
            Some(name) => LetterStatus::from_name(&name)
                .ok_or(Malformed("`status` must be `open`, `replayed`, `discarded` or `expired`.".into()))?,
        };
        Ok(Filter {
            status,
            topics: of_stream.transpose()?.into_iter().chain(topic).collect(),
            error_code,
            reason,
            contains,
            since: since.map(|text| time("since", &text)).transpose()?,
            until: until.map(|text| time("until", &text)).transpose()?,
            ids,
        })
    }

    /// Converts the members to a filter of open letters.
    ///
    /// # Errors
    /// The same errors as those of [`FilterParts::resolve`], or `status` is not `open`.
    pub(crate) fn resolve_open(self, registry: &Registry) -> Result<Filter, Malformed> {
        let filter = self.resolve(registry)?;
        match filter.status {
            LetterStatus::Open => Ok(filter),
            LetterStatus::Replayed | LetterStatus::Discarded | LetterStatus::Expired => {
                Err(Malformed("`status` must be `open` here: only open letters can be replayed or discarded.".into()))
            }
        }
    }
}

/// Parses a time (RFC 3339).
fn time(name: &str, text: &str) -> Result<Timestamp, Malformed> {
    let parsed = text.parse();
    parsed.map_err(|_| Malformed(format!("`{name}` must be a time such as 2026-05-07T19:54:13Z.").into()))
}
