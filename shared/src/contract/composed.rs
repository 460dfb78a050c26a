//! Composes texts (Unicode NFC). The keys of entities and of their parents are composed before they are compared,
//! because `é` must be the same text, whether it was typed as one character or as `e` and an accent.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Converts a text to Unicode NFC.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_text_compose_to_the_same_text() {
        for (a, b) in [("Bouak\u{e9}", "Bouake\u{301}"), ("\u{ac00}", "\u{1100}\u{1161}"), ("\u{212b}", "A\u{30a}")] {
            assert_eq!(composed(a), composed(b));
        }
        assert!(matches!(composed("Bouak\u{e9}"), Cow::Borrowed(_)));
        assert_ne!(composed("Bouake"), composed("Bouak\u{e9}"));
    }
}
