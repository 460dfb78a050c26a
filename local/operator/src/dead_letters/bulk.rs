//! Replays or discards all matching letters, after the operator has confirmed their exact count.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::error::DeadLettersError;
use super::filter::FilterArgs;
use crate::client::{Client, ClientError};
use crate::terminal::{complain, say};

/// The interval between requests for a run's progress.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Replays the matching letters. Returns whether the run is done and no matching letter is left.
pub(super) async fn replay(
    client: &Client,
    filter: &FilterArgs,
    force: bool,
    yes: bool,
) -> Result<bool, DeadLettersError> {
    const PATH: [&str; 2] = ["dead-letters", "replays"];
    let asked = filter.to_json();
    let Some(Confirmed { count, filter: counted }) = confirmed(client, &PATH, &asked, "Replay", yes).await? else {
        return Ok(true);
    };
    let mut run = client.post(&PATH, &json!({"filter": counted, "force": force})).await?;
    let id = run["id"].to_string();
    let progress = Progress::new(count);
    while run["status"] == "running" {
        tokio::time::sleep(ASK_EVERY).await;
        run = client.get(&["dead-letters", "replays", &id], &[]).await?;
        progress.show(number(&run["replayed"]) + number(&run["skipped"]));
    }
    progress.finish();
    let (replayed, skipped) = (number(&run["replayed"]), number(&run["skipped"]));
    let status = run["status"].as_str().unwrap_or("unknown");
    say(format_args!("run {id} is {status}: {replayed} replayed, {skipped} skipped{}", reasons(&run["skip_reasons"])));
    settled(client, filter).await?;
    const FORCED: [&str; 3] = ["replayed_often", "later_event", "later_event_possible"];
    if FORCED.iter().any(|reason| number(&run["skip_reasons"][reason]) > 0) {
        complain("--force also replays letters whose event was replayed three times, or whose key may have newer data");
    }
    let left = count_matching(client, &PATH, &asked).await?;
    if left > 0 {
        complain(format_args!("{} left: skipped, rejected again, or new", letters(left)));
    }
    Ok(left == 0 && status == "done")
}

/// Lists how many letters were skipped for each reason, as in ` (later_event 2, no_stream 1)`.
fn reasons(by_name: &Value) -> String {
    let counted = by_name.as_object().into_iter().flatten().map(|(name, count)| format!("{name} {count}"));
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() { String::new() } else { format!(" ({})", counted.join(", ")) }
}

/// Waits until every replay of the matching letters has landed or was rejected again. Fails after a minute in which no
/// replay landed or was rejected.
async fn settled(client: &Client, filter: &FilterArgs) -> Result<(), DeadLettersError> {
    const PATIENCE: Duration = Duration::from_secs(60);
    // The query leaves out the filter's status: the letters were `open` when they matched, but their status is now
    // `replayed`.
    let query = filter.to_query().into_iter().filter(|(name, _)| *name != "status");
    let query: Vec<(&str, String)> = query.collect();
    let mut after: Option<String> = None;
    let (mut undecided, mut since) = (usize::MAX, Instant::now());
    loop {
        let mut parameters: Vec<(&str, &str)> = query.iter().map(|(name, text)| (*name, text.as_str())).collect();
        parameters.extend([("status", "replayed"), ("limit", "1000")]);
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let page = client.get(&["dead-letters"], &parameters).await?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_undecided =
            |item: &&Value| matches!(item["replayed_as"]["status"].as_str(), Some("pending" | "waiting"));
        let now = items.iter().filter(is_undecided).count();
        if now == 0 {
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(()),
            }
            (undecided, since) = (usize::MAX, Instant::now());
            continue;
        }
        if now < undecided {
            (undecided, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            return Err(DeadLettersError::Undecided);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// Discards the matching letters. Returns whether no matching letter is left.
pub(super) async fn discard(
    client: &Client,
    filter: &FilterArgs,
    note: &str,
    yes: bool,
) -> Result<bool, DeadLettersError> {
    const PATH: [&str; 2] = ["dead-letters", "discard"];
    let Some(Confirmed { count, filter }) = confirmed(client, &PATH, &filter.to_json(), "Discard", yes).await? else {
        return Ok(true);
    };
    let progress = Progress::new(count);
    let (mut discarded, mut left) = (0, count);
    while left > 0 {
        let answer = client.post(&PATH, &json!({"filter": filter, "note": note})).await?;
        let now = number(&answer["count"]);
        discarded += now;
        left = number(&answer["left"]);
        progress.show(discarded);
        // If no letter was discarded, the remaining letters are being replayed.
        if now == 0 {
            break;
        }
    }
    progress.finish();
    say(format_args!("{discarded} discarded"));
    if left > 0 {
        complain(format_args!("{} left: new letters, or letters that are being replayed", letters(left)));
    }
    Ok(left == 0)
}

/// Letters that the operator agreed to replay or discard.
struct Confirmed {
    count: u64,
    filter: Value,
}

/// Prints how many letters match, and asks for confirmation unless `yes` is set. Without `yes`, the operator confirms
/// only the letters that were counted, so the returned filter excludes letters that arrive later. Returns `None` if
/// there are no letters.
async fn confirmed(
    client: &Client,
    path: &[&str],
    filter: &Value,
    verb: &'static str,
    yes: bool,
) -> Result<Option<Confirmed>, DeadLettersError> {
    let mut filter = filter.clone();
    if !yes && filter.get("until").is_none() {
        filter["until"] = jiff::Timestamp::now().to_string().into();
    }
    let count = count_matching(client, path, &filter).await?;
    let ending = if count == 1 { "matches" } else { "match" };
    say(format_args!("{} {ending}", letters(count)));
    if count == 0 {
        return Ok(None);
    }
    if yes {
        return Ok(Some(Confirmed { count, filter }));
    }
    if !std::io::stdin().is_terminal() {
        return Err(DeadLettersError::Unconfirmed);
    }
    say(format_args!("{verb} them? [y/N]"));
    let asking = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_bytes| line)
    });
    let line = asking.await.ok().and_then(Result::ok).unwrap_or_default();
    let agrees = matches!(line.trim(), "y" | "Y" | "yes");
    if agrees { Ok(Some(Confirmed { count, filter })) } else { Err(DeadLettersError::Declined) }
}

async fn count_matching(client: &Client, path: &[&str], filter: &Value) -> Result<u64, ClientError> {
    Ok(number(&client.post(path, &json!({"filter": filter, "dry_run": true})).await?["count"]))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Shows progress: as a bar on a terminal, otherwise as an occasional line.
struct Progress {
    bar: Option<ProgressBar>,
    count: u64,
    next_line: std::cell::Cell<Instant>,
}

impl Progress {
    const LINE_EVERY: Duration = Duration::from_secs(5);

    fn new(count: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:20} {pos} of {len}");
            // The template is a constant. If it were invalid, the bar would have the default style.
            ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, count, next_line: std::cell::Cell::new(Instant::now() + Self::LINE_EVERY) }
    }

    fn show(&self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if Instant::now() >= self.next_line.get() => {
                complain(format_args!("{done} of {}", self.count));
                self.next_line.set(Instant::now() + Self::LINE_EVERY);
            }
            None => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
