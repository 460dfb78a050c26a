//! `cargo local follow`: shows step by step what happened to one event, or to all events with a given key or id.

mod steps;

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::client::{Client, ClientError, GatewayArgs};
use crate::terminal::{complain, say};

/// The maximum number of replays that are followed. The limit only keeps the loop from running forever: in practice, no
/// event is replayed this often.
const MOST_REPLAYS: usize = 100;

/// Shows what happened to an event, step by step, from Kafka to its row. Needs an admin's credentials.
///
/// Exits with status 1 if no such event is found.
#[derive(Debug, Args)]
pub struct Follow {
    /// A receipt (TOPIC/PARTITION/OFFSET, or its href), or a stream together with --key, --id or --idempotency-key.
    reference: String,
    /// The key of the event's record.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["id", "idempotency_key"])]
    key: Option<String>,
    /// The event's own id, or a CloudEvent's `id`.
    #[arg(long, value_name = "ID", conflicts_with = "idempotency_key")]
    id: Option<String>,
    /// The `Idempotency-Key` that the event was sent with.
    #[arg(long, value_name = "KEY", alias = "idempotency_key")]
    idempotency_key: Option<String>,
    /// The start of the time range, such as 2026-11-21T16:00:00Z. The default is an hour before --until.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The end of the time range, at most 24 hours after its start.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Why no event can be shown.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("{0}")]
    Reference(&'static str),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Prints the steps of each event. Fails if no event is found.
pub async fn run(args: Follow) -> ExitCode {
    match follow(args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain("no such event was found: use --since and --until to search another period of at most 24 hours");
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn follow(args: Follow) -> Result<bool, FollowError> {
    let query = query(&args)?;
    let client = Client::new(args.gateway)?;
    let (mut found, mut after): (bool, Option<String>) = (false, None);
    loop {
        let mut page: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        page.extend(after.as_deref().map(|after| ("after", after)));
        let answer = client.get(&["follow"], &page).await?;
        for item in answer["items"].as_array().into_iter().flatten() {
            if found {
                say("");
            }
            found = true;
            say_with_replays(&client, item).await?;
        }
        match answer["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(found),
        }
        complain("still searching …");
    }
}

/// Prints an event and its replays.
async fn say_with_replays(client: &Client, item: &Value) -> Result<(), ClientError> {
    say(steps::steps(item).trim_end());
    let mut replay = steps::replayed_as(item);
    for _ in 0..MOST_REPLAYS {
        let Some(receipt) = replay else { break };
        let answer = client.get(&["follow"], &[("receipt", &receipt)]).await?;
        let Some(item) = answer["items"].get(0) else { break };
        say(steps::steps(item).trim_end());
        replay = steps::replayed_as(item);
    }
    Ok(())
}

/// Returns the query parameters of `GET /follow`.
fn query(args: &Follow) -> Result<Vec<(&'static str, String)>, FollowError> {
    let Follow { reference, key, id, idempotency_key, since, until, gateway: _ } = args;
    let given = [("key", key), ("id", id), ("idempotency_key", idempotency_key), ("since", since), ("until", until)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let receipt = reference.strip_prefix("/receipts/").unwrap_or(reference);
    if receipt.contains('/') {
        let receipt = ("receipt", receipt.to_owned());
        return match given.count() {
            0 => Ok(vec![receipt]),
            _ => Err(FollowError::Reference("a receipt names one event: leave out the other options")),
        };
    }
    if key.is_none() && id.is_none() && idempotency_key.is_none() {
        return Err(FollowError::Reference(
            "give a receipt (TOPIC/PARTITION/OFFSET), or a stream with --key, --id or --idempotency-key",
        ));
    }
    Ok([("stream", reference.clone())].into_iter().chain(given).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        follow: Follow,
    }

    fn asked(arguments: &[&str]) -> Result<String, String> {
        let command = Command::try_parse_from([&["follow"], arguments].concat()).map_err(|error| error.to_string())?;
        let query = query(&command.follow).map_err(|error| error.to_string())?;
        Ok(query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn a_reference_is_either_a_receipt_or_a_stream_with_a_key_or_id() {
        assert_eq!(asked(&["routes/2/17"]), Ok("receipt=routes/2/17".to_owned()));
        assert_eq!(asked(&["/receipts/routes/2/17"]), Ok("receipt=routes/2/17".to_owned()));
        assert_eq!(asked(&["order", "--key", "4711"]), Ok("stream=order&key=4711".to_owned()));
        let with_times = asked(&["order", "--idempotency-key", "k", "--since", "a", "--until", "b"]);
        assert_eq!(with_times, Ok("stream=order&idempotency_key=k&since=a&until=b".to_owned()));
        for wrong in [&["order"][..], &["routes/2/17", "--key", "k"], &["order", "--key", "k", "--id", "i"], &[]] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }
}
