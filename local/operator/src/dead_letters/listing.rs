//! `list` and `groups`: print dead letters and groups of dead letters, one per line.

use serde_json::Value;

use super::filter::FilterArgs;
use crate::client::{Client, ClientError};
use crate::terminal::{complain, say};

/// Prints the matching letters, oldest first.
pub(super) async fn list(client: &Client, filter: &FilterArgs, limit: usize) -> Result<(), ClientError> {
    let header = format!("{:>8}  {:20}  {:28}  {:20}  reason", "id", "event time", "place", "error code");
    pages(client, &["dead-letters"], filter, limit, &header, letter).await
}

/// Prints the groups of the matching letters, most frequent first.
pub(super) async fn groups(client: &Client, filter: &FilterArgs, limit: usize) -> Result<(), ClientError> {
    let header =
        format!("{:>8}  {:16}  {:20}  {:20}  {:>8}  reason", "count", "stream", "error code", "last", "sample");
    pages(client, &["dead-letters", "groups"], filter, limit, &header, group).await
}

async fn pages(
    client: &Client,
    path: &[&str],
    filter: &FilterArgs,
    limit: usize,
    header: &str,
    line: fn(&Value) -> String,
) -> Result<(), ClientError> {
    /// The maximum number of items that the gateway returns at once.
    const PAGE: usize = 1_000;
    let query = filter.to_query();
    let (mut left, mut after): (usize, Option<String>) = (limit, None);
    loop {
        let page = left.min(PAGE).to_string();
        let mut parameters: Vec<(&str, &str)> = query.iter().map(|(name, text)| (*name, text.as_str())).collect();
        parameters.push(("limit", &page));
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let answer = client.get(path, &parameters).await?;
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        match (items.is_empty(), left == limit) {
            (true, true) => complain("no dead letter matches"),
            (false, true) => say(header),
            (_, false) => {}
        }
        for item in items {
            say(line(item));
        }
        left = left.saturating_sub(items.len());
        match answer["next"].as_str() {
            Some(next) if left > 0 => after = Some(next.to_owned()),
            Some(_) => {
                complain(format_args!("more entries match: use --limit to show more than {limit}"));
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

fn letter(item: &Value) -> String {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let at = item["timestamp"].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let at = at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
    let place = format!("{}/{}/{}", text("topic"), item["partition"], item["offset"]);
    format!("{:>8}  {at:20}  {place:28}  {:20}  {}", item["id"].to_string(), text("error_code"), text("reason"))
}

fn group(item: &Value) -> String {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    let stream = item["stream"].as_str().unwrap_or_else(|| text("topic"));
    // Removes fractions of a second.
    let last = text("last_at").split_once('.').map_or_else(|| text("last_at").to_owned(), |(at, _)| format!("{at}Z"));
    let (count, sample) = (item["count"].to_string(), item["sample_id"].to_string());
    format!("{count:>8}  {stream:16}  {:20}  {last:20}  {sample:>8}  {}", text("error_code"), text("reason"))
}
