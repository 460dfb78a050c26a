//! Generates a value from a schema's alternatives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, RngExt as _};
use serde_json::{Map, Value, json};

use super::expand::alternatives;
use super::shape::{Shape, Types, same};
use super::text::{Texts, untidy};
use super::{number, shape};

/// Arrays and objects that are nested more deeply than `DEEP` have as few elements and members as the schema allows. No
/// values are nested more deeply than `TOO_DEEP`.
const DEEP: usize = 5;
const TOO_DEEP: usize = 24;
/// The maximum number of values generated for one event, including dead ends.
const BUDGET: usize = 20_000;
const MORE_ELEMENTS: usize = 4;
const TRIES: usize = 24;

/// No value was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadEnd;

/// Generates values of a document's schemas. Each schema is read once, on its first use.
#[derive(Debug)]
pub(super) struct Generator {
    document: Value,
    schemas: Vec<Schema>,
    by_text: HashMap<String, SchemaId>,
    texts: Texts,
    budget: usize,
    now_ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SchemaId(usize);

#[derive(Debug)]
struct Schema {
    keywords: Value,
    alternatives: Option<Arc<[Alternative]>>,
}

/// A shape, with the combined schemas of its members and elements.
#[derive(Debug)]
struct Alternative {
    shape: Shape,
    members: Vec<(String, SchemaId)>,
    prefix: Vec<SchemaId>,
    rest: SchemaId,
}

impl Generator {
    pub(super) fn new(document: Value) -> Self {
        let (schemas, by_text) = (Vec::new(), HashMap::new());
        Self { document, schemas, by_text, texts: Texts::default(), budget: 0, now_ms: 0 }
    }

    /// Registers a schema whose references point into the document.
    pub(super) fn schema(&mut self, keywords: Value) -> SchemaId {
        *self.by_text.entry(keywords.to_string()).or_insert_with(|| {
            self.schemas.push(Schema { keywords, alternatives: None });
            SchemaId(self.schemas.len() - 1)
        })
    }

    /// Generates a value of a schema, as far as this module understands the schema.
    pub(super) fn value(&mut self, schema: SchemaId, now_ms: i64, rng: &mut dyn Rng) -> Result<Value, DeadEnd> {
        self.budget = BUDGET;
        self.now_ms = now_ms;
        self.at(schema, 0, rng)
    }

    fn at(&mut self, schema: SchemaId, depth: usize, rng: &mut dyn Rng) -> Result<Value, DeadEnd> {
        self.budget = self.budget.checked_sub(1).ok_or(DeadEnd)?;
        if depth > TOO_DEEP {
            return Err(DeadEnd);
        }
        let alternatives = self.alternatives(schema);
        let mut order: Vec<&Alternative> = alternatives.iter().collect();
        order.shuffle(rng);
        order.into_iter().find_map(|alternative| self.of(alternative, depth, rng)).ok_or(DeadEnd)
    }

    fn alternatives(&mut self, SchemaId(index): SchemaId) -> Arc<[Alternative]> {
        if let Some(known) = &self.schemas[index].alternatives {
            return Arc::clone(known);
        }
        let shapes = alternatives(&self.document, &self.schemas[index].keywords);
        let read: Arc<[Alternative]> = shapes.into_iter().filter_map(|shape| self.alternative(shape)).collect();
        self.schemas[index].alternatives = Some(Arc::clone(&read));
        read
    }

    fn alternative(&mut self, shape: Shape) -> Option<Alternative> {
        let named = shape.members.iter().flat_map(|members| members.properties.keys());
        let names: BTreeSet<String> = named.chain(&shape.required).cloned().collect();
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let schema = self.member(&shape, &name);
            if schema != Value::Bool(false) {
                members.push((name, self.schema(schema)));
            } else if shape.required.contains(&name) {
                return None;
            }
        }
        let prefixes = shape.elements.iter().map(|elements| elements.prefix.len()).max().unwrap_or(0);
        let prefix = (0..prefixes).map(|index| self.schema(element(&shape, index))).collect();
        let rest = self.schema(element(&shape, usize::MAX));
        Some(Alternative { shape, members, prefix, rest })
    }

    /// Returns the schema of a member with this name.
    fn member(&mut self, shape: &Shape, name: &str) -> Value {
        let mut schemas = Vec::new();
        for members in &shape.members {
            let named = members.properties.get(name);
            let by_pattern = members.patterns.iter().filter(|(pattern, _)| self.texts.matches(pattern, name));
            let known = schemas.len();
            schemas.extend(named.into_iter().chain(by_pattern.map(|(_, schema)| schema)).cloned());
            if schemas.len() == known {
                schemas.push(members.additional.clone());
            }
        }
        together(schemas)
    }

    fn of(&mut self, alternative: &Alternative, depth: usize, rng: &mut dyn Rng) -> Option<Value> {
        let shape = &alternative.shape;
        if let Some(allowed) = &shape.allowed {
            let fit: Vec<&Value> = allowed.iter().filter(|value| shape.may_be(value)).collect();
            return fit.choose(rng).map(|value| (*value).clone());
        }
        let weight = |types: &Types| weight(shape, *types, depth);
        let mut kinds: Vec<Types> = Types::EACH.into_iter().filter(|types| weight(types) > 0).collect();
        while let Ok(kind) = kinds.choose_weighted(rng, weight).copied() {
            for _ in 0..TRIES {
                let Some(value) = self.of_type(kind, alternative, depth, rng) else { break };
                if !shape.excluded.iter().any(|other| same(other, &value)) {
                    return Some(value);
                }
            }
            kinds.retain(|other| *other != kind);
        }
        None
    }

    fn of_type(&mut self, kind: Types, alternative: &Alternative, depth: usize, rng: &mut dyn Rng) -> Option<Value> {
        match kind {
            Types::NULL => Some(Value::Null),
            Types::BOOLEAN => Some(Value::Bool(rng.random())),
            Types::INTEGER => number::integer(&alternative.shape, rng),
            Types::FRACTION => number::fraction(&alternative.shape, rng),
            Types::STRING => self.texts.text(&alternative.shape, self.now_ms, rng).map(Value::String),
            Types::ARRAY => self.array(alternative, depth, rng).map(Value::Array),
            _ => self.object(alternative, depth, rng).map(Value::Object),
        }
    }

    fn array(&mut self, alternative: &Alternative, depth: usize, rng: &mut dyn Rng) -> Option<Vec<Value>> {
        let shape = &alternative.shape;
        let required: Vec<Value> = shape
            .contains
            .iter()
            .flat_map(|contains| std::iter::repeat_n(contains.schema.clone(), contains.at_least))
            .collect();
        let shape::Range { min, max } = shape.items;
        let least = min.max(required.len());
        let most = max.min(least.max(alternative.prefix.len()) + if depth > DEEP { 0 } else { MORE_ELEMENTS });
        let length = match most {
            _ if least > most => return None,
            _ if depth > DEEP => least,
            most => rng.random_range(least..=most),
        };
        let mut first: Vec<Option<Value>> = required.into_iter().map(Some).collect();
        first.resize(length.max(first.len()), None);
        if alternative.prefix.is_empty() {
            first.shuffle(rng);
        }
        let mut elements: Vec<Value> = Vec::with_capacity(length);
        for (index, contained) in first.into_iter().enumerate() {
            let plain = alternative.prefix.get(index).copied().unwrap_or(alternative.rest);
            let schema = match contained {
                Some(contained) => self.schema(together(vec![element(shape, index), contained])),
                None => plain,
            };
            let mut drawn = None;
            for _ in 0..TRIES {
                let Ok(value) = self.at(schema, depth + 1, rng) else { break };
                if !shape.unique || !elements.iter().any(|other| same(other, &value)) {
                    drawn = Some(value);
                    break;
                }
            }
            match drawn {
                Some(value) => elements.push(value),
                None if elements.len() >= least => break,
                None => return None,
            }
        }
        Some(elements)
    }

    fn object(&mut self, alternative: &Alternative, depth: usize, rng: &mut dyn Rng) -> Option<Map<String, Value>> {
        let shape = &alternative.shape;
        let of: BTreeMap<&str, SchemaId> = alternative.members.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        let mut object = Map::new();
        let mut wanted: Vec<&str> = shape.required.iter().map(String::as_str).collect();
        while let Some(name) = wanted.pop() {
            if object.contains_key(name) {
                continue;
            }
            let schema = match of.get(name) {
                Some(schema) => *schema,
                None => {
                    let schema = self.member(shape, name);
                    self.schema(schema)
                }
            };
            object.insert(name.to_owned(), self.at(schema, depth + 1, rng).ok()?);
            wanted.extend(dependents(shape, name));
        }
        let mut optional: Vec<(&str, SchemaId)> = of.into_iter().collect();
        optional.shuffle(rng);
        for (name, schema) in optional {
            let others: Vec<&str> = dependents(shape, name).filter(|other| !object.contains_key(*other)).collect();
            let chance = if depth > DEEP { 0.0 } else { 0.75 };
            let is_wanted = object.len() < shape.properties.min || rng.random_bool(chance);
            if !is_wanted || object.len() >= shape.properties.max || object.contains_key(name) || !others.is_empty() {
                continue;
            }
            if let Ok(value) = self.at(schema, depth + 1, rng) {
                object.insert(name.to_owned(), value);
            }
        }
        let has_patterns = shape.members.iter().any(|members| !members.patterns.is_empty());
        let more = if has_patterns && depth <= DEEP { rng.random_range(0..=2) } else { 0 };
        let least = shape.properties.min.max((object.len() + more).min(shape.properties.max));
        for _ in 0..TRIES * least {
            if object.len() >= least {
                break;
            }
            if let Some((name, value)) = self.further_member(shape, depth, rng) {
                object.entry(name).or_insert(value);
            }
        }
        (object.len() >= shape.properties.min).then_some(object)
    }

    /// Generates a member with an invented name rather than a name taken from the schema's `properties`. The name
    /// follows the schema's rules for names and usually one of its patterns for names. Returns `None` if no name or no
    /// value is found.
    fn further_member(&mut self, shape: &Shape, depth: usize, rng: &mut dyn Rng) -> Option<(String, Value)> {
        let patterns: Vec<&String> =
            shape.members.iter().flat_map(|members| members.patterns.iter().map(|(pattern, _)| pattern)).collect();
        let mut rules = shape.names.clone();
        rules.extend(patterns.choose(rng).filter(|_| rng.random_bool(0.8)).map(|pattern| json!({"pattern": pattern})));
        let name = if rules.is_empty() {
            untidy(shape::Range { min: 1, max: 16 }, rng)
        } else {
            rules.push(json!({"type": "string"}));
            let names = self.schema(together(rules));
            self.at(names, depth + 1, rng).ok()?.as_str()?.to_owned()
        };
        let schema = self.member(shape, &name);
        let schema = self.schema(schema);
        Some((name, self.at(schema, depth + 1, rng).ok()?))
    }
}

/// Returns how likely a type is to be chosen. The weight is 0 if the shape does not include the type.
fn weight(shape: &Shape, types: Types, depth: usize) -> u32 {
    let is_leaf = !matches!(types, Types::ARRAY | Types::OBJECT);
    match types {
        _ if !shape.types.include(types) => 0,
        Types::NULL => 1,
        _ if shape.constrained.include(types) => 40,
        _ if is_leaf || depth > DEEP => 6,
        _ => 2,
    }
}

fn dependents<'s>(shape: &'s Shape, name: &str) -> impl Iterator<Item = &'s str> {
    let of_name = shape.dependents.iter().filter(move |(of, _)| *of == name);
    of_name.flat_map(|(_, others)| others.iter().map(String::as_str)).collect::<Vec<_>>().into_iter()
}

/// Returns the schema of the element at an index.
fn element(shape: &Shape, index: usize) -> Value {
    together(shape.elements.iter().map(|e| e.prefix.get(index).unwrap_or(&e.rest).clone()).collect())
}

/// Combines these schemas into one.
fn together(mut schemas: Vec<Value>) -> Value {
    if schemas.contains(&Value::Bool(false)) {
        return Value::Bool(false);
    }
    schemas.retain(|schema| *schema != Value::Bool(true));
    match schemas.len() {
        0 => Value::Bool(true),
        1 => schemas.swap_remove(0),
        _ => json!({"allOf": schemas}),
    }
}
