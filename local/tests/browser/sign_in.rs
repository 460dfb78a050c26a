//! Tests signing in and out.

use serde_json::json;

use super::browser::{Browser, Scripts, is_skipped};
use super::support::gateway::{ADMIN, TestGateway, plan};

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_signs_in_and_out_and_others_read_why_they_cannot_sign_in() {
    if is_skipped() {
        return;
    }
    let gateway = plan().start().await;
    register(&gateway, "ann").await;
    let mut browser = Browser::start(&gateway).await;
    for (scripts, stranger) in [(Scripts::On, "stranger"), (Scripts::Off, "another stranger")] {
        browser.switch(scripts).await;
        browser.open("/console/audit").await;
        browser.shows("The console is for admins of this gateway.").await;
        browser.inspect("sign-in").await;
        sign_in(&mut browser, (ADMIN.0, "a wrong password")).await;
        browser.shows("User name or password is wrong.").await;
        browser.inspect("sign-in-wrong").await;
        sign_in(&mut browser, ("ann", "ann's password")).await;
        browser.shows("This user is not an admin. Sign in as an admin.").await;
        for _ in 0..5 {
            let body = json!({"user": stranger, "pass": "a wrong password"}).to_string();
            gateway.post("/login", &[], body).await;
        }
        sign_in(&mut browser, (stranger, "a wrong password")).await;
        browser.shows("so this user is blocked. Try again in 1").await;
        browser.inspect("sign-in-blocked").await;

        sign_in(&mut browser, ADMIN).await;
        browser.shows("The latest first.").await;
        assert_eq!(browser.path().await, "/console/audit");
        browser.open("/console/none").await;
        browser.shows("The console has no such page.").await;
        browser.inspect("no-such-page").await;
        browser.click("Back to the overview").await;
        browser.shows("Written in the last hour").await;
        browser.click("Sign out").await;
        browser.shows("The console is for admins of this gateway.").await;
        browser.open("/console/users").await;
        browser.shows("The console is for admins of this gateway.").await;
        assert_eq!(browser.path().await, "/console/sign-in?next=/console/users");
    }
}

async fn sign_in(browser: &mut Browser, (name, password): (&str, &str)) {
    browser.fill("User name", name).await;
    browser.fill("Password", password).await;
    browser.click("Sign in").await;
}

async fn register(gateway: &TestGateway, name: &str) {
    let body = json!({"user": name, "pass": format!("{name}'s password")}).to_string();
    assert_eq!(gateway.post("/register", &[], body).await.0, 201);
}
