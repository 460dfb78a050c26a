//! The overview: the activity of all streams in the last hour, the stalled partitions, and each stream's lag.

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use shared::http::fields::NoQuery;

use super::activity::{Backlog, StreamActivity, panels, tiles};
use super::api::{Api, Refusal};
use super::chart::{Bin, Hour};
use super::layout::{Page, Section};
use super::query::encoded;
use super::stalls::Stalls;
use super::state::Pages;
use super::wording::{number, time};

/// The interval at which the figures are looked up, in seconds.
const EVERY_SECONDS: u8 = 10;

/// Shows the overview.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    _: NoQuery,
) -> Result<Page, Refusal> {
    let (streams, stalls) = tokio::join!(StreamActivity::list(&api), Stalls::read(&api));
    let streams = streams?;
    let now_ms = pages.clock.now_ms();
    let mut all = Hour::until(now_ms);
    let hours: Vec<Hour> = streams.iter().map(|stream| stream.hour(now_ms)).collect();
    hours.iter().for_each(|hour| all.merge(hour));
    let content = html! {
        h1 { "Overview" }
        div #overview data-refresh=(EVERY_SECONDS) {
            (stalls.show(&streams, now_ms))
            (all_tiles(&streams, &all))
            (panels(&all))
            (table(&streams, &hours, now_ms))
        }
    };
    Ok(Page::new(Section::Overview, "Overview", content))
}

fn all_tiles(streams: &[StreamActivity], all: &Hour) -> Markup {
    let backlog = Backlog {
        open_dead_letters: streams.iter().map(|stream| stream.open_dead_letters).sum(),
        letters_path: "/console/dead-letters".to_owned(),
        events: streams.iter().map(|stream| stream.lag_events).sum(),
        age_ms: streams.iter().filter(|stream| stream.lag_events != Some(0)).filter_map(StreamActivity::lag_ms).max(),
    };
    tiles(all.sum(), &backlog)
}

fn table(streams: &[StreamActivity], hours: &[Hour], now_ms: i64) -> Markup {
    html! {
        section.card {
            h2 { "Streams" }
            table.stack.streams {
                caption { "The last hour, minute by minute. Times are UTC." }
                thead { tr {
                    th scope="col" { "Stream" } th scope="col" { "Events per minute" } th.end scope="col" { "Written" }
                    th.end scope="col" { "Rejected" } th.end scope="col" { "Awaiting a parent since" } th.end scope="col" { "Behind" }
                    th scope="col" { "Time to land" } th.end scope="col" { "Dead letters" }
                } }
                tbody {
                    @for (stream, hour) in streams.iter().zip(hours) {
                        @let sum = hour.sum();
                        tr {
                            th scope="row" {
                                a href={ "/console/streams/" (encoded(&stream.stream)) } { (stream.stream) }
                                @if stream.topic != stream.stream { div.soft.mono { (stream.topic) } }
                            }
                            td.spark.none[sum == Bin::default()] data-label="Events per minute" { (hour.bars()) }
                            td.end.none[sum.written == 0] data-label="Written" { (figure(sum.written)) }
                            td.end.none[sum.rejected == 0] data-label="Rejected" { @if sum.rejected > 0 { b.bad { (number(sum.rejected)) } } @else { (figure(0)) } }
                            td.end.none[stream.oldest_waiting_at.is_none()] data-label="Awaiting a parent since" {
                                @match stream.oldest_waiting_at { Some(since) => (time(since, now_ms)), None => (figure(0)) }
                            }
                            td.end data-label="Behind" { (stream.lag()) }
                            td.spark.none[sum.lag_ms.is_none()] data-label="Time to land" { (hour.trend()) }
                            td.end.none[stream.open_dead_letters == 0] data-label="Dead letters" {
                                @if stream.open_dead_letters > 0 {
                                    a href=(stream.letters_path()) { (number(stream.open_dead_letters)) }
                                } @else { (figure(0)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Shows a number. Zero is shown as a dash, so that other numbers stand out.
fn figure(value: i64) -> Markup {
    html! { @if value == 0 { span.soft { "–" } } @else { (number(value)) } }
}
