//! The acceptance test of the console: with at most six clicks, an admin finds 200 dead letters that have one cause,
//! understands and fixes the cause, and replays the letters.

use super::browser::{Browser, Scripts, is_skipped};
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_dead_letters_of_one_constraint_are_gone_after_at_most_six_clicks() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    for (scripts, currency) in [(Scripts::On, "GBP"), (Scripts::Off, "CHF")] {
        world.accept_currencies("'EUR'").await;
        world.pay(currency, 200, currency).await;
        // This event becomes a dead letter with another cause, so the console must not count it among the 200.
        world.send("order", &serde_json::json!({"number": currency, "state": "lost"})).await;
        browser.switch(scripts).await;
        browser.open("/console").await;
        browser.clicks = 0;

        // Find: the overview shows the number of dead letters, which is a link to them.
        browser.click("200").await;
        browser.shows("check currency_is_known of table public.payments rejects the row").await;
        // Understand: an example shows the constraint, the table and the event.
        browser.click(&format!("#{}", sample(&world).await)).await;
        browser.shows("currency_is_known").await;
        browser.shows(&format!("\"currency\": \"{currency}\"")).await;
        // Fix: the cause is in the database, so the fix takes no click.
        world.accept_currencies(&format!("'EUR', '{currency}'")).await;
        // Replay: all letters with this cause.
        browser.click("Open letters with this reason").await;
        browser.click("Replay all 200 letters…").await;
        browser.shows("200 open letters match").await;
        browser.click("Replay 200 letters").await;
        browser.shows("200 of 200 replayed.").await;
        let landed = format!("select count(*) from public.payments where currency = '{currency}'");
        world.until("the replayed payments land", async || world.0.database.count(&landed).await == 200).await;
        // No open letter is left.
        browser.click("See which letters match now").await;
        browser.shows("Nothing matches").await;
        assert!(browser.clicks <= 6, "{} clicks", browser.clicks);
        let of_payments =
            "select count(*) from sluice.dead_letters where status = 'open' and reason like '%currency_is_known%'";
        assert_eq!(world.0.database.count(of_payments).await, 0);
    }
}

async fn sample(world: &World) -> i64 {
    let last = "select max(id) from sluice.dead_letters where status = 'open' and reason like '%currency_is_known%'";
    world.0.database.count(last).await
}
