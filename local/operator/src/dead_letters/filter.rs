//! The flags that select dead letters. They are the filters of the gateway's routes, with the same names.

use clap::Args;
use serde_json::{Map, Value};

/// Selects the dead letters that meet every given condition.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// The stream of the event.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// The topic of the event.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The error code, such as 23503.
    #[arg(long, value_name = "CODE", alias = "error_code")]
    error_code: Option<String>,
    /// The exact reason, or a reason as `groups` prints it.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Text that the payload or the reason contains.
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// The event became a dead letter at or after this time, such as 2026-11-21T16:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The event became a dead letter before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// open, replayed, discarded or expired [default: open].
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Ids, separated by commas.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    ids: Vec<i64>,
}

impl FilterArgs {
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { stream, topic, error_code, reason, contains, since, until, status, ids: _ } = self;
        let texts = [
            ("stream", stream),
            ("topic", topic),
            ("error_code", error_code),
            ("reason", reason),
            ("contains", contains),
            ("since", since),
            ("until", until),
            ("status", status),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    /// Returns the filter as the parameters of a query.
    pub(super) fn to_query(&self) -> Vec<(&'static str, String)> {
        let ids: Vec<String> = self.ids.iter().map(i64::to_string).collect();
        let ids = (!ids.is_empty()).then(|| ("ids", ids.join(",")));
        self.texts().map(|(name, text)| (name, text.to_owned())).chain(ids).collect()
    }

    /// Returns the filter as JSON for a request's body.
    pub(super) fn to_json(&self) -> Value {
        let mut filter: Map<String, Value> = self.texts().map(|(name, text)| (name.to_owned(), text.into())).collect();
        if !self.ids.is_empty() {
            filter.insert("ids".to_owned(), self.ids.clone().into());
        }
        Value::Object(filter)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        filter: FilterArgs,
    }

    #[test]
    fn flags_become_the_filters_of_queries_and_of_bodies() {
        let arguments = ["letters", "--stream", "city", "--error-code", "23503", "--ids", "3,4", "--status", "open"];
        let Command { filter } = Command::try_parse_from(arguments).unwrap();
        let query: Vec<String> = filter.to_query().into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(query, ["stream=city", "error_code=23503", "status=open", "ids=3,4"]);
        let body = json!({"stream": "city", "error_code": "23503", "status": "open", "ids": [3, 4]});
        assert_eq!(filter.to_json(), body);
        assert_eq!(FilterArgs::default().to_json(), json!({}));
    }
}
