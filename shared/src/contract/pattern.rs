//! Converts a contract's pattern to an automaton, or says why the pattern cannot be used.

use std::borrow::Cow;

use jsonschema_regex::to_rust_regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// A nondeterministic automaton (Thompson's construction). It accepts the strings that contain a match of the pattern.
#[derive(Debug, Default)]
pub(super) struct Automaton {
    pub(super) states: Vec<State>,
    pub(super) start: usize,
}

/// A state, with the indexes of the states that may follow it.
#[derive(Debug)]
pub(super) enum State {
    /// The string contains a match.
    Match,
    /// Goes on to any of these states without reading a character.
    Either(Vec<usize>),
    /// Goes on after reading a character that is in one of the ranges.
    Character(Vec<(char, char)>, usize),
    /// Goes on only at the string's start.
    Start(usize),
    /// Goes on only at the string's end.
    End(usize),
}

impl Automaton {
    /// The maximum number of states. A larger automaton is not built.
    const MOST_STATES: usize = 20_000;

    /// Builds the automaton of a contract's pattern, which may match anywhere in the string. Returns `None` if the
    /// pattern cannot be parsed or needs too many states.
    pub(super) fn search(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::parse(&to_rust_regex(pattern).ok()?).ok()?;
        let mut automaton = Self::default();
        let end = automaton.add(State::Match)?;
        let suffix = automaton.repeat_any(end)?;
        let pattern = automaton.build(&hir, suffix)?;
        automaton.start = automaton.repeat_any(pattern)?;
        Some(automaton)
    }

    fn add(&mut self, state: State) -> Option<usize> {
        self.states.push(state);
        (self.states.len() <= Self::MOST_STATES).then(|| self.states.len() - 1)
    }

    /// Adds states that read any number of characters and then go on to `next`. Returns the first of these states.
    fn repeat_any(&mut self, next: usize) -> Option<usize> {
        let repeat = self.add(State::Either(vec![next]))?;
        let any = self.add(State::Character(vec![('\0', char::MAX)], repeat))?;
        self.states[repeat] = State::Either(vec![next, any]);
        Some(repeat)
    }

    /// Adds states that read a match of `hir` and then go on to `next`. Returns the first of these states.
    fn build(&mut self, hir: &Hir, next: usize) -> Option<usize> {
        match hir.kind() {
            HirKind::Empty => Some(next),
            HirKind::Literal(literal) => {
                let text = std::str::from_utf8(&literal.0).ok()?;
                text.chars().rev().try_fold(next, |next, c| self.add(State::Character(vec![(c, c)], next)))
            }
            HirKind::Class(Class::Unicode(class)) => {
                let ranges = class.ranges().iter().map(|range| (range.start(), range.end())).collect();
                self.add(State::Character(ranges, next))
            }
            HirKind::Class(Class::Bytes(class)) => {
                let range =
                    |range: &regex_syntax::hir::ClassBytesRange| (char::from(range.start()), char::from(range.end()));
                self.add(State::Character(class.ranges().iter().map(range).collect(), next))
            }
            HirKind::Look(Look::Start) => self.add(State::Start(next)),
            HirKind::Look(Look::End) => self.add(State::End(next)),
            HirKind::Look(_) => Some(next),
            HirKind::Capture(capture) => self.build(&capture.sub, next),
            HirKind::Concat(parts) => parts.iter().rev().try_fold(next, |next, part| self.build(part, next)),
            HirKind::Alternation(parts) => {
                let starts = parts.iter().map(|part| self.build(part, next)).collect::<Option<Vec<_>>>()?;
                self.add(State::Either(starts))
            }
            HirKind::Repetition(repetition) => {
                let mut first = match repetition.max {
                    None => {
                        let repeat = self.add(State::Either(vec![next]))?;
                        let body = self.build(&repetition.sub, repeat)?;
                        self.states[repeat] = State::Either(vec![next, body]);
                        repeat
                    }
                    Some(max) => (repetition.min..max).try_fold(next, |first, _| {
                        let body = self.build(&repetition.sub, first)?;
                        self.add(State::Either(vec![next, body]))
                    })?,
                };
                for _ in 0..repetition.min {
                    first = self.build(&repetition.sub, first)?;
                }
                Some(first)
            }
        }
    }
}

/// Says in a few words why a pattern cannot be used. `pattern` is one that `jsonschema` refuses to compile.
pub(super) fn fault(pattern: &str) -> String {
    use regex_syntax::Error;
    let translated = to_rust_regex(pattern).unwrap_or(Cow::Borrowed(pattern));
    match regex_syntax::parse(&translated) {
        Err(Error::Parse(error)) => error.kind().to_string(),
        Err(Error::Translate(error)) => error.kind().to_string(),
        // The enum is non-exhaustive, but has no other variants so far.
        Err(_) => "it is not a regular expression".to_owned(),
        // The syntax is right, so the compiled pattern must exceed the limit on its size.
        Ok(_) => "it becomes too large when it is compiled; use smaller numbers of repetitions".to_owned(),
    }
}
