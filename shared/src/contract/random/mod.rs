//! Random events of a stream, made from its contract: valid, plausible where the contract tells what is meant, and as
//! untidy as what the world sends.

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

use crate::clock::Clock;

use super::{Contract, Mode};
use changes::Table;
use generate::{Generator, SchemaId};
use plausible::Hints;

/// How often a valid event is tried for.
const TRIES: usize = 200;
/// Makes [`Contract::check`] look for U+0000, which it else does only if the text has it escaped.
const ESCAPED_NUL: &[u8] = b"\\u0000";

/// Why there is no random event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream {stream}: no valid event was found in {TRIES} tries: {reason}")]
pub struct NoEvent {
    /// The stream.
    pub stream: String,
    /// What was wrong with the last try.
    pub reason: String,
}

/// Makes random events of one stream. The same seed and clock give the same events.
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
    /// Random events of the contract's stream, with times before the clock's.
    pub fn new(contract: Arc<Contract>, clock: Clock) -> Self {
        let mut generator = Generator::new(contract.document.clone());
        let any = generator.schema(json!({"$ref": "#"}));
        let create = matches!(contract.mode, Mode::Entity(_)).then(|| {
            let create = json!({"properties": {"op": {"const": "create"}}});
            generator.schema(json!({"allOf": [{"$ref": "#"}, create]}))
        });
        let hints = Hints::of(&contract);
        let table = match &contract.mode {
            Mode::Changes(changes) => Some(Table::of(changes)),
            Mode::Append { .. } | Mode::Upsert { .. } | Mode::Entity(_) => None,
        };
        Self { contract, clock, generator, any, create, hints, table }
    }

    /// Names the parents that entities may belong to. With none, each entity belongs to a parent of a random name.
    #[must_use]
    pub fn with_parents(mut self, parents: Vec<String>) -> Self {
        self.hints.parents = parents;
        self
    }

    /// The next event: it passes [`Contract::check`].
    ///
    /// # Errors
    /// No valid event was found, since the schema allows none, or only such as random tries do not hit.
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
            // Creates as a rule, but a contract may do without them.
            let schema = self.create.filter(|_| attempt < TRIES / 2).unwrap_or(self.any);
            let Ok(event) = self.generator.value(schema, now_ms, rng) else { continue };
            match self.dressed(event, now_ms, rng) {
                Ok(event) => return Ok(event),
                Err(wrong) => reason = wrong,
            }
        }
        Err(NoEvent { stream: self.contract.stream.clone(), reason })
    }

    /// The event with plausible values, as far as the contract lets it have them.
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
        self.contract.check(ESCAPED_NUL, event, &mut Vec::new()).map_err(|violations| {
            violations
                .first()
                .map(|violation| format!("{} {}", violation.pointer, violation.detail))
                .unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests;
