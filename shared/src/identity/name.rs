//! User names: shown as they were given, compared without regard to case and to how Unicode spells them.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;

/// A name that a user may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    shown: String,
    key: String,
}

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongName {
    /// It is too short or too long.
    #[error("should have 3 to 64 characters")]
    Length,
    /// Basic credentials could not carry it (RFC 7617, section 2), or nobody could read it.
    #[error("must not contain control characters or ':'")]
    Character,
}

/// The longest name, in characters.
pub const MOST_CHARACTERS: usize = 64;

impl UserName {
    /// The name that `text` is.
    ///
    /// # Errors
    /// No user can have it.
    pub fn parse(text: &str) -> Result<Self, WrongName> {
        if !(3..=MOST_CHARACTERS).contains(&text.chars().count()) {
            Err(WrongName::Length)
        } else if text.chars().any(|c| c.is_control() || c == ':') {
            Err(WrongName::Character)
        } else {
            Ok(Self { shown: text.to_owned(), key: key(text) })
        }
    }

    /// As it was given.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// As it is compared.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A text as it is compared: NFKC and case folding, until neither changes it any more (Unicode 15, section 3.13, D146).
pub fn key(text: &str) -> String {
    text.nfkd().default_case_fold().nfkd().default_case_fold().nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_one_name() {
        for (a, b) in
            [("Ann", "aNN"), ("Straße", "STRASSE"), ("caf\u{e9}", "cafe\u{301}"), ("ﬁne", "FINE"), ("Ｋim", "kim")]
        {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        assert_ne!(key("ann"), key("anne"));
        for text in ["ͅάδης", "İstanbul", "ǰan", "ﬃ", "㎒"] {
            assert_eq!(key(&key(text)), key(text), "{text}");
        }
    }

    #[test]
    fn a_name_has_3_to_64_characters_and_no_colon() {
        let refused = |text: &str| UserName::parse(text).err();
        assert_eq!(refused("ab"), Some(WrongName::Length));
        assert_eq!(refused(&"é".repeat(65)), Some(WrongName::Length));
        assert_eq!(refused(&"é".repeat(64)), None);
        assert_eq!(refused("a:b"), Some(WrongName::Character));
        assert_eq!(refused("a\u{7f}b"), Some(WrongName::Character));
        assert_eq!(
            UserName::parse("Ann").map(|name| (name.shown().to_owned(), name.key().to_owned())),
            Ok(("Ann".to_owned(), "ann".to_owned()))
        );
    }
}
