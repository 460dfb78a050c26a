//! Tests that the console follows one event through every stage.

use super::browser::{Browser, Scripts, is_skipped};
use super::world::{World, place};

#[tokio::test(flavor = "multi_thread")]
async fn the_console_finds_an_event_by_receipt_or_key_and_shows_its_row_or_its_dead_letter() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let written = world.pay("followed", 120, "EUR").await;
    let rejected = world.pay("rejected", 1, "GBP").await;
    let letter = world.last_letter().await;
    let mut browser = Browser::signed_in(&world.0).await;
    for scripts in [Scripts::On, Scripts::Off] {
        browser.switch(scripts).await;
        browser.open("/console/follow").await;
        browser.shows("What happened to an event?").await;
        browser.inspect("follow").await;
        browser.fill("Receipt", written[0]["href"].as_str().unwrap()).await;
        browser.press("Follow").await;
        browser.shows("Its row is in the table.").await;
        browser.shows("sent by Admin, key followed-customer").await;
        browser.inspect("follow-written").await;
        browser.fill("Receipt", &place(&rejected[0])).await;
        browser.press("Follow").await;
        browser.shows("check currency_is_known of table public.payments rejects the row").await;
        browser.inspect("follow-rejected").await;
        browser.click(&format!("#{letter}")).await;
        browser.shows("What to do").await;
        browser.click(&place(&rejected[0])).await;
        browser.shows("Follow an event").await;

        browser.choose("Stream", "payment").await;
        browser.choose("Find by", "Record key").await;
        browser.fill("Value", "followed-customer").await;
        browser.click("Find").await;
        browser.click("Keep searching").await;
        browser.shows(&place(&written[119])).await;
        browser.lacks("Keep searching").await;
        browser.fill("Value", "nobody").await;
        browser.set("since", "2001-01-01T00:00:00").await;
        browser.set("until", "2002-01-01T00:00:00").await;
        browser.click("Find").await;
        browser.shows("at most 24 hours later").await;
        browser.inspect("follow-refused").await;
        browser.set("since", "").await;
        browser.set("until", "").await;
        browser.click("Find").await;
        browser.shows("Kafka has no such event from the last hour.").await;
        browser.inspect("follow-nothing").await;
        browser.open("/console/follow?receipt=nonsense").await;
        browser.shows("TOPIC/PARTITION/OFFSET").await;
    }
    world.accept_currencies("'EUR', 'GBP'").await;
    let path = format!("/dead-letters/{letter}/replay");
    assert_eq!(world.0.post(&path, &[("prefer", "wait=20")], "").await.0, 200);
    browser.open(&format!("/console/follow?receipt={}", place(&rejected[0]))).await;
    browser.shows("Replayed").await;
    browser.switch(Scripts::On).await;
    browser.inspect("follow-replayed").await;
}
