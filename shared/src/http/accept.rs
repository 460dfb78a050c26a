//! Content negotiation: a page or JSON (RFC 9110, section 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Returns whether `Accept` prefers `text/html` to `application/json`.
pub fn prefers_html(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    quality(&accepted, "text", "html") > quality(&accepted, "application", "json")
}

/// Returns the quality of a media type in thousandths. If several ranges match the media type, the most specific one
/// decides.
fn quality(accepted: &[&str], kind: &str, subtype: &str) -> u32 {
    let ranges = accepted.iter().flat_map(|value| value.split(','));
    let matching = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
        let closeness = match (range_kind, range_subtype) {
            ("*", "*") => 0,
            (a, "*") if a.eq_ignore_ascii_case(kind) => 1,
            (a, b) if a.eq_ignore_ascii_case(kind) && b.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((closeness, weight.map_or(1_000, thousandths)))
    });
    matching.max_by_key(|(closeness, _)| *closeness).map_or(0, |(_, quality)| quality)
}

fn thousandths(weight: &str) -> u32 {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let part: u32 = format!("{part:0<3}").get(..3).and_then(|part| part.parse().ok()).unwrap_or(0);
    if whole == "0" { part } else { 1_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(accept: &str) -> bool {
        prefers_html(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]))
    }

    #[test]
    fn only_callers_that_prefer_html_get_a_page() {
        assert!(html("text/html"));
        assert!(html("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(html("application/json;q=0.5, TEXT/HTML; q=0.51"));
        assert!(!html("*/*"));
        assert!(!html("application/json"));
        assert!(!html("text/html;q=0.2, application/json"));
        assert!(!html("text/html;q=0, */*"));
        assert!(!html("text/csv"));
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
