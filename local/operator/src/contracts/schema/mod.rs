//! Decides whether a new schema accepts everything that an old schema accepts. A "yes" is always right. A "no" may be
//! wrong: if the comparison cannot show that a keyword of the new schema accepts everything, it assumes that the
//! keyword rejects something.
//!
//! The old schema is split into alternatives. Each alternative is a list of schemas that apply together. For each
//! alternative, each keyword of the new schema has obligations: the conditions under which the keyword accepts
//! everything that the alternative accepts.
//!
//! - `obligation`: defines obligations; `numbers`, `strings`, `arrays`, `objects` and `types` return the obligations of
//!   their keywords
//! - `same`: decides whether two schemas are the same
//! - `types`: finds the JSON types of the values that schemas accept

mod arrays;
mod numbers;
mod objects;
mod obligation;
mod same;
mod strings;
mod types;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use shared::contract::{Part, schema};

pub(super) use self::obligation::Narrowing;
use self::obligation::{Keyword, Obligation, is_trivial};
pub(super) use self::same::has_effect;
use self::same::{Sameness, is_opaque};
use self::types::{by_type, finite, may_be};

/// The maximum number of steps in one comparison. A contract written by hand takes a few hundred.
const MOST_STEPS: usize = 100_000;

/// Returns the places where the new contract's schema may reject a value that the old contract's schema accepts. If the
/// result is empty, the new schema accepts all of these values.
pub(super) fn narrowings(old: &Value, new: &Value) -> Vec<Narrowing> {
    if Sameness::new(old, new).schemas(old, new) {
        return Vec::new();
    }
    if is_opaque(old) || is_opaque(new) {
        return vec![Narrowing::at("", "schemas with $id or dynamic references inside cannot be compared")];
    }
    let mut comparison = Comparison { old, new, under_way: BTreeSet::new(), steps: 0 };
    let mut found = comparison.subset(&[old], new, "");
    found.sort();
    found.dedup();
    found
}

/// A comparison of two documents.
struct Comparison<'s> {
    old: &'s Value,
    new: &'s Value,
    /// The pairs of old schemas and a new schema that are being compared. A recursive schema leads to the same pair
    /// again, for a smaller part of the value. The pair is then not compared a second time.
    under_way: BTreeSet<(Vec<*const Value>, *const Value)>,
    steps: usize,
}

impl<'s> Comparison<'s> {
    /// Returns where `new` may reject a value that all of `old` accept.
    fn subset(&mut self, old: &[&'s Value], new: &'s Value, pointer: &str) -> Vec<Narrowing> {
        if is_trivial(new) || old.iter().any(|old| self.is_same(old, new)) {
            return Vec::new();
        }
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return fails(pointer, "the schemas are too complex to be compared");
        }
        let old = distinct(old.to_vec());
        let pair = (old.iter().map(|old| std::ptr::from_ref(*old)).collect(), std::ptr::from_ref(new));
        if !self.under_way.insert(pair.clone()) {
            return Vec::new();
        }
        // Old schemas that cannot be expanded are used unchanged. The comparison may then assume that they accept more
        // values than they do, but never fewer.
        let alternatives = schema::expand(self.old, old.clone()).unwrap_or_else(|| vec![old]);
        let found = alternatives
            .into_iter()
            .flat_map(|alternative| self.alternative(&distinct(alternative), new, pointer))
            .collect();
        self.under_way.remove(&pair);
        found
    }

    /// Returns where `new` may reject a value that one alternative accepts.
    fn alternative(&mut self, old: &[&'s Value], new: &'s Value, pointer: &str) -> Vec<Narrowing> {
        if old.iter().any(|old| self.is_same(old, new)) {
            return Vec::new();
        }
        let Value::Object(members) = new else {
            return if new == &Value::Bool(true) { Vec::new() } else { fails(pointer, "no value is accepted") };
        };
        if let Some(values) = finite(old) {
            return self.values(values, pointer);
        }
        let mut found = Vec::new();
        for (name, value) in members.iter().filter(|(name, _)| has_effect(name)) {
            found.extend(self.keyword(old, Keyword { name, value, schema: members, pointer }));
        }
        found
    }

    /// Returns where one keyword may reject a value.
    fn keyword(&mut self, old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Narrowing> {
        if self.is_known(old, keyword) || !types::types_for(keyword.name).is_none_or(|types| may_be(old, types)) {
            return Vec::new();
        }
        let obligations = match keyword.name {
            "$ref" => return self.reference(old, keyword),
            "allOf" => keyword
                .elements()
                .map(|(index, new)| Obligation::Subset {
                    old: old.to_vec(),
                    new,
                    at: keyword.below(&[&index.to_string()]),
                })
                .collect(),
            "anyOf" | "oneOf" => return self.choice(old, keyword),
            "not" => return self.negation(old, keyword),
            "if" => conditional(old, keyword),
            "contains" => keyword.holds(
                keyword.schema.get("minContains").and_then(Value::as_u64) == Some(0)
                    && keyword.schema.get("maxContains").is_none(),
                "arrays with too few or too many items of this kind may no longer be accepted",
            ),
            // These keywords are checked together with `if` and `contains`.
            "then" | "else" | "minContains" | "maxContains" => Vec::new(),
            "type" => types::obligations(old, keyword),
            "enum" | "const" => keyword.fails("only the listed values are still accepted"),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                numbers::obligations(old, keyword)
            }
            "minLength" | "maxLength" | "pattern" | "format" => strings::obligations(old, keyword),
            "minItems" | "maxItems" | "uniqueItems" | "prefixItems" | "items" => arrays::obligations(old, keyword),
            "required"
            | "minProperties"
            | "maxProperties"
            | "properties"
            | "patternProperties"
            | "additionalProperties"
            | "propertyNames"
            | "dependentRequired"
            | "dependentSchemas" => objects::obligations(old, keyword),
            name => keyword.holds(is_trivial(keyword.value), format!("{name} cannot be compared")),
        };
        obligations.into_iter().flat_map(|obligation| self.meet(obligation)).collect()
    }

    fn meet(&mut self, obligation: Obligation<'s>) -> Vec<Narrowing> {
        match obligation {
            Obligation::Fails(narrowing) => vec![narrowing],
            Obligation::Subset { old, new, at } => self.subset(&old, new, &at),
            Obligation::Values { values, at } => self.values(values, &at),
            Obligation::Gone { old, narrowing } => {
                let is_possible = schema::expand(self.old, old).is_none_or(|alternatives| !alternatives.is_empty());
                if is_possible { vec![narrowing] } else { Vec::new() }
            }
        }
    }

    /// Checks values against the new document's schema at `pointer`, and reports those that this schema rejects.
    fn values(&self, values: Vec<Value>, pointer: &str) -> Vec<Narrowing> {
        if values.is_empty() {
            return Vec::new();
        }
        let Some(part) = Part::compile(self.new, pointer) else {
            return fails(pointer, "the schema cannot be compared");
        };
        let rejected: Vec<String> = values.iter().filter(|value| !part.accepts(value)).map(Value::to_string).collect();
        if rejected.is_empty() {
            return Vec::new();
        }
        let verb = if rejected.len() == 1 { "is" } else { "are" };
        fails(pointer, format!("{} {verb} no longer accepted", rejected.join(", ")))
    }

    fn reference(&mut self, old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Narrowing> {
        match schema::referenced(keyword.value).and_then(|pointer| Some((self.new.pointer(&pointer)?, pointer))) {
            Some((target, pointer)) => self.subset(old, target, &pointer),
            None => fails(&keyword.at(), "the reference cannot be followed"),
        }
    }

    /// Compares `anyOf` or `oneOf`. For each type, one branch has to accept all values of that type that the old
    /// schemas accept. With `oneOf`, every other branch has to reject all of these values.
    fn choice(&mut self, old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Narrowing> {
        let is_exclusive = keyword.name == "oneOf";
        let accepting = |comparison: &mut Self, old: &[&'s Value]| {
            keyword.elements().any(|(index, branch)| {
                let others = || keyword.elements().filter(|(other, _)| *other != index);
                comparison.subset(old, branch, &keyword.below(&[&index.to_string()])).is_empty()
                    && (!is_exclusive || others().all(|(_, other)| comparison.is_disjoint(old, other)))
            })
        };
        if accepting(self, old) || by_type(old).into_iter().all(|old| accepting(self, &old)) {
            return Vec::new();
        }
        fails(
            &keyword.at(),
            "values that match no alternative, or several alternatives of oneOf, may no longer be accepted",
        )
    }

    fn negation(&self, old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Narrowing> {
        if self.is_disjoint(old, keyword.value) {
            return Vec::new();
        }
        fails(&keyword.at(), "values of this form are not accepted (perhaps the old schema rejected them, too)")
    }

    /// Returns whether `new` rejects every value that all of `old` accept. Compares only the types of the values.
    fn is_disjoint(&self, old: &[&'s Value], new: &'s Value) -> bool {
        let alternatives = schema::expand(self.new, vec![new]);
        alternatives.is_some_and(|alternatives| {
            alternatives.iter().all(|new| match schema::types(new) {
                Some(types) => !may_be(old, &types::with_integers(types)),
                None => false,
            })
        })
    }

    fn is_same(&self, old: &'s Value, new: &'s Value) -> bool {
        Sameness::new(self.old, self.new).schemas(old, new)
    }

    /// Returns whether an old schema has the same keyword with the same value. The siblings that the keyword depends on
    /// must also have the same values.
    fn is_known(&self, old: &[&'s Value], keyword: Keyword<'s, '_>) -> bool {
        let siblings: &[&str] = match keyword.name {
            "additionalProperties" => &["patternProperties", "properties"],
            "items" => &["prefixItems"],
            "contains" | "minContains" | "maxContains" => &["contains", "maxContains", "minContains"],
            "if" | "then" | "else" => &["else", "if", "then"],
            // The effect of these two keywords depends on all their siblings.
            "unevaluatedItems" | "unevaluatedProperties" => return false,
            _ => &[],
        };
        let is_same = |old: &'s Map<String, Value>, name: &'s str| match (old.get(name), keyword.schema.get(name)) {
            (Some(old), Some(new)) => Sameness::new(self.old, self.new).keywords(name, old, new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        old.iter().filter_map(|old| old.as_object()).any(|old| {
            old.contains_key(keyword.name)
                && is_same(old, keyword.name)
                && siblings.iter().all(|name| is_same(old, name))
        })
    }
}

/// Removes repeated schemas, which occur because several references may lead to the same schema. If they were kept, a
/// recursive schema could make the list of old schemas longer at each step. The comparison would then never reach the
/// same pair again, and would not end.
fn distinct(mut schemas: Vec<&Value>) -> Vec<&Value> {
    schemas.sort_unstable_by_key(|schema| std::ptr::from_ref(*schema));
    schemas.dedup_by_key(|schema| std::ptr::from_ref(*schema));
    schemas
}

/// Returns the obligations of `if`. For simplicity, `then` and `else` each have to accept all values that the old
/// schemas accept, whatever `if` says.
fn conditional<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Obligation<'s>> {
    let branch = |name: &str| {
        let new = keyword.schema.get(name)?;
        Some(Obligation::Subset { old: old.to_vec(), new, at: keyword.beside(&[name]) })
    };
    ["then", "else"].into_iter().filter_map(branch).collect()
}

fn fails(pointer: &str, text: impl Into<String>) -> Vec<Narrowing> {
    vec![Narrowing::at(pointer, text)]
}
