//! Tests the page of a stream: its contract, and the form that checks and sends events.

use super::browser::{Browser, Scripts, is_skipped};
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_checks_and_sends_events_on_the_page_of_a_stream() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    for (scripts, id) in [(Scripts::On, "on"), (Scripts::Off, "off")] {
        browser.switch(scripts).await;
        let payment = |id: &str, currency: &str| {
            format!("{{\n  \"id\": \"{id}\", \"customer\": \"c\",\n  \"currency\": \"{currency}\", \"amount\": 1.50}}")
        };
        browser.open("/console/streams/payment").await;
        browser.shows("curl -u 'Admin' http://127.0.0.1:").await;
        browser.inspect("stream").await;
        browser.click("Check").await;
        browser.shows("1 valid event. Nothing was sent.").await;
        browser.shows("\"amount\": 19.9").await;
        browser.inspect("stream-checked").await;
        browser.fill("An event, or an array of events", &payment(id, "EU")).await;
        browser.click("Check").await;
        browser.shows("must be at least 3 characters long").await;
        browser.inspect("stream-refused").await;
        browser.fill("An event, or an array of events", "{\n  nonsense").await;
        browser.click("Send").await;
        browser.shows("Line 2, column").await;

        browser.fill("An event, or an array of events", &payment(id, "EUR")).await;
        browser.click("Send").await;
        browser.shows("The event was sent.").await;
        browser.shows("Its row is in the table.").await;
        browser.shows("\"amount\": 1.50").await;
        browser.inspect("event-sent").await;
        browser.open("/console/streams/payment").await;
        let several = format!("[{}, {}]", payment(&format!("{id}-1"), "USD"), payment(&format!("{id}-2"), "GBP"));
        browser.fill("An event, or an array of events", &several).await;
        browser.click("Send").await;
        browser.shows("Sent 2 events: 1 written, 1 rejected so far.").await;

        browser.open("/console/streams/login").await;
        browser.shows("so no user may send its events here.").await;
        browser.inspect("stream-without-form").await;
        browser.open("/console/streams/changes").await;
        browser.inspect("stream-changes").await;
        browser.open("/console/streams/payments").await;
        browser.shows("Did you mean \"payment\"?").await;
    }
}
