//! Tests replays of all letters that match a filter: the count, the progress, the end, and the history.

use sqlx::{Postgres, Transaction};

use super::browser::{Browser, Scripts, is_skipped};
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_the_number_of_matching_letters_before_a_replay_and_the_progress_during_the_replay() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    browser.open("/console/dead-letters/replays").await;
    browser.shows("No runs yet").await;
    browser.inspect("runs-none").await;
    for (scripts, prefix) in [(Scripts::On, "first"), (Scripts::Off, "second")] {
        browser.switch(scripts).await;
        world.accept_currencies("'EUR'").await;
        world.pay(prefix, 12, "GBP").await;
        world.accept_currencies("'EUR', 'GBP'").await;
        let in_use = use_letters(&world, 5).await;
        browser.open("/console/dead-letters").await;
        browser.click("Replay all 12 letters…").await;
        browser.shows("12 open letters match").await;
        browser.inspect("replay").await;
        browser.click("Replay 12 letters").await;
        browser.shows("The run has started with 12 letters.").await;
        browser.shows("7 of 12 replayed.").await;
        browser.inspect("run-in-progress").await;
        // The page updates itself during the run, with scripts and without.
        in_use.rollback().await.unwrap();
        browser.shows("12 of 12 replayed.").await;
        browser.shows("Ended at").await;
        browser.lacks("Cancel the run").await;
        browser.inspect("run-done").await;
        browser.click("See which letters match now").await;
        browser.shows("No open dead letters").await;

        world.pay(&format!("{prefix}-again"), 6, "CHF").await;
        let in_use = use_letters(&world, 4).await;
        browser.open("/console/dead-letters?stream=payment").await;
        browser.click("Replay all 6 letters…").await;
        browser.tick("Also replay letters").await;
        browser.click("Replay 6 letters").await;
        browser.shows("2 of 6 replayed.").await;
        browser.shows("forced").await;
        browser.click("Cancel the run").await;
        browser.shows("Cancelled after 2 letters.").await;
        browser.shows("cancelled").await;
        browser.inspect("run-cancelled").await;
        in_use.rollback().await.unwrap();
        browser.click("Replay runs").await;
        browser.shows("2 of 6").await;
        browser.shows("12 of 12").await;
        browser.inspect("runs").await;
        world.execute("update sluice.dead_letters set status = 'discarded' where status = 'open'").await;
    }
    browser.open("/console/dead-letters/replays/17").await;
    browser.shows("There is no such run.").await;
}

/// Locks some of the open letters, as if each of them were being replayed on its own. A run replays the other letters
/// first, and these once they are free.
async fn use_letters(world: &World, count: i64) -> Transaction<'static, Postgres> {
    const LOCK: &str = "select id from sluice.dead_letters where status = 'open' order by id limit $1 for update";
    let mut transaction = world.0.database.pool.begin().await.unwrap();
    sqlx::query(LOCK).bind(count).execute(&mut *transaction).await.unwrap();
    transaction
}
