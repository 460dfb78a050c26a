//! Compares the spelling of names, to find the name that a misspelt one probably means.

/// How two spellings differ. Upper and lower case, `_` and `-` are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Misspelling {
    /// They do not differ.
    Nothing,
    /// Two neighbouring letters are swapped.
    Swap,
    /// One letter is added, missing or different.
    Letter,
    /// They differ by two edits.
    TwoEdits,
    /// They differ by more edits.
    More,
}

impl Misspelling {
    /// Compares two spellings. A swap of neighbouring letters is one edit.
    pub(super) fn between(a: &str, b: &str) -> Self {
        let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
        let (a, b) = (plain(a), plain(b));
        match strsim::osa_distance(&a, &b) {
            0 => Self::Nothing,
            1 if sorted(&a) == sorted(&b) => Self::Swap,
            1 => Self::Letter,
            2 => Self::TwoEdits,
            _ => Self::More,
        }
    }
}

fn sorted(text: &str) -> Vec<char> {
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters
}

/// Returns the name that `written` probably means: the most similar one, if it differs by at most one edit.
pub(super) fn nearest<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let compared = names.into_iter().map(|name| (Misspelling::between(written, name), name));
    let near = compared.filter(|(misspelling, _)| *misspelling <= Misspelling::Letter);
    near.min_by_key(|(misspelling, _)| *misspelling).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_differs_by_at_most_one_edit() {
        let names = ["uri", "uuid", "date", "date-time"];
        for (written, expected) in [
            ("datetime", Some("date-time")),
            ("Date_Time", Some("date-time")),
            ("dtae", Some("date")),
            ("dates", Some("date")),
            ("url", Some("uri")),
            ("daet-tiem", None),
            ("phone", None),
        ] {
            assert_eq!(nearest(written, names), expected, "{written}");
        }
    }

    #[test]
    fn a_swap_is_not_taken_for_a_wrong_letter() {
        for (written, expected) in [
            ("enum", Misspelling::Nothing),
            ("enmu", Misspelling::Swap),
            ("enom", Misspelling::Letter),
            ("enu", Misspelling::Letter),
            ("muen", Misspelling::More),
            ("eno", Misspelling::TwoEdits),
            ("name", Misspelling::More),
        ] {
            assert_eq!(Misspelling::between(written, "enum"), expected, "{written}");
        }
    }
}
