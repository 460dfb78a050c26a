//! Inspects the current page: runs axe-core in both themes, checks that nothing is wider than the window, and takes
//! pictures of the page.

use serde_json::{Value, json};

use super::axe;
use super::webdriver::Session;

/// The widths in pixels: a telephone, a laptop, a large screen.
const WIDTHS: [u32; 3] = [390, 1_280, 1_920];
/// The theme that a person prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Light,
    Dark,
}

impl Theme {
    const ALL: [Self; 2] = [Self::Light, Self::Dark];

    const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Reports each violation and the elements that cause it.
const RUN_AXE: &str = "
    const done = arguments[arguments.length - 1];
    const told = ({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary) });
    axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations.map(told)), (error) => done([String(error)]));";

/// Returns the elements that extend beyond the window's right edge, if the page scrolls sideways.
const WIDER: &str =
    "(document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
    .map((element) => element.outerHTML.slice(0, 120)))";

/// Sets the window's width and the theme. Switches off animations, so that no colour is in transition.
pub(super) async fn show_at(session: &Session, width: u32, theme: Theme) {
    let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    session.devtools("Emulation.setDeviceMetricsOverride", size).await;
    let features = json!([
        {"name": "prefers-color-scheme", "value": theme.name()},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]);
    session.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await;
}

/// Asserts that axe-core finds no problem, and that nothing is wider than the window. Afterwards, the window is 1,280
/// px wide and has the light theme.
pub(super) async fn inspect(session: &Session, name: &str) {
    let mut faults = Vec::new();
    for theme in Theme::ALL {
        for width in WIDTHS {
            show_at(session, width, theme).await;
            let wider = session.evaluate(WIDER).await.unwrap();
            if wider != json!([]) {
                faults.push(format!("{name} at {width} px: wider than the window: {wider:#}"));
            }
            // Two runs of axe-core cover both themes and both layouts. At 1,920 px, a page has the same layout as at
            // 1,280 px.
            if matches!((theme, width), (Theme::Light, 1_280) | (Theme::Dark, 390)) {
                let found = violations(session).await;
                if found != json!([]) {
                    faults.push(format!("{name} at {width} px, {}: {found:#}", theme.name()));
                }
            }
            if is_photographed() {
                photograph(session, &format!("{name}-{width}-{}", theme.name()), width).await;
            }
        }
    }
    show_at(session, 1_280, Theme::Light).await;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns what axe-core finds. If another page replaces the page meanwhile, loads axe-core again, into the new page.
async fn violations(session: &Session) -> Value {
    const ATTEMPTS: usize = 5;
    let mut fault = None;
    for _ in 0..ATTEMPTS {
        if session.evaluate("typeof axe === 'object'").await.unwrap() != true {
            session.evaluate(&format!("void (() => {{ {} }})()", axe::script().await)).await.unwrap();
        }
        match session.run(RUN_AXE, &[]).await {
            Ok(found) => return found,
            Err(replaced) => fault = Some(replaced),
        }
    }
    panic!("axe-core does not run: {fault:?}")
}

fn is_photographed() -> bool {
    std::env::var_os("SLUICE_SCREENSHOTS").is_some()
}

/// Stores a screenshot of the top 2,400 pixels of the page. A taller picture would be impractical to look at.
async fn photograph(session: &Session, name: &str, width: u32) {
    const MOST_PIXELS: f64 = 2_400.0;
    let height = session.evaluate("document.documentElement.scrollHeight").await.unwrap();
    let height = height.as_f64().unwrap().min(MOST_PIXELS);
    let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
    let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
    let picture: Value = session.devtools("Page.captureScreenshot", parameters).await;
    let png = base64_simd::STANDARD.decode_to_vec(picture["data"].as_str().unwrap()).unwrap();
    let folder = axe::target().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
}
