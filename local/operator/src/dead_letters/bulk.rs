//! `replay` and `discard`: all matching letters, after their exact count was confirmed.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::DeadLettersError;
use super::filter::FilterArgs;
use crate::client::{Client, ClientError};
use crate::terminal::{complain, say};

/// How often a run is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Replays the matching letters. Returns whether none of them is left.
pub(super) async fn replay(
    client: &Client,
    filter: &FilterArgs,
    force: bool,
    yes: bool,
) -> Result<bool, DeadLettersError> {
    const PATH: [&str; 2] = ["dead-letters", "replays"];
    let filter = filter.to_json();
    let Some(count) = confirmed(client, &PATH, &filter, "Replay", yes).await? else { return Ok(true) };
    let mut run = client.post(&PATH, &json!({"filter": filter, "force": force})).await?;
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
    say(format_args!("run {id} is {status}: {replayed} replayed, {skipped} skipped"));
    if skipped > 0 {
        complain("skipped letters were replayed three times, or newer data has landed: --force replays them too");
    }
    let left = count_matching(client, &PATH, &filter).await?;
    if left > 0 {
        complain(format_args!("{left} dead letters still match"));
    }
    Ok(left == 0 && status == "done")
}

/// Discards the matching letters. Returns whether none of them is left.
pub(super) async fn discard(
    client: &Client,
    filter: &FilterArgs,
    note: &str,
    yes: bool,
) -> Result<bool, DeadLettersError> {
    const PATH: [&str; 2] = ["dead-letters", "discard"];
    let filter = filter.to_json();
    let Some(count) = confirmed(client, &PATH, &filter, "Discard", yes).await? else { return Ok(true) };
    let progress = Progress::new(count);
    let (mut discarded, mut left) = (0, count);
    while left > 0 {
        let answer = client.post(&PATH, &json!({"filter": filter, "note": note})).await?;
        let now = number(&answer["count"]);
        discarded += now;
        left = number(&answer["left"]);
        progress.show(discarded);
        // The rest is being replayed.
        if now == 0 {
            break;
        }
    }
    progress.finish();
    say(format_args!("{discarded} discarded"));
    if left > 0 {
        complain(format_args!("{left} dead letters still match: they are being replayed, or were rejected meanwhile"));
    }
    Ok(left == 0)
}

/// Prints how many letters match, and asks for confirmation unless `yes`. Returns their number, or `None` if there are none.
async fn confirmed(
    client: &Client,
    path: &[&str],
    filter: &Value,
    verb: &'static str,
    yes: bool,
) -> Result<Option<u64>, DeadLettersError> {
    let count = count_matching(client, path, filter).await?;
    say(format_args!("{count} dead letters match"));
    if count == 0 {
        return Ok(None);
    }
    if yes {
        return Ok(Some(count));
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
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(Some(count)) } else { Err(DeadLettersError::Declined) }
}

async fn count_matching(client: &Client, path: &[&str], filter: &Value) -> Result<u64, ClientError> {
    Ok(number(&client.post(path, &json!({"filter": filter, "dry_run": true})).await?["count"]))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A bar on a terminal, else an occasional line.
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
            // The template is a constant; an unusable one would leave the default.
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
