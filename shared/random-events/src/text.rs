//! Generates random texts: by pattern, by format, or freely, as untidy as real data.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};

use super::format;
use super::shape::{Range, Shape};

/// The parts of free texts: ordinary words, and strings that often cause errors in programs. PostgreSQL can store all
/// of them.
const WORDS: &[&str] = &[
    "Zürich",
    "São Paulo",
    "naïve",
    "O'Brien",
    "\"quoted\"",
    "日本",
    "Ελλάδα",
    "Москва",
    "العربية",
    "🌍",
    "👩‍👩‍👧",
    "e\u{301}",
    "back\\slash",
    "100%",
    "<b>bold</b>",
    "null",
    "a,b;c",
    "tab\tbed",
    "two\nlines",
    "--",
    "$1",
    "{}",
    "ß",
    "İstanbul",
    "northern",
    "Light",
    "WATER",
    "seven",
    "Holland",
    "garden",
    "O",
    "x",
    "1e400",
    "\u{feff}mark",
    "'; drop table",
    "nbsp\u{a0}",
    "rtl\u{200f}",
];
/// The maximum length of a free text in characters, unless its schema requires more.
const USUAL_LENGTH: usize = 32;
const TRIES: usize = 256;
/// How often a repetition without a limit, such as `*`, may repeat. Attempts cycle through those of these limits that
/// allow a text of the required length, with [`TURN`] attempts for each limit.
const REPEATS: [u32; 6] = [6, 12, 25, 50, 100, 300];
const TURN: usize = 16;

/// Generates texts, and caches compiled patterns.
#[derive(Debug, Default)]
pub(super) struct Texts {
    patterns: HashMap<String, Arc<Pattern>>,
}

#[derive(Debug)]
struct Pattern {
    matches: Option<Validator>,
    samples: Vec<rand_regex::Regex>,
    is_anchored_at_end: bool,
}

impl Texts {
    /// Returns a text of the shape, or `None` if none was found.
    pub(super) fn text(&mut self, shape: &Shape, now_ms: i64, rng: &mut dyn Rng) -> Option<String> {
        if shape.length.min > shape.length.max {
            return None;
        }
        let patterns: Vec<Arc<Pattern>> = shape.patterns.iter().map(|pattern| self.pattern(pattern)).collect();
        if patterns.is_empty() && shape.formats.is_empty() {
            return Some(untidy(shape.length, rng));
        }
        for attempt in 0..TRIES {
            let text = match (shape.formats.first(), patterns.choose(rng)) {
                (Some(format), None) => format::text(format, now_ms, rng).unwrap_or_else(|| untidy(shape.length, rng)),
                (Some(format), Some(_)) if attempt.is_multiple_of(2) => format::text(format, now_ms, rng)?,
                (_, Some(pattern)) => pattern.text(shape.length, attempt, rng),
                (None, None) => untidy(shape.length, rng),
            };
            let is_fit = shape.length.includes(text.chars().count())
                && !text.contains('\0')
                && (attempt > TRIES / 2
                    || !patterns.iter().any(|p| p.is_anchored_at_end)
                    || !text.contains(char::is_control))
                && patterns.iter().all(|pattern| pattern.matches(&text));
            if is_fit {
                return Some(text);
            }
        }
        None
    }

    /// Returns whether a member's name matches a pattern.
    pub(super) fn matches(&mut self, pattern: &str, name: &str) -> bool {
        self.pattern(pattern).matches(name)
    }

    fn pattern(&mut self, pattern: &str) -> Arc<Pattern> {
        if let Some(known) = self.patterns.get(pattern) {
            return Arc::clone(known);
        }
        let compiled = Arc::new(Pattern::compile(pattern));
        self.patterns.insert(pattern.to_owned(), Arc::clone(&compiled));
        compiled
    }
}

impl Pattern {
    fn compile(pattern: &str) -> Self {
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(&json!({"pattern": pattern}));
        let readable = readable(pattern);
        let compile = |repeats| rand_regex::Regex::compile(&readable, repeats).ok();
        Self {
            matches: validator.ok(),
            samples: REPEATS.into_iter().filter_map(compile).collect(),
            is_anchored_at_end: pattern.ends_with('$'),
        }
    }

    fn matches(&self, text: &str) -> bool {
        // If the pattern could not be compiled, every text counts as a match here. The whole event is checked later.
        self.matches.as_ref().is_none_or(|validator| validator.is_valid(&Value::from(text)))
    }

    fn text(&self, length: Range, attempt: usize, rng: &mut dyn Rng) -> String {
        // A pattern that does not end with `$` also matches longer texts, so it does not limit the length.
        let can_do = |sample: &&rand_regex::Regex| !self.is_anchored_at_end || sample.capacity() >= length.min;
        let samples: Vec<&rand_regex::Regex> = self.samples.iter().filter(can_do).collect();
        let sample = samples.get(attempt / TURN % samples.len().max(1)).copied();
        match sample {
            Some(sample) if self.is_anchored_at_end || !attempt.is_multiple_of(4) => {
                let text: Result<String, _> = rng.sample(sample);
                let mut text = text.unwrap_or_default();
                let missing = length.min.saturating_sub(text.chars().count());
                if missing > 0 && !self.is_anchored_at_end {
                    text += &untidy(Range { min: missing, max: missing }, rng);
                }
                text
            }
            _ => untidy(length, rng),
        }
    }
}

/// Generates a free text.
pub(super) fn untidy(length: Range, rng: &mut dyn Rng) -> String {
    let most = length.max.min(length.min.max(USUAL_LENGTH));
    let wanted = rng.random_range(length.min..=most);
    let mut text = String::new();
    while text.chars().count() < wanted {
        if !text.is_empty() {
            text.push_str(if rng.random_bool(0.1) { "  " } else { " " });
        }
        text.push_str(WORDS.choose(rng).copied().unwrap_or("x"));
    }
    text.chars().take(wanted).collect()
}

/// Returns the pattern without anchors, which the generator does not support, and with classes narrowed to common
/// characters. Generated texts are checked against the original pattern.
fn readable(pattern: &str) -> String {
    let mut readable = String::with_capacity(pattern.len());
    let (mut in_class, mut chars) = (false, pattern.chars());
    while let Some(c) = chars.next() {
        match (c, in_class) {
            ('\\', _) => match chars.next() {
                Some('d') => readable.push_str("[0-9]"),
                Some('w') => readable.push_str("[0-9A-Za-z_]"),
                Some('s') => readable.push_str("[ ]"),
                Some('S') => readable.push_str("[!-~À-ÖØ-öø-ÿ]"),
                Some('b' | 'B') if !in_class => {}
                Some(other) => readable.extend(['\\', other]),
                None => {}
            },
            ('^' | '$', false) => {}
            ('.', false) => readable.push_str("[ -~À-ÖØ-öø-ÿ]"),
            // Within a class, `[` is an operator in Rust's engine, but a plain character in ECMA-262.
            ('[', true) => readable.push_str("\\["),
            ('[', false) => {
                in_class = true;
                readable.push('[');
            }
            (']', true) => {
                in_class = false;
                readable.push(']');
            }
            _ => readable.push(c),
        }
    }
    readable
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn a_text_matches_its_patterns_and_its_length() {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        let mut texts = Texts::default();
        for schema in [
            json!({"pattern": "\\S", "minLength": 1, "maxLength": 3}),
            json!({"pattern": "^[A-Z]{2}-\\d{4}$"}),
            json!({"pattern": "^a+$", "minLength": 30, "maxLength": 35}),
            json!({"pattern": "b", "minLength": 200, "maxLength": 200}),
            json!({"pattern": "^(foo|ba[rz])(\\.\\w+)*$"}),
            json!({"pattern": "^[^,]+,[\\d\\s.-]+$"}),
            json!({"format": "email", "pattern": "@example\\.org$"}),
        ] {
            let validator = jsonschema::validator_for(&schema);
            let shape = Shape::read(schema.as_object().unwrap_or(&serde_json::Map::new()));
            for _ in 0..100 {
                let text = texts.text(&shape, 0, &mut rng).map(Value::from).unwrap_or_default();
                assert!(validator.as_ref().is_ok_and(|v| text.is_string() && v.is_valid(&text)), "{schema}: {text}");
            }
        }
    }

    #[test]
    fn an_impossible_text_is_not_generated() {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        let shape = |schema: Value| Shape::read(schema.as_object().unwrap_or(&serde_json::Map::new()));
        let too_long = shape(json!({"pattern": "^abc$", "minLength": 4}));
        assert_eq!(Texts::default().text(&too_long, 0, &mut rng), None);
    }
}
