//! Shows events as indented JSON, with the wrong value marked. Events that are too long are truncated. Numbers and
//! strings appear as they were sent.

use maud::{Markup, html};
use serde_json::value::RawValue;
use shared::contract::pointer;

/// The length to which a payload is truncated, in bytes.
pub(super) const SHOWN_BYTES: usize = 65_536;
/// The depth up to which JSON is indented.
const DEEPEST: usize = 64;

/// A line of indented JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    depth: usize,
    /// The member's name with its quotes, if the line begins a member.
    name: Option<String>,
    text: String,
    /// The pointer to the value that begins here. `None` for a closing bracket.
    pointer: Option<String>,
}

/// Shows an event that a JSON route returned. If the event is not JSON, the route returns it as a string, and the
/// string's text is shown. Marks the value at the JSON pointer `wrong`. If there is no such value, marks the value
/// that should contain it.
pub(super) fn payload(json: &RawValue, wrong: Option<&str>) -> Markup {
    let raw = json.get();
    if let Ok(text) = serde_json::from_str::<String>(raw) {
        return plain(&text);
    }
    match (raw.len() <= SHOWN_BYTES).then(|| lines(raw)).flatten() {
        Some(lines) => indented(&lines, wrong),
        None => plain(raw),
    }
}

/// Returns JSON as indented text, for a form. Text that is not JSON, or is nested too deeply, is returned unchanged.
pub(super) fn indented_text(json: &str) -> String {
    let Some(lines) = lines(json) else { return json.to_owned() };
    let text = |line: &Line| {
        let name = line.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("{}{name}{}", "  ".repeat(line.depth), line.text)
    };
    lines.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Shows text. Text that is too long is truncated between two characters.
pub(super) fn plain(text: &str) -> Markup {
    let shown = &text[..text.floor_char_boundary(SHOWN_BYTES)];
    html! {
        div.code tabindex="0" role="group" aria-label="Payload" { pre { code { (shown) } } }
        @if shown.len() < text.len() {
            p.soft { "Cut after 64 KB of " (text.len().div_ceil(1_024)) " KB. The JSON route returns the whole payload." }
        }
    }
}

fn indented(lines: &[Line], wrong: Option<&str>) -> Markup {
    let marked = wrong.and_then(|wrong| nearest(lines, wrong));
    html! {
        div.code tabindex="0" role="group" aria-label="Payload" {
            pre { code {
                @for (number, line) in lines.iter().enumerate() {
                    @let content = html! {
                        @if let Some(name) = &line.name { span.name { (name) } ": " }
                        (line.text)
                    };
                    ("  ".repeat(line.depth))
                    @if marked == Some(number) { mark { (content) } } @else { (content) }
                    "\n"
                }
            } }
        }
    }
}

/// Returns the line on which the value at a pointer begins. If there is no such value, returns the line of the
/// innermost value that should contain it.
fn nearest(lines: &[Line], wrong: &str) -> Option<usize> {
    let mut sought = wrong;
    loop {
        let found = lines.iter().position(|line| line.pointer.as_deref() == Some(sought));
        if found.is_some() || sought.is_empty() {
            return found;
        }
        sought = sought.rfind('/').map_or("", |end| &sought[..end]);
    }
}

/// An object or array around a value.
#[derive(Debug)]
enum Around {
    Object { name: Option<String> },
    Array { index: usize },
}

/// Splits JSON into indented lines. Returns `None` if the text is not valid JSON, or is nested too deeply.
fn lines(json: &str) -> Option<Vec<Line>> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    let (mut lines, mut around, mut name): (Vec<Line>, Vec<Around>, Option<String>) = (Vec::new(), Vec::new(), None);
    let mut rest = json.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = token_end(rest);
        let token = &rest[..end];
        rest = rest[end..].trim_start();
        match first {
            ',' => {
                lines.last_mut()?.text.push(',');
                match around.last_mut()? {
                    Around::Object { name } => *name = None,
                    Around::Array { index } => *index += 1,
                }
            }
            ':' => {}
            '}' | ']' => {
                around.pop()?;
                lines.push(Line { depth: around.len(), name: None, text: token.to_owned(), pointer: None });
            }
            '"' if matches!(around.last(), Some(Around::Object { name: None })) => {
                let decoded = serde_json::from_str(token).ok()?;
                *around.last_mut()? = Around::Object { name: Some(decoded) };
                name = Some(token.to_owned());
            }
            _ => {
                let mut text = token.to_owned();
                let begins = match first {
                    '{' if !rest.starts_with('}') => Some(Around::Object { name: None }),
                    '[' if !rest.starts_with(']') => Some(Around::Array { index: 0 }),
                    '{' | '[' => {
                        // An empty object or array stays on one line.
                        text.push_str(&rest[..1]);
                        rest = rest[1..].trim_start();
                        None
                    }
                    _ => None,
                };
                let pointer = Some(pointer_to(&around));
                lines.push(Line { depth: around.len(), name: name.take(), text, pointer });
                around.extend(begins);
                if around.len() > DEEPEST {
                    return None;
                }
            }
        }
    }
    Some(lines)
}

fn pointer_to(around: &[Around]) -> String {
    let tokens = around.iter().map(|each| match each {
        Around::Object { name } => name.clone().unwrap_or_default(),
        Around::Array { index } => index.to_string(),
    });
    let tokens: Vec<String> = tokens.collect();
    pointer::join(tokens.iter().map(String::as_str))
}

/// Returns the position at which the first token of a valid JSON text ends.
fn token_end(json: &str) -> usize {
    let bytes = json.as_bytes();
    match bytes.first() {
        Some(b'"') => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(json.len())
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        Some(_) | None => json.find(|c: char| "{}[],: \t\r\n".contains(c)).unwrap_or(json.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"a": {"x/y": [1.50, {"b": "\"é\\"}]}, "e": [], "f": {} , "n":null}"#;

    #[test]
    fn json_is_indented_and_its_values_stay_as_they_were_sent() {
        let expected = r#"{
  "a": {
    "x/y": [
      1.50,
      {
        "b": "\"é\\"
      }
    ]
  },
  "e": [],
  "f": {},
  "n": null
}"#;
        assert_eq!(indented_text(EVENT), expected);
        for same in ["1.0", "\"x\"", "[]", "not json", "", "{\"a\":"] {
            assert_eq!(indented_text(same), same);
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(indented_text(&deep), deep);
    }

    #[test]
    fn the_wrong_value_is_found_or_else_the_value_that_should_contain_it() {
        let lines = lines(EVENT).unwrap_or_default();
        let line = |wrong: &str| nearest(&lines, wrong).map(|number| lines[number].text.as_str());
        assert_eq!(line("/a/x~1y/1/b"), Some(r#""\"é\\""#));
        assert_eq!(line("/a/x~1y/0"), Some("1.50,"));
        assert_eq!(line("/a/missing/x"), Some("{"));
        assert_eq!(nearest(&lines, ""), Some(0));
        assert_eq!(nearest(&lines, "/a/missing"), Some(1));
    }

    #[test]
    fn a_payload_is_escaped_and_cut() {
        let json = RawValue::from_string(r#"{"<script>": "</pre><script>alert(1)</script>"}"#.to_owned());
        let shown = json.map(|json| payload(&json, Some("/<script>")).into_string()).unwrap_or_default();
        assert!(!shown.contains("<script") && !shown.contains("</pre><script"), "{shown}");
        assert!(shown.contains("<mark>"), "{shown}");
        let long = plain(&"é".repeat(60_000)).into_string();
        assert!(long.contains("Cut after 64 KB of 118 KB") && long.len() < 66_000, "{}", long.len());
    }
}
