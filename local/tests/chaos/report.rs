//! Prints the results of a run.

use std::fmt::{self, Display, Formatter};
use std::io::Write as _;

use super::check::Findings;
use super::kills::Killed;
use super::lambda::InvocationTally;
use super::sender::Counts;

/// The figures of a run.
pub(crate) struct Report<'a> {
    pub(crate) events: u64,
    pub(crate) counts: Counts,
    pub(crate) killed: Killed,
    pub(crate) findings: &'a Findings,
    pub(crate) tally: &'a InvocationTally,
    /// The time until the last event was acknowledged or given up.
    pub(crate) sending_seconds: f64,
    /// The time until everything was applied.
    pub(crate) seconds: f64,
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { events, counts, killed, findings, tally, sending_seconds, seconds } = self;
        let mut line = |name: &str, value: &dyn Display| writeln!(f, "{name:<42} {value:>9}");
        line("kill -9 of consume", &killed.consume)?;
        line("    during an invocation", &killed.in_invocation)?;
        line("kill -9 of Apache Kafka", &killed.broker)?;
        line("kill -9 of PostgreSQL", &killed.database)?;
        line("records removed by a restore", &killed.taken_back)?;
        line("events", events)?;
        line("acknowledged", &counts.acknowledged)?;
        line("outcome never learned", &findings.unknown)?;
        line("    of those, written", &findings.unknown_written)?;
        line("written", &findings.written)?;
        line("rejected with the expected reason", &findings.rejected)?;
        line("    rejected again when repeated", &findings.rejected_again)?;
        line("duplicates suppressed", &findings.duplicates)?;
        line("lost", &findings.lost.len())?;
        line("twice", &findings.twice.len())?;
        line("other faults", &findings.wrong.len())?;
        line("batches sent", &counts.batches)?;
        line("    answered 503", &counts.refused)?;
        line("    abandoned by the client before the answer", &counts.left)?;
        line("    given up", &counts.given_up)?;
        line("    repeated after the acknowledgement", &counts.repeated)?;
        line("invocations that succeeded", &tally.succeeded)?;
        line("invocations that failed", &tally.failed())?;
        line("records redelivered and skipped", &tally.replayed)?;
        line("seconds of sending", &format!("{sending_seconds:.1}"))?;
        line("seconds until everything was applied", &format!("{seconds:.1}"))?;
        for (error, times) in &tally.errors {
            writeln!(f, "{times:>6} × {error}")?;
        }
        Ok(())
    }
}

/// Returns the first lines, and the number of further lines.
pub(crate) fn some_of(lines: &[String]) -> String {
    const SHOWN: usize = 20;
    let more = lines.len().saturating_sub(SHOWN);
    let shown = lines[..lines.len() - more].join("\n");
    if more > 0 { format!("{shown}\nand {more} more") } else { shown }
}

/// Prints a text. Unlike `println!`, prints it even if the test passes.
pub(crate) fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").unwrap();
}
