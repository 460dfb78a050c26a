//! The mail's content, as text and as HTML. In the HTML, the chart is a table whose cells are the bars, because every
//! mail program can show tables.

use lettre::Message;
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use maud::{DOCTYPE, Markup, html};

use super::MailError;
use crate::hour::Hour;
use crate::tally::Tally;
use crate::wording::{grouped, name, sentence, title};

/// The maximum number of rows in a mail. The page and the JSON have more.
const MOST_ROWS: usize = 50;

/// Writes an hour's report. The Message-ID is derived from the hour, so that mail systems can recognise a second copy.
pub(super) fn message(from: &Mailbox, to: &Mailboxes, tally: &Tally, hour: Hour) -> Result<Message, MailError> {
    let events = tally.events();
    let event = if events == 1 { "event" } else { "events" };
    let subject = format!("{}: {} {event}, {} UTC", title(tally.question.by), grouped(events), hour.name());
    let id = format!("<report.{}@{}>", hour.id(), from.email.domain());
    let mut message = Message::builder().from(from.clone()).subject(subject).message_id(Some(id));
    for to in to.iter() {
        message = message.to(to.clone());
    }
    Ok(message.multipart(MultiPart::alternative_plain_html(text(tally), markup(tally).into_string()))?)
}

/// Splits off the rows that are shown, and summarises the others in a sentence.
fn rows(tally: &Tally) -> (&[(String, i64)], Option<String>) {
    let rows = &tally.stats.0;
    let rest = rows.get(MOST_ROWS..).unwrap_or_default();
    let events = rest.iter().map(|(_, events)| events).sum();
    let summary = format!("{} more with {} events", rest.len(), grouped(events));
    (&rows[..rows.len().min(MOST_ROWS)], (!rest.is_empty()).then_some(summary))
}

fn text(tally: &Tally) -> String {
    let (rows, rest) = rows(tally);
    let width = rows.iter().map(|(_, events)| grouped(*events).len()).max().unwrap_or(0);
    let mut text = format!("{}\n\n{}\n\n", title(tally.question.by), sentence(tally));
    for (row, events) in rows {
        text += &format!("{:>width$}  {}\n", grouped(*events), name(tally.question.by, row));
    }
    if let Some(rest) = rest {
        text += &format!("\n{rest}\n");
    }
    text
}

/// Writes the HTML in colours that are readable on light and on dark backgrounds, because mail programs use both.
fn markup(tally: &Tally) -> Markup {
    let (rows, rest) = rows(tally);
    let most = rows.iter().map(|(_, events)| *events).max().unwrap_or(0).max(1);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title(tally.question.by)) }
            }
            body style="margin:0;padding:16px;font-family:Helvetica,Arial,sans-serif;font-size:15px;line-height:1.4" {
                h1 style="margin:0 0 4px;font-size:20px" { (title(tally.question.by)) }
                p style="margin:0 0 16px" { (sentence(tally)) }
                table role="presentation" cellpadding="0" cellspacing="0" style="width:100%;max-width:640px;border-collapse:collapse" {
                    @for (row, events) in rows {
                        tr {
                            td style="padding:3px 12px 3px 0;width:38%;word-break:break-word" { (name(tally.question.by, row)) }
                            td style="padding:3px 0" { (bar(*events, most)) }
                            td style="padding:3px 0 3px 12px;width:18%;text-align:right" { (grouped(*events)) }
                        }
                    }
                }
                @if let Some(rest) = rest { p style="margin:16px 0 0" { (rest) } }
            }
        }
    }
}

/// Draws a bar whose length is proportional to `events`. The bar has the full length if `events` equals `most`.
fn bar(events: i64, most: i64) -> Markup {
    let percent = (events * 100 / most).clamp(1, 100);
    html! {
        table role="presentation" cellpadding="0" cellspacing="0" style={ "width:" (percent) "%;border-collapse:collapse" } {
            tr { td bgcolor="#4a86d8" style="height:12px;background-color:#4a86d8;font-size:1px;line-height:12px" { (maud::PreEscaped("&nbsp;")) } }
        }
    }
}
