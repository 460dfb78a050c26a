//! The `Prefer` header (RFC 7240) and `Preference-Applied`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

use crate::header_value::{split_unquoted, unquoted};

/// The maximum wait. API Gateway times out after 30 s.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// A caller's preferences. Malformed and unknown preferences are ignored (RFC 7240, section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefer {
    /// `wait`: how long the request may wait for the events to be written or rejected.
    pub(crate) wait: Option<Duration>,
    /// `handling`: whether valid events are accepted even if others are invalid.
    handling: Option<Handling>,
    /// `return`: whether receipts are omitted.
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
    /// Reads all `Prefer` headers. If a preference appears twice, the first one counts.
    pub fn from_headers(headers: &HeaderMap) -> Self {
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
                // A number that is too large for a u64 means the longest wait.
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

    /// Returns whether valid events are accepted even if others are invalid.
    pub(crate) fn is_lenient(&self) -> bool {
        self.handling == Some(Handling::Lenient)
    }

    /// Returns whether receipts are omitted.
    pub(crate) fn is_minimal(&self) -> bool {
        self.returned == Some(Return::Minimal)
    }

    /// Drops `wait`, for a request that has nothing to wait for.
    pub(crate) fn without_wait(self) -> Self {
        Self { wait: None, ..self }
    }

    /// Returns the value of `Preference-Applied` (RFC 7240, section 3).
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

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(lines: &[&'static str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", HeaderValue::from_static(line));
        }
        Prefer::from_headers(&headers)
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
    fn the_first_value_of_a_repeated_preference_is_used() {
        assert!(!prefer(&["handling=strict, handling=lenient"]).is_lenient());
    }

    #[test]
    fn malformed_and_unknown_preferences_are_ignored() {
        for line in
            ["", "wait", "wait=", "wait=-1", "wait=soon", "handling=loose", "respond-async", "return", "\"wait=1"]
        {
            assert_eq!(prefer(&[line]), Prefer::default(), "{line}");
            assert_eq!(applied(&[line]), "", "{line}");
        }
    }

    #[test]
    fn a_wait_of_more_than_25_seconds_is_shortened_to_25_seconds() {
        assert_eq!(applied(&["wait=26"]), "wait=25");
        assert_eq!(applied(&["wait=99999999999999999999999"]), "wait=25");
        assert_eq!(applied(&["wait=0"]), "wait=0");
    }
}
