//! Reads the filter of dead letters from a page's address. The JSON routes use the same parameters.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use shared::http::fields::{Fields, Malformed};

use super::query::{encoded, time_for_api, time_for_field};

/// The names of a filter's parameters.
const NAMES: [&str; 9] = ["stream", "topic", "error_code", "reason", "contains", "since", "until", "status", "ids"];

/// A filter. Parameters without a value are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LetterFilter(Vec<(&'static str, String)>);

impl LetterFilter {
    /// Reads a page's query, which may also have a parameter `after`.
    ///
    /// # Errors
    /// The query is malformed or has other parameters.
    pub(super) fn from_query(query: Option<&str>) -> Result<(Self, Option<String>), Malformed> {
        let supported: Vec<&str> = NAMES.into_iter().chain(["after"]).collect();
        let fields = Fields::from_query(query, &supported)?;
        let value = |name| Ok::<_, Malformed>(fields.get(name)?.filter(|value| !value.is_empty()).map(str::to_owned));
        let mut parameters = Vec::new();
        for name in NAMES {
            if let Some(text) = value(name)? {
                let text = if matches!(name, "since" | "until") { time_for_api(&text) } else { text };
                parameters.push((name, text));
            }
        }
        Ok((Self(parameters), value("after")?))
    }

    /// Returns a parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// Returns the filter with another value for a parameter.
    pub(super) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut parameters = self.without(name).0;
        parameters.push((name, value.to_owned()));
        Self(parameters)
    }

    /// Returns the filter without a parameter.
    pub(super) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(own, _)| *own != name).cloned().collect())
    }

    /// Returns whether only open letters match. Only these can be replayed or discarded.
    pub(super) fn is_open(&self) -> bool {
        self.get("status").is_none_or(|status| status == "open")
    }

    /// Returns whether the filter has no condition except the status.
    pub(super) fn is_everything(&self) -> bool {
        self.without("status").0.is_empty()
    }

    /// Returns a path with the filter as its query.
    pub(super) fn path(&self, path: &str) -> String {
        self.path_with(path, &[])
    }

    /// Returns a path with the filter and further parameters as its query.
    pub(super) fn path_with(&self, path: &str, further: &[(&str, &str)]) -> String {
        let own = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        super::query::with_query(path, own.chain(further.iter().copied()))
    }

    /// Returns the path of a dead letter's page, with the filter as its query, so that the page can link back to the
    /// list.
    pub(super) fn letter_path(&self, id: i64) -> String {
        self.path(&letter_path(id))
    }

    /// Returns the filter in the form that the JSON routes expect in a body. Ids that are not numbers are passed on
    /// unchanged, and the route rejects them.
    pub(super) fn body(&self) -> Value {
        let member = |(name, value): &(&'static str, String)| {
            let value = match *name {
                "ids" => {
                    value.split(',').map(|id| id.parse::<i64>().map_or_else(|_| json!(id), |id| json!(id))).collect()
                }
                _ => json!(value),
            };
            ((*name).to_owned(), value)
        };
        Value::Object(self.0.iter().map(member).collect::<Map<_, _>>())
    }

    /// Lists the conditions of the filter, except the status. Each condition has a link that removes the condition. If
    /// there are no conditions, nothing is shown.
    pub(super) fn chips(&self, path: &str) -> Markup {
        html! {
            @if !self.is_everything() {
                ul.chips aria-label="Filters in use" {
                    @for (name, value) in self.0.iter().filter(|(name, _)| *name != "status") {
                        li {
                            span { (name.replace('_', " ")) ": " b { (parameter(name, value)) } }
                            a href=(self.without(name).path(path)) aria-label={ "Remove the filter " (name.replace('_', " ")) } { "×" }
                        }
                    }
                }
            }
        }
    }

    /// Shows the form that changes the filter. `streams` are the streams to choose from.
    pub(super) fn form(&self, streams: &[String]) -> Markup {
        const STATUSES: [&str; 4] = ["open", "replayed", "discarded", "expired"];
        let time = |name: &str| self.get(name).map(time_for_field).unwrap_or_default();
        html! {
            form.filter method="get" action="/console/dead-letters" role="search" aria-label="Filter dead letters" {
                label { "Stream"
                    select name="stream" {
                        option value="" { "All" }
                        @for stream in streams {
                            option value=(stream) selected[self.get("stream") == Some(stream.as_str())] { (stream) }
                        }
                    }
                }
                label { "Status"
                    select name="status" {
                        @for status in STATUSES {
                            option value=(status) selected[self.get("status").unwrap_or("open") == status] { (status) }
                        }
                    }
                }
                label.wide { "Contains"
                    input type="search" name="contains" value=[self.get("contains")] placeholder="text in payload or reason";
                }
                label { "Since (UTC)" input type="datetime-local" name="since" step="1" value=(time("since")); }
                label { "Until (UTC)" input type="datetime-local" name="until" step="1" value=(time("until")); }
                @for name in ["topic", "error_code", "reason", "ids"] {
                    @if let Some(value) = self.get(name) { input type="hidden" name=(name) value=(value); }
                }
                button { "Apply" }
            }
        }
    }
}

/// Converts the JSON value of a filter's member to the value of the query parameter with the same name.
pub(super) fn as_parameter(member: &Value) -> String {
    match member.as_array() {
        Some(ids) => ids.iter().map(Value::to_string).collect::<Vec<_>>().join(","),
        None => member.as_str().map_or_else(|| member.to_string(), str::to_owned),
    }
}

/// Formats a parameter's value for people.
pub(super) fn parameter(name: &str, value: &str) -> String {
    let time: Option<Timestamp> = matches!(name, "since" | "until").then(|| value.parse().ok()).flatten();
    time.map_or_else(|| value.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Returns the path of one dead letter's page.
pub(super) fn letter_path(id: i64) -> String {
    format!("/console/dead-letters/{}", encoded(&id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_the_same_conditions_in_an_address_and_in_a_body() {
        let query = "stream=route&contains=&since=2026-05-07T19%3A54&ids=1,2&after=x";
        let (filter, after) = LetterFilter::from_query(Some(query)).unwrap_or_default();
        assert_eq!(after.as_deref(), Some("x"));
        let body = json!({"stream": "route", "since": "2026-05-07T19:54:00Z", "ids": [1, 2]});
        assert_eq!(filter.body(), body);
        assert_eq!(filter.path("/x"), "/x?stream=route&since=2026-05-07T19%3A54%3A00Z&ids=1%2C2");
        assert!(filter.is_open() && !filter.is_everything());
        assert_eq!(
            filter.without("ids").with("stream", "city").path("/x"),
            "/x?since=2026-05-07T19%3A54%3A00Z&stream=city"
        );
        assert_eq!(parameter("since", "2026-05-07T19:54:13.073834Z"), "2026-05-07 19:54:13 UTC");
        assert_eq!(parameter("contains", "2026-05-07T19:54:13Z"), "2026-05-07T19:54:13Z");
        assert!(LetterFilter::from_query(Some("cause=1")).is_err());
        let (replayed, _) = LetterFilter::from_query(Some("status=replayed")).unwrap_or_default();
        assert!(!replayed.is_open() && replayed.is_everything());
    }
}
