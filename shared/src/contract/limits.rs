//! Exact implementations of the JSON Schema keywords that limit numbers. The crate `jsonschema` rounds some numbers
//! that have a fraction or an exponent to doubles, so it would consider 9223372036854775806.0 greater than
//! 9223372036854775807.

use std::cmp::Ordering;

use jsonschema::{Keyword, ValidationError, ValidationOptions};
use serde_json::{Number, Value};

use super::decimal::Decimal;

/// A keyword that limits numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
    MultipleOf,
}

/// A keyword with its value.
#[derive(Debug)]
struct Limit {
    kind: Kind,
    written: Number,
    exact: Decimal,
    /// The limit as an integer and as a double, for the quick comparisons in [`Limit::rough_order`].
    integer: Option<i64>,
    double: Option<f64>,
}

/// Replaces the library's implementations of the keywords that limit numbers.
pub(super) fn exact(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    use Kind::{ExclusiveMaximum, ExclusiveMinimum, Maximum, Minimum, MultipleOf};
    [Minimum, Maximum, ExclusiveMinimum, ExclusiveMaximum, MultipleOf].into_iter().fold(options, |options, kind| {
        options.with_keyword(kind.keyword(), move |_, value, _| {
            let limit = Limit::new(kind, value).ok_or_else(|| ValidationError::schema(kind.expected()))?;
            Ok(Box::new(limit))
        })
    })
}

impl Kind {
    fn keyword(self) -> &'static str {
        match self {
            Self::Minimum => "minimum",
            Self::Maximum => "maximum",
            Self::ExclusiveMinimum => "exclusiveMinimum",
            Self::ExclusiveMaximum => "exclusiveMaximum",
            Self::MultipleOf => "multipleOf",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::MultipleOf => "must be a positive number of at most 19 digits",
            Self::Minimum | Self::Maximum | Self::ExclusiveMinimum | Self::ExclusiveMaximum => {
                "must be a number with an exponent of at most 18 digits"
            }
        }
    }

    /// Returns the beginning of the error message. The limit follows it.
    fn rule(self) -> &'static str {
        match self {
            Self::Minimum => "must be at least",
            Self::Maximum => "must be at most",
            Self::ExclusiveMinimum => "must be greater than",
            Self::ExclusiveMaximum => "must be less than",
            Self::MultipleOf => "must be a multiple of",
        }
    }

    fn permits(self, order: Ordering) -> bool {
        match self {
            Self::Minimum => order.is_ge(),
            Self::Maximum => order.is_le(),
            Self::ExclusiveMinimum => order.is_gt(),
            Self::ExclusiveMaximum => order.is_lt(),
            Self::MultipleOf => false,
        }
    }
}

impl Limit {
    fn new(kind: Kind, value: &Value) -> Option<Self> {
        let written = value.as_number()?.clone();
        let exact = Decimal::parse(written.as_str())?;
        // A divisor with too many digits is rejected now, when the contract is compiled.
        if kind == Kind::MultipleOf {
            exact.is_multiple_of(&exact)?;
        }
        let (integer, double) = (written.as_i64(), written.as_f64());
        Some(Self { kind, written, exact, integer, double })
    }

    fn permits(&self, number: &Number) -> bool {
        if self.kind != Kind::MultipleOf
            && let Some(order) = self.rough_order(number)
        {
            return self.kind.permits(order);
        }
        // `None` means that the exponent does not fit into 64 bits. No column can hold such a number.
        let Some(number) = Decimal::parse(number.as_str()) else { return false };
        if self.kind == Kind::MultipleOf {
            number.is_multiple_of(&self.exact).unwrap_or(false)
        } else {
            self.kind.permits(number.compare(&self.exact))
        }
    }

    /// Compares a number with the limit: both as integers, or both as doubles. Returns `None` if the doubles are equal,
    /// because rounding to doubles can make different numbers equal. If the doubles differ, their order is right,
    /// because rounding never reverses an order.
    fn rough_order(&self, number: &Number) -> Option<Ordering> {
        if let (Some(limit), Some(number)) = (self.integer, number.as_i64()) {
            return Some(number.cmp(&limit));
        }
        number.as_f64()?.partial_cmp(&self.double?).filter(|order| order.is_ne())
    }
}

impl<'i> Keyword<'i> for Limit {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if Keyword::is_valid(self, instance) {
            Ok(())
        } else {
            Err(ValidationError::custom(format!("{} {}", self.kind.rule(), self.written)))
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        instance.as_number().is_none_or(|number| self.permits(number))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns what is wrong with a number.
    fn wrong(schema: &str, number: &str) -> Option<String> {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let validator = exact(jsonschema::options()).build(&read(schema)).unwrap_or_else(|error| panic!("{error}"));
        let number = read(number);
        let error = validator.iter_errors(&number).next().map(|error| super::super::violation::detail(&error));
        assert_eq!(error.is_none(), validator.is_valid(&number));
        error
    }

    #[test]
    fn limits_are_exact_in_any_notation() {
        let bigint = r#"{"minimum": -9223372036854775808, "maximum": 9223372036854775807}"#;
        for number in [
            "9223372036854775806.0",
            "9223372036854775807.0",
            "9.223372036854775807e18",
            "92233720368547758070e-1",
            "-9223372036854775808.0",
            "-9.223372036854775808E18",
            "0",
            "-0.0",
        ] {
            assert_eq!(wrong(bigint, number), None, "{number}");
        }
        for number in ["9223372036854775808", "9223372036854775808.0", "9223372036854775807.1", "9.3e18", "1e400"] {
            assert_eq!(wrong(bigint, number), Some("must be at most 9223372036854775807".to_owned()), "{number}");
        }
        for number in ["-9223372036854775809", "-9223372036854775808.5", "-1e400"] {
            assert_eq!(wrong(bigint, number), Some("must be at least -9223372036854775808".to_owned()), "{number}");
        }
        let fractions = r#"{"exclusiveMinimum": 0.1, "exclusiveMaximum": 1e30}"#;
        for (number, expected) in [
            ("0.1", Some("must be greater than 0.1")),
            ("0.1000", Some("must be greater than 0.1")),
            ("0.10000000000000000000000000001", None),
            ("999999999999999999999999999999.9", None),
            ("1000000000000000000000000000000", Some("must be less than 1e+30")),
        ] {
            assert_eq!(wrong(fractions, number).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn multiples_are_exact_in_any_notation() {
        for (schema, number, is_right) in [
            (r#"{"multipleOf": 0.01}"#, "4.35", true),
            (r#"{"multipleOf": 0.01}"#, "1e300", true),
            (r#"{"multipleOf": 0.01}"#, "4.355", false),
            (r#"{"multipleOf": 2}"#, "9007199254740993", false),
            (r#"{"multipleOf": 2}"#, "9223372036854775806.0", true),
            (r#"{"multipleOf": 1}"#, "9007199254740993.5", false),
        ] {
            let expected = (!is_right).then(|| "must be a multiple of".to_owned());
            let found = wrong(schema, number).map(|detail| detail[..21].to_owned());
            assert_eq!(found, expected, "{schema} {number}");
        }
    }

    #[test]
    fn constants_enums_and_unique_items_are_compared_exactly_too() {
        for (schema, instance, is_right) in [
            (r#"{"const": 9007199254740993}"#, "9007199254740993.0", true),
            (r#"{"const": 9007199254740993}"#, "9007199254740992.0", false),
            (r#"{"const": 9007199254740993}"#, "9.007199254740993e15", true),
            (r#"{"const": 9007199254740993}"#, "9.007199254740992e15", false),
            (r#"{"enum": [1, 9223372036854775807]}"#, "9223372036854775806.0", false),
            (r#"{"uniqueItems": true}"#, "[9007199254740992.0, 9007199254740993.0]", true),
            (r#"{"uniqueItems": true}"#, "[5, 5.0]", false),
            (r#"{"type": "integer"}"#, "9223372036854775806.0", true),
            (r#"{"type": "integer"}"#, "9223372036854775806.5", false),
        ] {
            assert_eq!(wrong(schema, instance).is_none(), is_right, "{schema} {instance}");
        }
    }

    #[test]
    fn a_divisor_of_too_many_digits_is_refused() {
        let schema: Value = serde_json::from_str(r#"{"multipleOf": 12345678901234567890123}"#).unwrap_or(json!({}));
        assert!(exact(jsonschema::options()).build(&schema).is_err());
    }
}
