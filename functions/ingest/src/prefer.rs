//! `Prefer`, RFC 7240: what a caller would like, and what of it was applied.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

/// The longest wait: API Gateway gives up after 30 s.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// What the caller prefers. What cannot be read or is not known is not applied (RFC 7240, section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// `wait`: how long the answer may take, so that it can tell what became of the events.
    pub(crate) wait: Option<Duration>,
    /// `handling`: whether the valid events of a batch are taken although others are not.
    handling: Option<Handling>,
    /// `return`: whether receipts are left out.
    returned: Option<Return>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handling {
    Strict,
    Lenient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    Minimal,
    Representation,
}

impl Prefer {
    /// Reads all `Prefer` headers. Of a preference that is given twice, the first counts.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for line in headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok()) {
            for preference in split_unquoted(line, ',') {
                let preference = split_unquoted(preference, ';').first().copied().unwrap_or_default();
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                let name = name.trim().to_ascii_lowercase();
                if !seen.contains(&name) {
                    prefer.note(&name, &unquoted(value.trim()));
                    seen.push(name);
                }
            }
        }
        prefer
    }

    fn note(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("wait", seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) && !seconds.is_empty() => {
                // More digits than a u64 has are a long wait too.
                let wait = seconds.parse().map_or(LONGEST_WAIT, Duration::from_secs);
                self.wait = Some(wait.min(LONGEST_WAIT));
            }
            ("handling", "strict") => self.handling = Some(Handling::Strict),
            ("handling", "lenient") => self.handling = Some(Handling::Lenient),
            ("return", "minimal") => self.returned = Some(Return::Minimal),
            ("return", "representation") => self.returned = Some(Return::Representation),
            _ => {}
        }
    }

    /// Whether the valid events of a batch are taken although others are not.
    pub(crate) fn is_lenient(&self) -> bool {
        self.handling == Some(Handling::Lenient)
    }

    /// Whether receipts are left out.
    pub(crate) fn is_minimal(&self) -> bool {
        self.returned == Some(Return::Minimal)
    }

    /// `Preference-Applied` (RFC 7240, section 3).
    pub(crate) fn applied(&self) -> Option<HeaderValue> {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let handling = self.handling.map(|handling| match handling {
            Handling::Strict => "handling=strict".to_owned(),
            Handling::Lenient => "handling=lenient".to_owned(),
        });
        let returned = self.returned.map(|returned| match returned {
            Return::Minimal => "return=minimal".to_owned(),
            Return::Representation => "return=representation".to_owned(),
        });
        let applied: Vec<String> = [wait, handling, returned].into_iter().flatten().collect();
        if applied.is_empty() { None } else { HeaderValue::try_from(applied.join(", ")).ok() }
    }
}

/// The parts of `text` between separators that stand outside of quotes.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A token as it is, a quoted string without its quotes (RFC 9110, section 5.6.4).
pub(crate) fn unquoted(word: &str) -> String {
    let Some(inner) = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) else {
        return word.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        text.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(lines: &[&'static str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", HeaderValue::from_static(line));
        }
        Prefer::of(&headers)
    }

    fn applied(lines: &[&'static str]) -> String {
        prefer(lines).applied().and_then(|value| value.to_str().map(str::to_owned).ok()).unwrap_or_default()
    }

    #[test]
    fn preferences_are_read_from_one_header_or_several() {
        for lines in [
            &["wait=10, handling=lenient, return=minimal"][..],
            &["Wait = 10;foo=bar", "HANDLING=\"lenient\" , , return=minimal; x"],
            &["foo=\"a,b;wait=3\", wait=\"10\"", "handling=lenient,return=minimal,wait=3"],
        ] {
            assert_eq!(applied(lines), "wait=10, handling=lenient, return=minimal", "{lines:?}");
        }
    }

    #[test]
    fn the_first_of_a_repeated_preference_counts() {
        assert!(!prefer(&["handling=strict, handling=lenient"]).is_lenient());
    }

    #[test]
    fn what_is_not_understood_is_not_applied() {
        for line in
            ["", "wait", "wait=", "wait=-1", "wait=soon", "handling=loose", "respond-async", "return", "\"wait=1"]
        {
            assert_eq!(prefer(&[line]), Prefer::default(), "{line}");
            assert_eq!(applied(&[line]), "", "{line}");
        }
    }

    #[test]
    fn a_wait_is_25_seconds_at_most_and_applied_as_such() {
        assert_eq!(applied(&["wait=26"]), "wait=25");
        assert_eq!(applied(&["wait=99999999999999999999999"]), "wait=25");
        assert_eq!(applied(&["wait=0"]), "wait=0");
    }
}
