//! Formats the summary at the end of a run.

use std::fmt::Write as _;
use std::time::Duration;

use super::follow::Place;
use super::tally::{Balance, Group, Reasons, SendTally};

const REASONS_SHOWN: usize = 20;
const RECEIPTS_SHOWN: usize = 10;

/// Formats the summary of a run. `waiting` is the number of events that still wait for their parents after the run.
/// `pending` lists the places of the events that are still undecided.
pub(super) fn summary(tally: &SendTally, waiting: u64, pending: &[Place], last_failure: Option<&str>) -> String {
    let mut text = String::new();
    let (rejected, refused) = (tally.rejected.count(), tally.refused.count());
    let repeated = match tally.repeated {
        0 => String::new(),
        times => format!(" (retries: {})", number(times)),
    };
    line(&mut text, "sent", tally.produced, &format!("in {} requests{repeated}", number(tally.requests)));
    line(&mut text, "accepted", tally.accepted, "");
    line(&mut text, "written", tally.written, "");
    let duplicates = match (tally.duplicate, tally.repeated) {
        (0, _) | (_, 0) => "",
        _ => "already written, by an earlier attempt or an earlier run",
    };
    line(&mut text, "duplicate", tally.duplicate, duplicates);
    if tally.superseded > 0 {
        line(&mut text, "superseded", tally.superseded, "their rows already had a higher version");
    }
    line(&mut text, "waiting", waiting, "");
    line(&mut text, "rejected", rejected, if rejected > 0 { "accepted, but now dead letters" } else { "" });
    list(&mut text, &tally.rejected);
    line(&mut text, "refused", refused, if refused > 0 { "never accepted" } else { "" });
    list(&mut text, &tally.refused);
    if tally.lost.count() > 0 {
        line(&mut text, "lost", tally.lost.count(), "");
        list(&mut text, &tally.lost);
    }
    if tally.unanswered.count() > 0 {
        line(&mut text, "unanswered", tally.unanswered.count(), "");
        list(&mut text, &tally.unanswered);
    }
    if !pending.is_empty() {
        let because = last_failure.map(|failure| format!("last lookup: {failure}")).unwrap_or_default();
        line(&mut text, "pending", pending.len() as u64, &because);
        for place in pending.iter().take(RECEIPTS_SHOWN) {
            push(&mut text, &format!("    /receipts/{place}"));
        }
        if pending.len() > RECEIPTS_SHOWN {
            push(&mut text, &format!("    and {} more", number((pending.len() - RECEIPTS_SHOWN) as u64)));
        }
    }
    if tally.without_receipt > 0 {
        line(&mut text, "no receipt", tally.without_receipt, "accepted, but cannot be followed");
    }
    if let Some(per_second) = per_second(tally.settled(), tally.duration()) {
        line(&mut text, "events/s", per_second, "from the first request until the last event was decided");
    }
    push(&mut text, &verdict(tally, waiting, pending.len() as u64));
    if tally.failed() > 0 {
        push(&mut text, &failures(tally));
    }
    text
}

fn failures(tally: &SendTally) -> String {
    let counts = [("refused", &tally.refused), ("rejected", &tally.rejected), ("lost", &tally.lost)];
    let counts = counts.into_iter().map(|(name, reasons)| (name, reasons.count())).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(name, count)| format!("{} {name}", number(count))).collect();
    format!("NOT every event landed: {}.", counts.join(", "))
}

fn verdict(tally: &SendTally, waiting: u64, pending: u64) -> String {
    let mut parts = format!(
        "{} accepted = {} written + {} duplicate + {} waiting + {} rejected",
        number(tally.accepted),
        number(tally.written),
        number(tally.duplicate),
        number(waiting),
        number(tally.rejected.count())
    );
    for (name, count) in [("superseded", tally.superseded), ("lost", tally.lost.count())] {
        if count > 0 {
            parts += &format!(" + {} {name}", number(count));
        }
    }
    match tally.balance(waiting, pending) {
        Balance::Closed => format!("Every event is accounted for: {parts}."),
        Balance::Open if waiting > 0 && pending + tally.without_receipt + tally.unanswered.count() == 0 => {
            format!("Every event is accounted for, but some still wait for their parents: {parts}.")
        }
        Balance::Open => {
            let unknown = number(pending + tally.without_receipt);
            let unanswered = number(tally.unanswered.count());
            format!("NOT every event is accounted for: {parts} + {unknown} unknown; {unanswered} without an answer.")
        }
        Balance::Wrong => {
            format!("The counts contradict each other, which is a bug in `send` or the gateway: {parts}.")
        }
    }
}

fn line(text: &mut String, name: &str, count: u64, note: &str) {
    push(text, format!("{name:<10} {:>12}  {note}", number(count)).trim_end());
}

fn list(text: &mut String, reasons: &Reasons) {
    let reasons = reasons.by_count();
    for (reason, Group { count, sample }) in reasons.iter().take(REASONS_SHOWN) {
        let sample = sample.as_ref().map(|sample| format!(" (for example {sample})")).unwrap_or_default();
        push(text, &format!("{:>23}  {reason}{sample}", number(*count)));
    }
    if reasons.len() > REASONS_SHOWN {
        let others: u64 = reasons.iter().skip(REASONS_SHOWN).map(|(_, group)| group.count).sum();
        push(text, &format!("{:>23}  for other reasons", number(others)));
    }
}

fn push(text: &mut String, line: &str) {
    // Writing into a string does not fail.
    let _infallible = writeln!(text, "{line}");
}

#[expect(clippy::cast_precision_loss, reason = "for display only")]
fn per_second(events: u64, within: Duration) -> Option<u64> {
    if events == 0 || within.is_zero() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small and positive")]
    let per_second = (events as f64 / within.as_secs_f64()).round() as u64;
    Some(per_second)
}

/// Formats a number with commas between thousands.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use shared::ledger::receipts::Status;

    use super::super::answer::EventStatus;
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn the_summary_lists_the_counts_and_the_reasons_and_the_pending_receipts() {
        let start = Instant::now();
        let pending = [Place { topic: Arc::from("city"), partition: 3, offset: 17 }];
        let mut tally =
            SendTally { produced: 34_006, accepted: 34_005, requests: 15, repeated: 1, ..SendTally::default() };
        tally.sent(start);
        tally.refused.add("/name: must not be empty", 1, || Some("line 4".to_owned()));
        for _ in 0..32_964 {
            tally.decided(
                &EventStatus { status: Status::Written, reason: None },
                &pending[0],
                start + Duration::from_secs(4),
            );
        }
        let rejected = EventStatus { status: Status::Rejected, reason: Some("already exists".to_owned()) };
        for _ in 0..1_040 {
            tally.decided(&rejected, &pending[0], start + Duration::from_secs(4));
        }
        let expected = "\
sent             34,006  in 15 requests (retries: 1)
accepted         34,005
written          32,964
duplicate             0
waiting               0
rejected          1,040  accepted, but now dead letters
                  1,040  already exists (for example /receipts/city/3/17)
refused               1  never accepted
                      1  /name: must not be empty (for example line 4)
pending               1  last lookup: 503
    /receipts/city/3/17
events/s          8,501  from the first request until the last event was decided
NOT every event is accounted for: 34,005 accepted = 32,964 written + 0 duplicate + 0 waiting + 1,040 rejected \
+ 1 unknown; 0 without an answer.
NOT every event landed: 1 refused, 1,040 rejected.
";
        assert_eq!(summary(&tally, 0, &pending, Some("503")), expected);
    }

    #[test]
    fn the_summary_says_whether_every_event_is_accounted_for() {
        let mut tally = SendTally { produced: 1, accepted: 1, requests: 1, ..SendTally::default() };
        let place = Place { topic: Arc::from("city"), partition: 0, offset: 0 };
        tally.decided(&EventStatus { status: Status::Written, reason: None }, &place, Instant::now());
        let text = summary(&tally, 0, &[], None);
        assert!(
            text.ends_with(
                "Every event is accounted for: 1 accepted = 1 written + 0 duplicate + 0 waiting + 0 rejected.\n"
            ),
            "{text}"
        );
        tally.written -= 1;
        assert!(summary(&tally, 1, &[], None).contains("still wait for their parents"));
    }

    #[test]
    fn thousands_are_separated_by_commas() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"].map(str::to_owned));
    }
}
