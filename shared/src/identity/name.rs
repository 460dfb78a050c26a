//! User names. A name is shown as given, but compared without regard to case, Unicode composition and invisible
//! characters.

use icu_casemap::CaseMapper;
use icu_properties::CodePointSetData;
use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint};
use unicode_normalization::UnicodeNormalization as _;

use super::service_key;

/// A valid user name. Text that is not a valid name belongs to no user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    shown: String,
    key: String,
}

/// Why a name is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongName {
    /// The name is too short or too long.
    #[error("must have 3 to 64 characters")]
    Length,
    /// The name contains a character that Basic credentials cannot carry (RFC 7617, section 2), that is ambiguous in a
    /// path, or that people cannot see.
    #[error("must not contain control characters or any of : / ? # % \\")]
    Character,
    /// The name is a service key or looks like one. A key must not be stored or shown as a name.
    #[error(
        "must not begin with slk_, the prefix of service keys. Send a service key as `Authorization: Bearer slk_…`"
    )]
    ServiceKey,
    /// White space at the beginning or end would make the name look like another one.
    #[error("must not begin or end with white space")]
    WhiteSpace,
}

impl UserName {
    /// Parses a new user's name and composes it (NFC), so that its length does not depend on how a keyboard encodes
    /// accents.
    ///
    /// # Errors
    /// The text is not a valid name.
    pub fn parse(text: &str) -> Result<Self, WrongName> {
        // API Gateway decodes a path before a function sees it, so these characters are ambiguous in `/users/{user}`.
        const AMBIGUOUS_IN_PATHS: [char; 5] = ['/', '?', '#', '%', '\\'];
        if text.contains(AMBIGUOUS_IN_PATHS) { Err(WrongName::Character) } else { Self::parse_existing(text) }
    }

    /// Parses the name of a user who may have registered when `/`, `?`, `#`, `%` and `\` were allowed.
    ///
    /// # Errors
    /// No user can have this name.
    pub fn parse_existing(text: &str) -> Result<Self, WrongName> {
        const FEWEST_CHARACTERS: usize = 3;
        const MOST_CHARACTERS: usize = 64;
        let shown: String = text.nfc().collect();
        let seen = || shown.chars().filter(|c| !is_invisible(*c));
        let is_blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
        let key = key(&shown);
        if seen().count() < FEWEST_CHARACTERS || shown.chars().count() > MOST_CHARACTERS {
            Err(WrongName::Length)
        } else if shown.chars().any(|c| c == ':' || is_control(c)) {
            Err(WrongName::Character)
        } else if key.starts_with(service_key::PREFIX) {
            Err(WrongName::ServiceKey)
        } else if is_blank(seen().next()) || is_blank(seen().next_back()) {
            Err(WrongName::WhiteSpace)
        } else {
            Ok(Self { key, shown })
        }
    }

    /// Returns the name as it is shown: as it was given, but in composed form (Unicode NFC).
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the name as it is compared.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Returns whether a character is a control character, ends a line or a paragraph, or changes the writing direction
/// (`Bidi_Control` in Unicode's PropList.txt). Such characters could disguise a name.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || CodePointSetData::new::<BidiControl>().contains(c)
}

/// Returns whether a character is invisible: fonts that do not support it show nothing in its place.
fn is_invisible(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Returns the form in which names are compared (Unicode, section 3.13, `toNFKC_Casefold`). Each of two passes
/// decomposes the text (NFKD), folds its case and removes invisible characters. NFKC composes the result. The second
/// pass is a precaution, because the key of a key must be the key itself.
pub(super) fn key(text: &str) -> String {
    let once = |text: &str| -> String {
        let decomposed: String = text.nfkd().collect();
        CaseMapper::new().fold_string(&decomposed).chars().filter(|c| !is_invisible(*c)).collect()
    };
    once(&once(text)).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_one_name() {
        for (a, b) in [
            ("Ann", "aNN"),
            ("Straße", "STRASSE"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("ﬁne", "FINE"),
            ("Ｋim", "kim"),
            ("eve\u{200b}", "eve"),
            ("e\u{ad}\u{34f}ve\u{fe0f}", "Eve"),
            // Once the invisible character between the combining marks is removed, normalization sorts the marks.
            ("a\u{301}\u{34f}\u{323}", "a\u{323}\u{301}"),
        ] {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        assert_ne!(key("ann"), key("anne"));
        for text in ["ͅάδης", "İstanbul", "ǰan", "ﬃ", "㎒", "a\u{301}\u{34f}\u{323}", "\u{3164}x\u{ffa0}"] {
            assert_eq!(key(&key(text)), key(text), "{text}");
        }
    }

    #[test]
    fn a_name_has_3_to_64_characters_and_none_that_is_ambiguous() {
        let refused = |text: &str| UserName::parse(text).err();
        assert_eq!(refused("ab"), Some(WrongName::Length));
        assert_eq!(refused(&"é".repeat(65)), Some(WrongName::Length));
        assert_eq!(refused(&"é".repeat(64)), None);
        assert_eq!(refused(&"e\u{301}".repeat(64)), None);
        assert_eq!(refused("e\u{301}e\u{301}"), Some(WrongName::Length));
        assert_eq!(refused("a\u{200b}\u{200b}b"), Some(WrongName::Length));
        assert_eq!(refused("a:b"), Some(WrongName::Character));
        assert_eq!(refused("SLK_abc"), Some(WrongName::ServiceKey));
        assert_eq!(refused("a\u{7f}b"), Some(WrongName::Character));
        for name in ["eve/1", "eve?1", "eve#1", "eve%1", "eve\\1"] {
            assert_eq!(refused(name), Some(WrongName::Character));
            assert_eq!(UserName::parse_existing(name).map(|name| name.shown().to_owned()), Ok(name.to_owned()));
        }
        assert_eq!(UserName::parse_existing("eve:1").err(), Some(WrongName::Character));
        assert_eq!(
            UserName::parse("Ann").map(|name| (name.shown().to_owned(), name.key().to_owned())),
            Ok(("Ann".to_owned(), "ann".to_owned()))
        );
    }

    #[test]
    fn a_name_has_no_white_space_at_its_ends_and_no_direction_marks() {
        let refused = |text: &str| UserName::parse(text).err();
        for text in [" ann", "ann ", "ann\u{a0}", "\u{3000}ann", "ann \u{200b}", "\u{2060}\u{2003}ann"] {
            assert_eq!(refused(text), Some(WrongName::WhiteSpace), "{text:?}");
        }
        for c in "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{0}\u{85}".chars() {
            assert_eq!(refused(&format!("an{c}n")), Some(WrongName::Character), "{c:?}");
        }
        assert_eq!(refused("Jörg K"), None);
    }
}
