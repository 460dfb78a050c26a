//! Tests the console in a real Chromium, with scripts and without: every page and every action works, axe-core finds no
//! problem, and nothing is wider than the window.
//!
//! `SLUICE_SCREENSHOTS=1` stores a screenshot of each page in `target/screenshots`. `SLUICE_WITHOUT_BROWSER=1` skips
//! these tests. `./local/test` sets `SLUICE_WITHOUT_BROWSER` if it cannot install Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic if its setup fails")]

mod axe;
mod browser;
mod constraint;
mod follow;
mod inspection;
mod letters;
mod live;
mod overview;
mod runs;
mod sign_in;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod users;
mod webdriver;
mod world;
