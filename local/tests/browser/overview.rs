//! Tests the overview, the links to the sections, and navigation with a keyboard.

use serde_json::json;

use super::browser::{Browser, Scripts, is_skipped};
use super::support::gateway::ADMIN;
use super::world::World;

/// Inserts an hour of activity, with busy, quiet and empty minutes.
const HOUR: &str = r#"
    insert into sluice.activity (topic, "partition", incarnation, minute, written, waiting, rejected, max_lag_ms)
    select $1, 0, 1, date_trunc('minute', now()) - m * interval '1 minute',
           case when m % 11 = 0 then 0 else 40000 + 12345 * (m % 7) end, case when m % 9 = 0 then 900 else 0 end,
           case when m % 13 = 0 then 4000 else 0 end, case when m % 11 = 0 then null else 40 + 90 * (m % 5) end
    from generate_series(1, 58) m on conflict do nothing"#;
const STALL: &str = r#"
    insert into sluice.stalls (topic, "partition", error_type, fault, reason, since, last_failed_at)
    values ($1, 1, 'Sluice.Stop', 'operator', 'Stream payment: table public.payments has no column currency.',
            now() - interval '7 minutes', now())"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_leads_to_every_section_with_a_mouse_or_a_keyboard() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    browser.inspect("overview-empty").await;
    world.pay("gbp", 3, "GBP").await;
    world.pay("eur", 5, "EUR").await;
    for (statement, stream) in [(HOUR, "payment"), (HOUR, "city"), (STALL, "payment")] {
        sqlx::query(statement).bind(world.0.topic(stream)).execute(&world.0.database.pool).await.unwrap();
    }
    for scripts in [Scripts::On, Scripts::Off] {
        browser.switch(scripts).await;
        browser.open("/console").await;
        browser.shows("Events of these partitions cannot land").await;
        browser.shows("has no column currency.").await;
        browser.inspect("overview").await;
        for (link, heading) in [
            ("Dead letters", "By reason"),
            ("Follow", "What happened to an event?"),
            ("Users", "All users"),
            ("Audit", "Nothing yet"),
            ("Overview", "Events of these partitions cannot land"),
        ] {
            browser.click(link).await;
            browser.shows(heading).await;
        }
        browser.click("payment").await;
        browser.shows("Amounts are exact.").await;
        browser.click("Streams").await;
        browser.click("3").await;
        browser.shows("check currency_is_known").await;
        browser.open("/console").await;
        the_link_to_the_content_is_the_first_stop_of_the_keyboard(&browser).await;
    }
    the_report_is_a_page_too(&mut browser).await;
}

/// The report is a page, too, but asks for Basic credentials instead of a session.
async fn the_report_is_a_page_too(browser: &mut Browser) {
    let credentials = base64_simd::STANDARD.encode_to_string(format!("{}:{}", ADMIN.0, ADMIN.1));
    let headers = json!({"headers": {"Authorization": format!("Basic {credentials}")}});
    browser.session.devtools("Network.enable", json!({})).await;
    browser.session.devtools("Network.setExtraHTTPHeaders", headers).await;
    browser.switch(Scripts::On).await;
    browser.open("/submit/20").await;
    browser.open("/report").await;
    browser.shows("User events by city").await;
    browser.inspect("report").await;
}

/// On each page, keyboard users can skip the links to the sections.
async fn the_link_to_the_content_is_the_first_stop_of_the_keyboard(browser: &Browser) {
    const TAB: &str = "\u{E004}";
    const ENTER: &str = "\u{E007}";
    let body = browser.session.find("//body").await.unwrap().remove(0);
    browser.session.type_text(&body, TAB).await.unwrap();
    browser.shows("Skip to the content").await;
    let focused = "document.activeElement.textContent";
    assert_eq!(browser.session.evaluate(focused).await.unwrap(), "Skip to the content");
    let link = browser.session.find("//a[@class = 'skip']").await.unwrap().remove(0);
    browser.session.type_text(&link, ENTER).await.unwrap();
    assert_eq!(browser.session.evaluate("location.hash").await.unwrap(), "#content");
}
