//! Tests the script of the console's pages. The script keeps parts of a page up to date, and says when it cannot.

use serde_json::json;

use super::browser::{Browser, is_skipped};
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_updates_its_figures_without_a_reload_and_says_when_it_cannot() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    world.pay("live", 4, "GBP").await;
    world.accept_currencies("'GBP'").await;
    let mut in_use = world.0.database.pool.begin().await.unwrap();
    sqlx::query("select from sluice.dead_letters for update").execute(&mut *in_use).await.unwrap();
    browser.open("/console/dead-letters/replay").await;
    browser.click("Replay 4 letters").await;
    browser.shows("0 of 4 replayed.").await;
    browser.session.evaluate("void (window.isSame = true)").await.unwrap();
    browser.session.evaluate("void document.querySelector('#cancel button').focus()").await.unwrap();
    // While the browser is offline, requests for updates get no answer.
    let offline = |is: bool| json!({"offline": is, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    browser.session.devtools("Network.enable", json!({})).await;
    browser.session.devtools("Network.emulateNetworkConditions", offline(true)).await;
    browser.shows("the server does not answer.").await;
    browser.inspect("run-not-updated").await;
    let focused = "document.activeElement.textContent";
    assert_eq!(browser.session.evaluate(focused).await.unwrap(), "Cancel the run");
    browser.session.devtools("Network.emulateNetworkConditions", offline(false)).await;
    in_use.rollback().await.unwrap();
    browser.shows("4 of 4 replayed.").await;
    browser.lacks("does not answer").await;
    assert_eq!(browser.session.evaluate("window.isSame").await.unwrap(), true);

    // The session ends while a page is open.
    world.pay("another", 1, "CHF").await;
    let mut in_use = world.0.database.pool.begin().await.unwrap();
    sqlx::query("select from sluice.dead_letters for update").execute(&mut *in_use).await.unwrap();
    browser.open("/console/dead-letters/replay").await;
    browser.click("Replay 1 letter").await;
    browser.shows("0 of 1 replayed.").await;
    browser.session.devtools("Network.clearBrowserCookies", json!({})).await;
    browser.shows("The console is for admins of this gateway.").await;
    assert!(browser.path().await.starts_with("/console/sign-in?next=/console/dead-letters/replays/"));
}
