//! Numbers in strings: which strings a column of numbers accepts, and whether a pattern allows only such strings.

use std::collections::HashSet;

use super::decimal::Decimal;
use super::pattern::{Automaton, State};

/// The form of a number in a string. Numbers of both forms are ASCII without white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An integer such as `-12` or `+007`.
    Integer,
    /// An integer, or a number such as `1.50`, `.5`, `5.` or `1.5e-3`.
    Decimal,
}

/// How much of a number has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Read {
    Nothing,
    Sign,
    Digits,
    /// A point without a digit before it.
    BarePoint,
    /// A point, and digits before or after it.
    Fraction,
    E,
    ExponentSign,
    Exponent,
    /// Text that is not the start of any number.
    NoNumber,
}

/// The kinds of characters that matter in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Digit,
    Sign,
    Point,
    E,
    Other,
}

impl Form {
    /// Returns the name of numbers of this form, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Integer => "integers",
            Self::Decimal => "decimals",
        }
    }

    /// Reads a number of this form.
    pub(super) fn read(self, text: &str) -> Option<Decimal> {
        let read = text.chars().fold(Read::Nothing, |read, c| self.step(read, Symbol::of(c)));
        Decimal::parse(text.strip_prefix('+').unwrap_or(text)).filter(|_| read.is_number())
    }

    fn step(self, read: Read, symbol: Symbol) -> Read {
        match (read, symbol) {
            (Read::Nothing, Symbol::Sign) => Read::Sign,
            (Read::Nothing | Read::Sign | Read::Digits, Symbol::Digit) => Read::Digits,
            (Read::Nothing | Read::Sign, Symbol::Point) if self == Self::Decimal => Read::BarePoint,
            (Read::Digits, Symbol::Point) if self == Self::Decimal => Read::Fraction,
            (Read::BarePoint | Read::Fraction, Symbol::Digit) => Read::Fraction,
            (Read::Digits | Read::Fraction, Symbol::E) if self == Self::Decimal => Read::E,
            (Read::E, Symbol::Sign) => Read::ExponentSign,
            (Read::E | Read::ExponentSign | Read::Exponent, Symbol::Digit) => Read::Exponent,
            _ => Read::NoNumber,
        }
    }

    /// Returns whether every string that matches a contract's pattern has this form. `may_be_empty` says whether the
    /// contract also allows the empty string.
    ///
    /// An automaton for the pattern and another for the form read the same strings. The answer is no if a string can
    /// match the pattern without having the form. The answer is also no if the pattern cannot be parsed or needs too
    /// many states. Assertions such as word boundaries are assumed to match everywhere, so the answer can be no even if
    /// all matching strings have the form.
    pub(super) fn covers(self, pattern: &str, may_be_empty: bool) -> bool {
        let Some(automaton) = Automaton::search(pattern) else { return false };
        let mut seen = HashSet::new();
        let mut open = vec![Place { state: automaton.start, read: Read::Nothing, is_begun: false, is_ended: false }];
        while let Some(place) = open.pop() {
            if !seen.insert(place) {
                continue;
            }
            match &automaton.states[place.state] {
                State::Match => {
                    if !place.read.is_number() && (place.is_begun || may_be_empty) {
                        return false;
                    }
                }
                State::Either(next) => open.extend(next.iter().map(|&state| Place { state, ..place })),
                State::Start(_) if place.is_begun => {}
                State::Start(next) => open.push(Place { state: *next, ..place }),
                State::End(next) => open.push(Place { state: *next, is_ended: true, ..place }),
                State::Character(..) if place.is_ended => {}
                State::Character(ranges, next) => {
                    for symbol in Symbol::ALL.into_iter().filter(|symbol| symbol.is_in(ranges)) {
                        let read = self.step(place.read, symbol);
                        open.push(Place { state: *next, read, is_begun: true, is_ended: false });
                    }
                }
            }
        }
        true
    }
}

impl Read {
    fn is_number(self) -> bool {
        matches!(self, Self::Digits | Self::Fraction | Self::Exponent)
    }
}

impl Symbol {
    const ALL: [Self; 5] = [Self::Digit, Self::Sign, Self::Point, Self::E, Self::Other];

    fn of(c: char) -> Self {
        match c {
            '0'..='9' => Self::Digit,
            '+' | '-' => Self::Sign,
            '.' => Self::Point,
            'e' | 'E' => Self::E,
            _ => Self::Other,
        }
    }

    /// Returns whether the ranges contain a character of this kind.
    fn is_in(self, ranges: &[(char, char)]) -> bool {
        // All characters outside ASCII are `Other`.
        let is_in_ascii =
            |&(first, last): &(char, char)| ('\0'..='\x7f').any(|c| (first..=last).contains(&c) && Self::of(c) == self);
        ranges.iter().any(|range| is_in_ascii(range) || (self == Self::Other && range.1 > '\x7f'))
    }
}

/// How far the two automata have read: `state` is the state of the pattern's automaton, and `read` is the state of the
/// form's automaton.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    state: usize,
    read: Read,
    /// Whether a character has been read.
    is_begun: bool,
    /// Whether the string must end here.
    is_ended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonschema_regex::to_rust_regex;

    #[test]
    fn a_pattern_that_allows_only_numbers_is_recognised_however_it_is_written() {
        for pattern in [
            "^[0-9]+$",
            r"^\d+$",
            r"^-?\d{1,18}$",
            "^[+-]?[0-9]*[0-9]$",
            r"\A[0-9]+\z",
            "^(?:0|[1-9][0-9]*)$",
            "^(1|2|30)$",
            "^0*$|^x$",
        ] {
            let expected = pattern != "^0*$|^x$";
            assert_eq!(Form::Integer.covers(pattern, true), expected, "{pattern}");
        }
        for pattern in [
            r"^\d+\.\d{2}$",
            r"^-?(0|[1-9]\d*)(\.\d+)?$",
            r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$",
            r"^\d{1,10}[.]\d\d$",
            r"^(?P<units>\d+)\.(?P<cents>\d{2})$",
            "^[0-9]+$",
            r"^(\d+\.\d\d|free)$",
        ] {
            let expected = pattern != r"^(\d+\.\d\d|free)$";
            assert_eq!(Form::Decimal.covers(pattern, true), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_also_allows_other_strings_is_not_a_pattern_for_numbers() {
        for pattern in [
            "[0-9]+",
            "^[0-9]+",
            "[0-9]+$",
            "^[0-9]*$",
            r"^\d+,\d{2}$",
            r"^[0-9.]+$",
            r"^\d+(\.\d{2}){0,2}$",
            r"^\s*\d+$",
            r"^-?\d*\.?$",
            r"^\d+ EUR$",
            "^[٠-٩0-9]+$",
            "^$",
            "",
            "(",
            r"^\w+$",
            r"^0x[0-9a-f]+$",
            r"^(?m:^\d+$)",
            r"(?m)^\d+$",
            r"\b\d+\b",
            "^NaN$",
            "^[0-9]+|$",
        ] {
            assert!(!Form::Decimal.covers(pattern, true), "{pattern}");
            assert!(!Form::Integer.covers(pattern, true), "{pattern}");
        }
        assert!(!Form::Integer.covers(r"^\d+\.\d{2}$", true));
        assert!(!Form::Integer.covers(r"^\d+\.0$", true));
        assert!(Form::Integer.covers("^[0-9]*$", false), "the contract forbids the empty string");
    }

    #[test]
    fn a_string_is_read_as_a_number_only_if_it_has_the_required_form() {
        let text = |form: Form, text: &str| form.read(text).map(|decimal| decimal.canonical());
        for (written, integer, decimal) in [
            ("7", Some("7"), Some("7")),
            ("-007", Some("-7"), Some("-7")),
            ("+7", Some("7"), Some("7")),
            ("1.50", None, Some("1.5")),
            (".5", None, Some("0.5")),
            ("5.", None, Some("5")),
            ("1.5e-3", None, Some("0.0015")),
            ("1E+3", None, Some("1000")),
            ("", None, None),
            (".", None, None),
            ("-", None, None),
            ("+-5", None, None),
            ("1e", None, None),
            ("1.2.3", None, None),
            (" 7", None, None),
            ("7 ", None, None),
            ("1_000", None, None),
            ("٣", None, None),
            ("NaN", None, None),
            ("0x1f", None, None),
        ] {
            assert_eq!(text(Form::Integer, written).as_deref(), integer, "{written:?}");
            assert_eq!(text(Form::Decimal, written).as_deref(), decimal, "{written:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_that_matches_a_pattern_for_numbers_is_a_number(pattern in "\\^?[-+]?[\\[0-9.eE\\]]{0,5}[?*+]?(\\\\d|\\\\.|[0-9]|\\|){0,4}\\$?", text in "[-+]?[0-9.eE]{0,6}") {
            if Form::Decimal.covers(&pattern, true)
                && let Ok(translated) = to_rust_regex(&pattern)
                && let Ok(validator) = jsonschema::options()
                    .with_pattern_options(jsonschema::PatternOptions::regex())
                    .build(&serde_json::json!({"pattern": translated}))
                && validator.is_valid(&serde_json::json!(text))
            {
                proptest::prop_assert!(Form::Decimal.read(&text).is_some(), "{} {}", pattern, text);
            }
        }
    }
}
