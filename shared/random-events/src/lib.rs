//! Generates random events of a stream from its contract. The events are valid and as untidy as real data. Where the
//! contract shows what a value means, the value is plausible.
//!
//! [`RandomEvents`] expands the contract's JSON Schema into alternatives (`expand`), each described by a `Shape`
//! (`shape`), and generates a value of one alternative (`generate`, `text`, `number`, `format`). If a column's name or
//! type shows what its values mean, the value for that column is then replaced with a plausible one (`plausible`).
//! Streams in mode `changes` have a separate generator (`changes`). Every event passes [`Contract::check`] before it is
//! returned.
//!
//! `ingest` uses this crate for `/submit`, and `local` for `send` and the benchmarks.

mod changes;
mod expand;
mod format;
mod generate;
mod number;
mod plausible;
mod shape;
mod text;

use std::sync::Arc;

use rand::Rng;
use serde_json::{Value, json};
use shared::contract::{Contract, Mode};
use shared::process::clock::Clock;

use changes::Table;
use generate::{Generator, SchemaId};
use plausible::Hints;

/// The maximum number of attempts to generate a valid event.
const TRIES: usize = 200;
/// The JSON escape of U+0000. [`Contract::check`] looks for U+0000 only if the event's text contains this escape. A
/// random event has no text yet. The escape is passed in place of the text, so that the check always looks for U+0000.
const ESCAPED_NUL: &[u8] = b"\\u0000";

/// No valid event was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream}: no valid event was found in {TRIES} tries: {reason}")]
pub struct NoEvent {
    /// The stream.
    pub stream: String,
    /// What was wrong with the last generated event, or that the schema seems to allow no value.
    pub reason: String,
}

/// Generates random events of one stream. The same seed and clock give the same events.
#[derive(Debug)]
pub struct RandomEvents {
    contract: Arc<Contract>,
    clock: Clock,
    generator: Generator,
    any: SchemaId,
    create: Option<SchemaId>,
    hints: Hints,
    table: Option<Table>,
}

impl RandomEvents {
    /// Creates a generator for the contract's stream. The events' times are earlier than the clock's.
    pub fn new(contract: Arc<Contract>, clock: Clock) -> Self {
        let mut generator = Generator::new(contract.document.clone());
        let any = generator.schema(json!({"$ref": "#"}));
        let create = matches!(contract.mode, Mode::Entity(_)).then(|| {
            let create = json!({"properties": {"op": {"const": "create"}}});
            generator.schema(json!({"allOf": [{"$ref": "#"}, create]}))
        });
        let hints = Hints::from_columns(&contract);
        let table = match &contract.mode {
            Mode::Changes(changes) => Some(Table::allowed_by(changes)),
            Mode::Append { .. } | Mode::Upsert { .. } | Mode::Entity(_) => None,
        };
        Self { contract, clock, generator, any, create, hints, table }
    }

    /// Sets the parents that entities may belong to. If `parents` is empty, each entity's parent has a random name.
    #[must_use]
    pub fn with_parents(mut self, parents: Vec<String>) -> Self {
        self.hints.parents = parents;
        self
    }

    /// Generates the next event, which passes [`Contract::check`].
    ///
    /// # Errors
    /// No valid event was found: the schema allows no event, or so few that random tries miss them.
    pub fn event(&mut self, rng: &mut impl Rng) -> Result<Value, NoEvent> {
        self.draw(rng)
    }

    fn draw(&mut self, rng: &mut dyn Rng) -> Result<Value, NoEvent> {
        let now_ms = self.clock.now_ms();
        let mut reason = "the schema seems to allow no value".to_owned();
        for attempt in 0..TRIES {
            if let Some(table) = &mut self.table
                && attempt == 0
            {
                let event = table.change(now_ms, rng);
                if self.check(&event).is_ok() {
                    return Ok(event);
                }
            }
            // Only the first half of the attempts is limited to `create` commands, because some contracts allow no such
            // commands.
            let schema = self.create.filter(|_| attempt < TRIES / 2).unwrap_or(self.any);
            let Ok(event) = self.generator.value(schema, now_ms, rng) else { continue };
            match self.dressed(event, now_ms, rng) {
                Ok(event) => return Ok(event),
                Err(wrong) => reason = wrong,
            }
        }
        Err(NoEvent { stream: self.contract.stream.clone(), reason })
    }

    /// Replaces values with plausible ones where the contract allows it.
    fn dressed(&self, event: Value, now_ms: i64, rng: &mut dyn Rng) -> Result<Value, String> {
        let all = self.hints.suggest(&event, now_ms, rng);
        let mut dressed = event.clone();
        for suggestion in &all {
            suggestion.apply(&mut dressed);
        }
        if self.check(&dressed).is_ok() {
            return Ok(dressed);
        }
        let mut dressed = event;
        let mut verdict = self.check(&dressed);
        for suggestion in &all {
            let mut next = dressed.clone();
            suggestion.apply(&mut next);
            let next_verdict = self.check(&next);
            if next_verdict.is_ok() || verdict.is_err() {
                (dressed, verdict) = (next, next_verdict);
            }
        }
        verdict.map(|()| dressed)
    }

    fn check(&self, event: &Value) -> Result<(), String> {
        self.contract.check(ESCAPED_NUL, event, None, &mut Vec::new()).map_err(|violations| {
            violations
                .first()
                .map(|violation| format!("{} {}", violation.pointer, violation.detail))
                .unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests;
