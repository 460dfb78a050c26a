//! The requirements of one alternative of a schema, keyword by keyword. An alternative is one choice of branches for
//! each `anyOf` and `oneOf`. The caller resolves combinators and references.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

/// The types that a value may have. JSON Schema's `number` counts as two: integers, and numbers with a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const FRACTION: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const EACH: [Self; 7] =
        [Self::NULL, Self::BOOLEAN, Self::INTEGER, Self::FRACTION, Self::STRING, Self::ARRAY, Self::OBJECT];
    const ALL: Self = Self(127);

    /// Reads the keyword `type`: a name or a list of names.
    pub(super) fn read(keyword: &Value) -> Self {
        let names = keyword.as_array().map_or(std::slice::from_ref(keyword), Vec::as_slice);
        Self(names.iter().filter_map(Value::as_str).fold(0, |types, name| types | Self::named(name).0))
    }

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::INTEGER,
            "number" => Self(Self::INTEGER.0 | Self::FRACTION.0),
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self(0),
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) => {
                let whole = number.as_i128().is_some() || number.as_f64().is_some_and(|float| float.fract() == 0.0);
                if whole { Self::INTEGER } else { Self::FRACTION }
            }
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(super) fn include(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn others(self) -> Self {
        Self(Self::ALL.0 & !self.0)
    }

    fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn either(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the names, in the form that [`Types::read`] reads.
    pub(super) fn names(self) -> Value {
        let name = |types| match types {
            Self::NULL => "null",
            Self::BOOLEAN => "boolean",
            Self::INTEGER => "integer",
            Self::FRACTION => "number",
            Self::STRING => "string",
            Self::ARRAY => "array",
            _ => "object",
        };
        Self::EACH.into_iter().filter(|types| self.include(*types)).map(name).map(Value::from).collect()
    }
}

/// One end of a range of numbers.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) number: Number,
    pub(super) exclusive: bool,
}

/// One subschema's requirements for an object's members. `additional` applies to members that are in neither
/// `properties` nor `patterns`.
#[derive(Debug, Clone)]
pub(super) struct Members {
    pub(super) properties: BTreeMap<String, Value>,
    pub(super) patterns: Vec<(String, Value)>,
    pub(super) additional: Value,
}

/// One subschema's requirements for an array's elements: `prefix` for the first ones, `rest` for the others.
#[derive(Debug, Clone)]
pub(super) struct Elements {
    pub(super) prefix: Vec<Value>,
    pub(super) rest: Value,
}

/// The minimum number of elements that must match a schema.
#[derive(Debug, Clone)]
pub(super) struct Contains {
    pub(super) schema: Value,
    pub(super) at_least: usize,
}

/// The keywords of one alternative. If several subschemas have a keyword, the requirements of all of them are kept.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) types: Types,
    /// The types that this shape's keywords apply to.
    pub(super) constrained: Types,
    pub(super) allowed: Option<Vec<Value>>,
    pub(super) excluded: Vec<Value>,
    pub(super) lower: Vec<Bound>,
    pub(super) upper: Vec<Bound>,
    pub(super) multiples: Vec<Number>,
    pub(super) length: Range,
    pub(super) patterns: Vec<String>,
    pub(super) formats: Vec<String>,
    pub(super) items: Range,
    pub(super) unique: bool,
    pub(super) elements: Vec<Elements>,
    pub(super) contains: Vec<Contains>,
    pub(super) properties: Range,
    pub(super) required: BTreeSet<String>,
    pub(super) members: Vec<Members>,
    pub(super) names: Vec<Value>,
    pub(super) dependents: Vec<(String, Vec<String>)>,
}

/// The permitted numbers of characters, elements or members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Range {
    fn both(self, other: Self) -> Self {
        Self { min: self.min.max(other.min), max: self.max.min(other.max) }
    }

    pub(super) fn includes(self, number: usize) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

impl Shape {
    /// Reads the plain keywords of a schema. Combinators such as `allOf`, which apply other schemas to the value, are
    /// left out.
    pub(super) fn read(keywords: &Map<String, Value>) -> Self {
        let list = |name: &str| keywords.get(name).and_then(Value::as_array);
        let text = |name: &str| keywords.get(name).and_then(Value::as_str).map(str::to_owned).into_iter().collect();
        let size = |name: &str| {
            let number = keywords.get(name).and_then(Value::as_f64);
            // The cast saturates, so a size beyond `usize` becomes the largest `usize`.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "sizes are whole, not negative"
            )]
            number.map(|number| number as usize)
        };
        let range = |min, max| Range { min: size(min).unwrap_or(0), max: size(max).unwrap_or(usize::MAX) };
        let bounds = |including: &str, excluding: &str| {
            let bound = |name, exclusive| match keywords.get(name) {
                Some(Value::Number(number)) => Some(Bound { number: number.clone(), exclusive }),
                _ => None,
            };
            bound(including, false).into_iter().chain(bound(excluding, true)).collect()
        };
        let names = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let allowed = keywords.get("const").map(|only| vec![only.clone()]);
        let allowed = match (allowed, list("enum")) {
            (Some(only), Some(values)) => {
                Some(only.into_iter().filter(|only| values.iter().any(|v| same(v, only))).collect())
            }
            (only, values) => only.or_else(|| values.cloned()),
        };
        Self {
            types: keywords.get("type").map_or(Types::ALL, Types::read),
            constrained: constrained(keywords),
            allowed,
            excluded: Vec::new(),
            lower: bounds("minimum", "exclusiveMinimum"),
            upper: bounds("maximum", "exclusiveMaximum"),
            multiples: keywords.get("multipleOf").and_then(Value::as_number).cloned().into_iter().collect(),
            length: range("minLength", "maxLength"),
            patterns: text("pattern"),
            formats: text("format"),
            items: range("minItems", "maxItems"),
            unique: keywords.get("uniqueItems") == Some(&Value::Bool(true)),
            elements: elements(keywords).into_iter().collect(),
            contains: keywords
                .get("contains")
                .map(|schema| Contains { schema: schema.clone(), at_least: size("minContains").unwrap_or(1) })
                .into_iter()
                .collect(),
            properties: range("minProperties", "maxProperties"),
            required: keywords.get("required").map(&names).unwrap_or_default().into_iter().collect(),
            members: members(keywords).into_iter().collect(),
            names: keywords.get("propertyNames").cloned().into_iter().collect(),
            dependents: keywords
                .get("dependentRequired")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(name, others)| (name.clone(), names(others)))
                .collect(),
        }
    }

    /// Combines the requirements of both shapes. Returns `None` if the requirements obviously contradict each other.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        fn all<T: Clone>(one: &[T], other: &[T]) -> Vec<T> {
            one.iter().chain(other).cloned().collect()
        }
        let allowed = match (&self.allowed, &other.allowed) {
            (Some(one), Some(other)) => {
                Some(one.iter().filter(|value| other.iter().any(|v| same(v, value))).cloned().collect())
            }
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let shape = Self {
            types: self.types.both(other.types),
            constrained: self.constrained.either(other.constrained),
            allowed,
            excluded: all(&self.excluded, &other.excluded),
            lower: all(&self.lower, &other.lower),
            upper: all(&self.upper, &other.upper),
            multiples: all(&self.multiples, &other.multiples),
            length: self.length.both(other.length),
            patterns: all(&self.patterns, &other.patterns),
            formats: all(&self.formats, &other.formats),
            items: self.items.both(other.items),
            unique: self.unique || other.unique,
            elements: all(&self.elements, &other.elements),
            contains: all(&self.contains, &other.contains),
            properties: self.properties.both(other.properties),
            required: self.required.union(&other.required).cloned().collect(),
            members: all(&self.members, &other.members),
            names: all(&self.names, &other.names),
            dependents: all(&self.dependents, &other.dependents),
        };
        shape.is_possible().then_some(shape)
    }

    /// Returns `false` if a quick check shows that no value satisfies the shape.
    pub(super) fn is_possible(&self) -> bool {
        self.types != Types(0)
            && self.allowed.as_ref().is_none_or(|values| values.iter().any(|value| self.may_be(value)))
    }

    /// Returns whether a value of `enum` or `const` satisfies the keywords that are quick to check.
    pub(super) fn may_be(&self, value: &Value) -> bool {
        let beyond = |bound: &Bound, number: f64, sign: f64| {
            let bound_at = bound.number.as_f64().unwrap_or(0.0);
            (number - bound_at) * sign < 0.0 || bound.exclusive && number == bound_at
        };
        let in_range = match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(0.0);
                !self.lower.iter().any(|bound| beyond(bound, number, 1.0))
                    && !self.upper.iter().any(|bound| beyond(bound, number, -1.0))
            }
            Value::String(text) => self.length.includes(text.chars().count()),
            Value::Array(elements) => self.items.includes(elements.len()),
            Value::Object(members) => {
                self.properties.includes(members.len()) && self.required.iter().all(|name| members.contains_key(name))
            }
            Value::Null | Value::Bool(_) => true,
        };
        in_range && self.types.include(Types::of(value)) && !self.excluded.iter().any(|other| same(other, value))
    }
}

fn members(keywords: &Map<String, Value>) -> Option<Members> {
    let of = |name: &str| keywords.get(name).and_then(Value::as_object);
    let (properties, patterns) = (of("properties"), of("patternProperties"));
    let additional = keywords.get("additionalProperties");
    (properties.is_some() || patterns.is_some() || additional.is_some()).then(|| Members {
        properties: properties.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())).collect(),
        patterns: patterns.into_iter().flatten().map(|(name, schema)| (name.clone(), schema.clone())).collect(),
        additional: additional.cloned().unwrap_or(Value::Bool(true)),
    })
}

fn elements(keywords: &Map<String, Value>) -> Option<Elements> {
    let (prefix, rest) = (keywords.get("prefixItems"), keywords.get("items"));
    (prefix.is_some() || rest.is_some()).then(|| Elements {
        prefix: prefix.and_then(Value::as_array).cloned().unwrap_or_default(),
        rest: rest.cloned().unwrap_or(Value::Bool(true)),
    })
}

/// Returns the types that the keywords apply to. A keyword constrains only values of one type, so it shows which type
/// is meant if the schema has no `type`.
fn constrained(keywords: &Map<String, Value>) -> Types {
    keywords.keys().fold(Types(0), |types, name| {
        types.either(match name.as_str() {
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => Types::named("number"),
            "minLength" | "maxLength" | "pattern" | "format" => Types::STRING,
            "items" | "prefixItems" | "minItems" | "maxItems" | "uniqueItems" | "contains" => Types::ARRAY,
            "properties"
            | "required"
            | "patternProperties"
            | "additionalProperties"
            | "minProperties"
            | "maxProperties"
            | "propertyNames"
            | "dependentRequired" => Types::OBJECT,
            _ => Types(0),
        })
    })
}

/// Returns whether two values are equal; 1 and 1.0 are the same number.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => match (one.as_i128(), other.as_i128()) {
            (Some(one), Some(other)) => one == other,
            _ => one.as_f64() == other.as_f64(),
        },
        _ => one == other,
    }
}
