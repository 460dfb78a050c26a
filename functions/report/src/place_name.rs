//! Decides which spellings of a city's or a country's name count as one place, and which spelling is shown.

use std::borrow::Cow;

use icu_casemap::options::TitlecaseOptions;
use icu_casemap::{CaseMapper, TitlecaseMapper};
use icu_locale_core::LanguageIdentifier;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation as _;

/// Normalises a name: Unicode NFC, no white space at the ends, one space for each run of white space inside.
pub(crate) fn clean(name: &str) -> Cow<'_, str> {
    // Most names are ASCII, which is always in NFC and can be scanned as bytes, twice as fast as characters.
    let is_ascii = name.is_ascii();
    let is_composed = is_ascii || is_nfc_quick(name.chars()) == IsNormalized::Yes;
    let is_tidy = if is_ascii { is_tidy(name.bytes().map(char::from)) } else { is_tidy(name.chars()) };
    if is_composed && is_tidy {
        return name.into();
    }
    let composed: Cow<'_, str> = if is_composed { name.into() } else { name.nfc().collect::<String>().into() };
    let mut words = composed.split_whitespace();
    let mut cleaned = words.next().unwrap_or_default().to_owned();
    for word in words {
        cleaned.push(' ');
        cleaned.push_str(word);
    }
    cleaned.into()
}

/// Returns whether the only white space in a name is single spaces between words.
fn is_tidy(name: impl Iterator<Item = char>) -> bool {
    let mut before = None;
    for c in name {
        if c.is_whitespace() && (c != ' ' || matches!(before, None | Some(' '))) {
            return false;
        }
        before = Some(c);
    }
    before != Some(' ')
}

/// Returns a key that clean names share if they differ only in case (Unicode, D145: canonical caseless match).
pub(crate) fn key(cleaned: Cow<'_, str>) -> Cow<'_, str> {
    if !cleaned.is_ascii() {
        let decomposed: String = cleaned.nfd().collect();
        return CaseMapper::new().fold_string(&decomposed).nfc().collect::<String>().into();
    }
    if cleaned.bytes().any(|byte| byte.is_ascii_uppercase()) { cleaned.to_ascii_lowercase().into() } else { cleaned }
}

/// Returns the spelling to show for a place, given its clean spellings and how often each occurred. This is the most
/// frequent spelling that is neither all lower nor all upper case. If there is none, the most frequent spelling is
/// converted to title case. Ties are broken by code points.
///
/// The result always belongs to the same place. If title case would turn a name into another place's name, the name
/// stays as it is. For example, `ısparta` (with a dotless ı) does not become `Isparta`, because `Isparta` counts as
/// another city, namely the city `isparta` (with a dotted i).
pub(crate) fn shown<'s>(spellings: impl Iterator<Item = (&'s str, i64)>) -> String {
    let mut spellings: Vec<(&str, i64)> = spellings.collect();
    spellings.sort_by(|(a, a_events), (b, b_events)| b_events.cmp(a_events).then_with(|| a.cmp(b)));
    match spellings.iter().find(|(name, _)| is_mixed(name)) {
        Some((name, _)) => (*name).to_owned(),
        None => {
            let name = spellings.first().map_or("", |(name, _)| name);
            let titled: String = title_case(name).nfc().collect();
            if key(titled.as_str().into()) == key(name.into()) { titled } else { name.to_owned() }
        }
    }
}

/// Returns whether a name is neither all lower nor all upper case.
fn is_mixed(name: &str) -> bool {
    if name.is_ascii() {
        return name.bytes().any(|byte| byte.is_ascii_lowercase())
            && name.bytes().any(|byte| byte.is_ascii_uppercase());
    }
    name != name.to_lowercase() && name != name.to_uppercase()
}

/// Converts to title case (Unicode, section 3.13, toTitlecase, with the words of UAX #29).
fn title_case(name: &str) -> String {
    let mapper = TitlecaseMapper::new();
    let word =
        |word| mapper.titlecase_segment_to_string(word, &LanguageIdentifier::UNKNOWN, TitlecaseOptions::default());
    name.split_word_bounds().map(word).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(a: &str, b: &str) -> bool {
        key(clean(a)) == key(clean(b))
    }

    fn shown_of(spellings: &[(&str, i64)]) -> String {
        let cleaned: Vec<_> = spellings.iter().map(|(name, events)| (clean(name), *events)).collect();
        shown(cleaned.iter().map(|(name, events)| (name.as_ref(), *events)))
    }

    #[test]
    fn spellings_that_differ_in_case_or_white_space_are_one_city() {
        assert!(same("baltimore", "Baltimore "));
        assert!(same("São Paulo", "SÃO PAULO"));
        assert!(same("Den Haag", "\u{a0}den\u{a0}\u{2003} HAAG\n"));
        assert!(same("Straße", "STRASSE"));
        assert!(same("Αθήνα", "ΑΘΉΝΑ"));
        assert!(!same("Den Haag", "DenHaag"));
        assert!(!same("Łódź", "Lodz"));
    }

    #[test]
    fn composed_and_decomposed_accents_are_the_same() {
        assert!(same("Sa\u{303}o Paulo", "São Paulo"));
        assert!(same("QUE\u{301}BEC", "québec"));
        assert!(same("Ha\u{300} No\u{302}\u{323}i", "Hà Nội"));
        assert_eq!(clean("Zu\u{308}rich"), "Zürich");
        assert!(same("İstanbul", "I\u{307}STANBUL"));
        // The dot stays: I and İ are different letters in Turkish.
        assert!(!same("İstanbul", "Istanbul"));
    }

    #[test]
    fn the_most_frequent_mixed_case_spelling_is_shown() {
        assert_eq!(shown_of(&[("mcallen", 9), ("McAllen", 2), ("Mcallen", 1), ("MCALLEN", 9)]), "McAllen");
        assert_eq!(shown_of(&[("Baltimore ", 1), ("baltimore", 5)]), "Baltimore");
        assert_eq!(shown_of(&[("B b", 1), ("b B", 1)]), "B b");
    }

    #[test]
    fn a_name_that_is_all_lower_or_all_upper_case_is_shown_in_title_case() {
        for (name, shown) in [
            ("baltimore", "Baltimore"),
            ("SÃO PAULO", "São Paulo"),
            ("winston-salem", "Winston-Salem"),
            ("coeur d'alene", "Coeur D'alene"),
            ("'s-hertogenbosch", "'S-Hertogenbosch"),
            ("ŁÓDŹ", "Łódź"),
            ("ΑΘΉΝΑΣ", "Αθήνας"),
            ("ǆakovo", "ǅakovo"),
            ("İSTANBUL", "İstanbul"),
            ("i\u{307}stanbul", "İstanbul"),
            ("ısparta", "ısparta"),
            ("ISPARTA", "Isparta"),
            ("東京", "東京"),
            ("القاهرة", "القاهرة"),
            ("1770", "1770"),
            ("", ""),
        ] {
            assert_eq!(shown_of(&[(name, 1)]), shown);
        }
    }

    proptest! {
        #[test]
        fn cleaning_is_idempotent(name in "\\PC{0,12}[ \u{a0}e\u{301}İßǆ]{0,4}\\PC{0,4}") {
            let once = clean(&name);
            prop_assert_eq!(clean(&once), once.clone());
            let key_of_once = key(once.clone());
            prop_assert_eq!(key(clean(&key_of_once)), key_of_once.clone());
        }

        #[test]
        fn the_name_shown_for_a_city_belongs_to_the_same_city(name in "[ıiİI]?\\PC{1,12}") {
            let cleaned = clean(&name);
            let shown = shown(std::iter::once((cleaned.as_ref(), 1)));
            prop_assert_eq!(clean(&shown), shown.as_str());
            prop_assert_eq!(key(clean(&shown)), key(cleaned.clone()));
        }
    }
}
