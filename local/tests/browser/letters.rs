//! Tests the pages for dead letters: the list with its filters and groups, and actions on one letter or on all matching
//! letters.

use serde_json::json;

use super::browser::{Browser, Scripts, is_skipped};
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_finds_dead_letters_by_filter_or_group_or_page_and_discards_them_with_a_note() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    browser.open("/console/dead-letters").await;
    browser.shows("No open dead letters").await;
    browser.inspect("letters-none").await;
    for (scripts, prefix) in [(Scripts::On, "first"), (Scripts::Off, "second")] {
        browser.switch(scripts).await;
        world.pay(prefix, 28, "GBP").await;
        world.produce_what_breaks_its_contract().await;
        browser.open("/console/dead-letters").await;
        browser.shows("Replay all 29 letters…").await;
        browser.inspect("letters").await;
        browser.click("Next page").await;
        browser.shows(&format!("#{}", world.last_letter().await)).await;
        browser.click("Dead letters").await;
        browser.click("check currency_is_known of table public.payments rejects the row").await;
        browser.shows("Replay all 28 letters…").await;
        browser.inspect("letters-of-a-group").await;
        browser.click("Remove the filter reason").await;
        browser.shows("Replay all 28 letters…").await;
        browser.click("Remove the filter error code").await;
        browser.shows("Replay all 29 letters…").await;
        browser.choose("Stream", "payment").await;
        browser.fill("Contains", &format!("{prefix}-7")).await;
        browser.set("since", "2001-01-01T00:00:00").await;
        browser.click("Apply").await;
        browser.shows("Replay 1 letter…").await;
        browser.fill("Contains", "nowhere").await;
        browser.click("Apply").await;
        browser.shows("Nothing matches").await;
        browser.inspect("letters-nothing-matches").await;
        browser.click("Show all open dead letters").await;

        browser.choose("Stream", "payment").await;
        browser.click("Apply").await;
        browser.click("Discard all…").await;
        browser.shows("29 open letters match").await;
        browser.inspect("discard").await;
        browser.click("Back").await;
        browser.click("Discard all…").await;
        browser.fill("Why", " ").await;
        browser.click("Discard 29 letters").await;
        browser.shows("note must say why").await;
        browser.inspect("discard-refused").await;
        browser.fill("Why", "sent by a test").await;
        browser.click("Discard 29 letters").await;
        browser.shows("Discarded 29 letters.").await;
        browser.shows("No open dead letters").await;
        browser.choose("Status", "discarded").await;
        browser.click("Apply").await;
        browser.shows("discarded").await;
        browser.lacks("Replay all").await;
    }
    browser.switch(Scripts::On).await;
    browser.open("/console/dead-letters?since=yesterday").await;
    browser.shows("since must be a time").await;
    browser.inspect("letters-refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_can_replay_a_letter_or_edit_it_or_force_its_replay_or_discard_it() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    for (scripts, prefix) in [(Scripts::On, "first"), (Scripts::Off, "second")] {
        browser.switch(scripts).await;
        world.accept_currencies("'EUR'").await;
        world.pay(prefix, 1, "GBP").await;
        let letter = world.last_letter().await;
        browser.open(&format!("/console/dead-letters/{letter}")).await;
        browser.inspect("letter").await;
        // The cause is still there, so the replay is rejected again.
        browser.click("Replay").await;
        browser.shows("and rejected again: check currency_is_known").await;
        browser.inspect("letter-rejected-again").await;
        world.accept_currencies("'EUR', 'GBP'").await;
        browser.open(&format!("/console/dead-letters/{}", world.last_letter().await)).await;
        browser.click("Replay").await;
        browser.shows(", and written.").await;
        browser.lacks("What to do").await;
        browser.inspect("letter-replayed").await;

        world.produce_what_breaks_its_contract().await;
        browser.open(&format!("/console/dead-letters/{}", world.last_letter().await)).await;
        browser.shows("Marked: the value at").await;
        browser.inspect("letter-of-a-contract").await;
        browser.click("Edit and replay").await;
        browser.click("Check and replay").await;
        browser.shows("Nothing was sent.").await;
        browser.inspect("letter-edit-refused").await;
        let edited = json!({"id": format!("{prefix}-edited"), "customer": "c", "currency": "EUR", "amount": 2});
        browser.fill("Event", &edited.to_string()).await;
        browser.click("Check and replay").await;
        browser.shows(", and written.").await;

        // The first event is rejected. The second event has the same key, and is applied.
        for state in ["lost", "paid"] {
            world.send("order", &json!({"number": prefix, "state": state})).await;
        }
        world.execute("alter table public.orders drop constraint if exists state_is_known").await;
        browser.open(&format!("/console/dead-letters/{}", world.last_letter().await)).await;
        browser.click("Replay").await;
        browser.shows("A later event with the same key").await;
        browser.inspect("letter-overtaken").await;
        // The page has ticked the box that forces the replay.
        browser.click("Replay").await;
        browser.shows(", and written.").await;
        world
            .execute("alter table public.orders add constraint state_is_known check (state <> 'lost') not valid")
            .await;

        world.send("order", &json!({"number": format!("{prefix}-2"), "state": "lost"})).await;
        browser.open(&format!("/console/dead-letters/{}", world.last_letter().await)).await;
        browser.fill("Why", "a test <b>order</b>").await;
        browser.click("Discard").await;
        browser.shows("Discarded.").await;
        browser.shows("a test <b>order</b>").await;
    }
}
