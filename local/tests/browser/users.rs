//! Tests the pages for users, blocks and the audit log.

use serde_json::json;

use super::browser::{Browser, Scripts, is_skipped};
use super::support::gateway::TestGateway;
use super::world::World;

const ENTRIES: &str = r#"
    insert into sluice.audit ("user", action, object, detail)
    select 'Admin', 'replayed', 'dead-letters/replays/' || n,
           jsonb_build_object('count', 200, 'filter', jsonb_build_object('stream', 'payment'), 'force', n % 7 = 0)
    from generate_series(1, 60) n"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_shows_that_an_admin_unblocks_and_deletes_users() {
    if is_skipped() {
        return;
    }
    let world = World::start().await;
    let mut browser = Browser::signed_in(&world.0).await;
    for (scripts, user, stranger) in
        [(Scripts::On, "ann", "x".repeat(64)), (Scripts::Off, "bob", "stranger".to_owned())]
    {
        browser.switch(scripts).await;
        let body = json!({"user": user, "pass": "a long password"}).to_string();
        assert_eq!(world.0.post("/register", &[], body).await.0, 201);
        for name in [user, &stranger] {
            block(&world.0, name).await;
        }
        browser.open("/console/users").await;
        browser.shows("no such user").await;
        browser.shows("blocked").await;
        browser.inspect("users").await;
        browser.click(&format!("Unblock {user}")).await;
        browser.shows(&format!("{user} may log in again.")).await;
        browser.click(&format!("Unblock {stranger}")).await;
        browser.shows("Nobody is blocked.").await;
        browser.click(&format!("Delete {user}")).await;
        browser.shows("stop working everywhere within five seconds").await;
        browser.inspect("delete-user").await;
        browser.click("Back").await;
        browser.click(&format!("Delete {user}")).await;
        browser.click(&format!("Delete {user}")).await;
        browser.shows(&format!("{user} was deleted.")).await;
        browser.click("Delete Admin").await;
        browser.shows("This is you: you will be signed out.").await;
        browser.inspect("delete-yourself").await;
        browser.click("Delete Admin").await;
        browser.shows("This user is the only admin.").await;
        browser.inspect("users-last-admin").await;

        world.execute(ENTRIES).await;
        browser.click("Audit").await;
        browser.shows("dead-letters/replays/60").await;
        browser.inspect("audit").await;
        browser.click("Older entries").await;
        browser.shows(&format!("users/{user}")).await;
    }
}

async fn block(gateway: &TestGateway, name: &str) {
    for _ in 0..5 {
        gateway.post("/login", &[], json!({"user": name, "pass": "a wrong password"}).to_string()).await;
    }
}
