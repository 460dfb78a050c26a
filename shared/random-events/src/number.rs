//! Generates random numbers within bounds. In a wide range, the magnitude is random, so that small numbers are
//! frequent, as in real data.

use rand::{Rng, RngExt as _};
use serde_json::{Number, Value};

use super::shape::{Bound, Shape};

/// The distance of a missing bound from the other bound, or from zero if both bounds are missing.
const WIDE: i128 = 1_000_000;
const WIDE_FLOAT: f64 = 1e6;

/// Returns an integer of the shape, or `None` if the shape allows none.
pub(super) fn integer(shape: &Shape, rng: &mut dyn Rng) -> Option<Value> {
    let low = shape.lower.iter().filter_map(lowest).max();
    let high = shape.upper.iter().filter_map(highest).min();
    let (low, high) = match (low, high) {
        (Some(low), Some(high)) => (low, high),
        (Some(low), None) => (low, low.saturating_add(WIDE)),
        (None, Some(high)) => (high.saturating_sub(WIDE), high),
        (None, None) => (-WIDE, WIDE),
    };
    let step = match shape.multiples.as_slice() {
        [] => 1,
        multiples => {
            let step = common(multiples)?;
            step.digits / gcd(step.digits, 10_i128.checked_pow(step.decimals)?)
        }
    };
    let (first, last) = (div_ceil(low, step), high.div_euclid(step));
    (first <= last).then(|| number(&(by_magnitude(first, last, rng) * step).to_string()))?
}

/// Returns a number of the shape, with a fraction if possible.
pub(super) fn fraction(shape: &Shape, rng: &mut dyn Rng) -> Option<Value> {
    let end = |bounds: &[Bound], pick: fn(f64, f64) -> f64| {
        bounds.iter().filter_map(|bound| bound.number.as_f64()).reduce(pick)
    };
    let (low, high) = match (end(&shape.lower, f64::max), end(&shape.upper, f64::min)) {
        (Some(low), Some(high)) => (low, high),
        (Some(low), None) => (low, low + WIDE_FLOAT),
        (None, Some(high)) => (high - WIDE_FLOAT, high),
        (None, None) => (-WIDE_FLOAT, WIDE_FLOAT),
    };
    if !shape.multiples.is_empty() {
        let step = common(&shape.multiples)?;
        let size = step.to_f64();
        let (first, last) = (whole((low / size).ceil())?, whole((high / size).floor())?);
        let times = (first <= last).then(|| by_magnitude(first, last, rng))?;
        return number(&Decimals { digits: times.checked_mul(step.digits)?, ..step }.to_string());
    }
    if low > high {
        return None;
    }
    let within = |number: f64| {
        number >= low
            && number <= high
            && !shape.lower.iter().chain(&shape.upper).any(|b| b.exclusive && b.number.as_f64() == Some(number))
    };
    for _ in 0..16 {
        let drawn = float(low, high, rng);
        let scale = 10_f64.powi(rng.random_range(0..=6));
        let rounded = (drawn * scale).round() / scale;
        let number = if within(rounded) { rounded } else { drawn };
        if within(number) {
            return Number::from_f64(number).map(Value::Number);
        }
    }
    None
}

fn number(digits: &str) -> Option<Value> {
    digits.parse().ok().map(Value::Number)
}

fn lowest(bound: &Bound) -> Option<i128> {
    match bound.number.as_i128() {
        Some(whole) => Some(whole + i128::from(bound.exclusive)),
        None => {
            let float = bound.number.as_f64()?;
            Some(whole(float.ceil())? + i128::from(bound.exclusive && float.fract() == 0.0))
        }
    }
}

fn highest(bound: &Bound) -> Option<i128> {
    match bound.number.as_i128() {
        Some(whole) => Some(whole - i128::from(bound.exclusive)),
        None => {
            let float = bound.number.as_f64()?;
            Some(whole(float.floor())? - i128::from(bound.exclusive && float.fract() == 0.0))
        }
    }
}

/// Converts a float to an integer. Returns `None` for extreme values, so that the sum of any two results stays within
/// `i128`.
fn whole(float: f64) -> Option<i128> {
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the condition")]
    (float.abs() < 1e36).then_some(float as i128)
}

fn by_magnitude(first: i128, last: i128, rng: &mut dyn Rng) -> i128 {
    if last - first <= WIDE {
        return rng.random_range(first..=last);
    }
    // The origin is zero if the range contains it, otherwise the bound that is closest to zero.
    let origin = 0.clamp(first, last);
    let negative = first < origin && (last == origin || rng.random_bool(0.1));
    let room = if negative { origin - first } else { last - origin };
    let largest = if rng.random_bool(0.02) { 127 } else { 24 };
    let bits = rng.random_range(1..=largest.min(128 - room.leading_zeros()));
    let distance = rng.random_range(0..=room.min((1_i128 << bits.min(126)) - 1));
    if negative { origin - distance } else { origin + distance }
}

fn float(low: f64, high: f64, rng: &mut dyn Rng) -> f64 {
    if high - low <= WIDE_FLOAT {
        return low + rng.random::<f64>() * (high - low);
    }
    let origin = 0_f64.clamp(low, high);
    let negative = low < origin && (high == origin || rng.random_bool(0.1));
    let room = if negative { origin - low } else { high - origin };
    let distance = rng.random::<f64>() * room.min(10_f64.powi(rng.random_range(1..=7)));
    if negative { origin - distance } else { origin + distance }
}

/// The number `digits / 10^decimals`.
#[derive(Debug, Clone, Copy)]
struct Decimals {
    digits: i128,
    decimals: u32,
}

impl Decimals {
    fn read(number: &Number) -> Option<Self> {
        let text = number.as_f64()?.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        (digits > 0).then_some(Self { digits, decimals: u32::try_from(fraction.len()).ok()? })
    }

    fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Decimals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let decimals = self.decimals as usize;
        let digits = format!("{:0>1$}", self.digits.unsigned_abs(), decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

/// Returns the least common multiple of numbers that may be fractions.
fn common(multiples: &[Number]) -> Option<Decimals> {
    let steps: Vec<Decimals> = multiples.iter().map(Decimals::read).collect::<Option<_>>()?;
    let decimals = steps.iter().map(|step| step.decimals).max()?;
    let digits = steps.iter().try_fold(1_i128, |common, step| {
        let digits = step.digits.checked_mul(10_i128.checked_pow(decimals - step.decimals)?)?;
        (common / gcd(common, digits)).checked_mul(digits)
    })?;
    Some(Decimals { digits, decimals })
}

fn gcd(mut one: i128, mut other: i128) -> i128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one.abs().max(1)
}

fn div_ceil(number: i128, by: i128) -> i128 {
    -(-number).div_euclid(by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use serde_json::json;

    fn shape(schema: &Value) -> Shape {
        Shape::read(schema.as_object().unwrap_or(&serde_json::Map::new()))
    }

    #[test]
    fn an_integer_lies_between_its_bounds_however_they_are_written() {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        for schema in [
            json!({"minimum": 3, "maximum": 3}),
            json!({"exclusiveMinimum": 2, "exclusiveMaximum": 4}),
            json!({"minimum": 2.5, "exclusiveMaximum": 4.0}),
            json!({"minimum": 1, "maximum": 5, "multipleOf": 1.5}),
        ] {
            assert_eq!(integer(&shape(&schema), &mut rng), Some(json!(3)), "{schema}");
        }
        assert_eq!(integer(&shape(&json!({"minimum": 2, "exclusiveMaximum": 2})), &mut rng), None);
        assert_eq!(integer(&shape(&json!({"minimum": 1, "maximum": 2, "multipleOf": 5})), &mut rng), None);
    }

    #[test]
    fn integers_can_use_all_64_bits() {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(2);
        let shape = shape(&json!({"minimum": i64::MIN, "maximum": i64::MAX}));
        let drawn: Vec<i64> = (0..10_000).filter_map(|_| integer(&shape, &mut rng)?.as_i64()).collect();
        assert_eq!(drawn.len(), 10_000);
        assert!(drawn.iter().any(|number| number.unsigned_abs() > 1 << 53));
        assert!(drawn.iter().any(|number| *number < 0));
    }

    #[test]
    fn a_multiple_is_written_exactly() {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(3);
        let cents = shape(&json!({"multipleOf": 0.01, "minimum": 0.29, "maximum": 0.295}));
        assert_eq!(fraction(&cents, &mut rng).map(|number| number.to_string()), Some("0.29".to_owned()));
        let both = Shape::read(&serde_json::Map::new());
        let both =
            both.both(&shape(&json!({"multipleOf": 0.3}))).and_then(|s| s.both(&shape(&json!({"multipleOf": 0.2}))));
        assert_eq!(both.and_then(|shape| common(&shape.multiples)).map(|c| c.to_string()), Some("0.6".to_owned()));
    }
}
