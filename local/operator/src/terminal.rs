//! Writes messages for the person at the terminal, line by line. Results go to standard output; problems and logs go to
//! standard error.
//!
//! Messages may quote events, which anyone may have written. Therefore, characters that control a terminal or change
//! the writing direction are printed as escapes.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write as _;

/// Prints a line.
pub fn say(line: impl Display) {
    // Writing fails once the program that reads the output has ended, as `head` does after ten lines. The failure
    // cannot be reported anywhere.
    let _unheard = writeln!(std::io::stdout().lock(), "{}", harmless(&line.to_string()));
}

/// Prints a line about a problem to standard error.
pub fn complain(line: impl Display) {
    let _unheard = writeln!(std::io::stderr().lock(), "{}", harmless(&line.to_string()));
}

fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_bidi_control(c);
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| if is_harmful(c) { c.escape_unicode().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

/// Returns whether a character changes the writing direction (`Bidi_Control` in Unicode's PropList.txt).
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        assert_eq!(harmless("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(harmless("\u{9b}31m \u{1b}[2J \u{202e}x"), "\\u{9b}31m \\u{1b}[2J \\u{202e}x");
    }
}
