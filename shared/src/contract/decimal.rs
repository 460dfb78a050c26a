//! A JSON number's digits, for columns that keep them exactly.

/// A finite decimal number: `digits × 10^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// Without leading zeros; empty for zero.
    digits: Vec<u8>,
    exponent: i64,
    /// Digits after the point as they were written, which `numeric` keeps: `1.50` has two.
    scale: i64,
}

/// PostgreSQL's limits of `numeric`: digits before and after the point
/// (<https://www.postgresql.org/docs/current/datatype-numeric.html>).
const INTEGRAL_DIGITS: i64 = 131_072;
const FRACTIONAL_DIGITS: i64 = 16_383;

impl Decimal {
    /// Reads a number as JSON writes it. None if its exponent is beyond all reason.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (integral, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = integral
            .bytes()
            .chain(fraction.bytes())
            .map(|digit| digit.wrapping_sub(b'0'))
            .skip_while(|&digit| digit == 0)
            .collect();
        if digits.iter().any(|&digit| digit > 9) {
            return None;
        }
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        Some(Self {
            negative: negative && !digits.is_empty(),
            scale: exponent.checked_neg()?.max(0),
            exponent: if digits.is_empty() { 0 } else { exponent },
            digits,
        })
    }

    /// The number times `10^shift` as an integer; rounded half away from zero if `round`, else None when a
    /// fraction is left. None beyond `i64`.
    pub(super) fn to_i64(&self, shift: i64, round: bool) -> Option<i64> {
        let exponent = self.exponent.checked_add(shift)?;
        let cut = usize::try_from(exponent.min(0).unsigned_abs()).ok()?;
        let (kept, dropped) = self.digits.split_at(self.digits.len().saturating_sub(cut));
        if !round && dropped.iter().any(|&digit| digit != 0) {
            return None;
        }
        let mut magnitude: i128 = 0;
        for &digit in kept {
            magnitude = magnitude.checked_mul(10)?.checked_add(i128::from(digit))?;
        }
        if magnitude != 0 && exponent > 0 {
            magnitude = magnitude.checked_mul(10_i128.checked_pow(u32::try_from(exponent).ok()?)?)?;
        }
        // With more places cut than there are digits, the first place cut holds a zero.
        if round && cut <= self.digits.len() && dropped.first().is_some_and(|&digit| digit >= 5) {
            magnitude = magnitude.checked_add(1)?;
        }
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Appends PostgreSQL's binary `numeric`: base-10,000 digits with a weight and a display scale
    /// (`numeric_send` in PostgreSQL's source). None beyond what `numeric` holds.
    pub(super) fn to_numeric(&self, out: &mut Vec<u8>) -> Option<()> {
        let length = i64::try_from(self.digits.len()).ok()?;
        if length.checked_add(self.exponent)? > INTEGRAL_DIGITS || self.scale > FRACTIONAL_DIGITS {
            return None;
        }
        let padding = self.exponent.rem_euclid(4);
        let exponent = self.exponent - padding;
        let leading = (4 - (length + padding).rem_euclid(4)).rem_euclid(4);
        let zeros = |count: i64| std::iter::repeat_n(0_u8, usize::try_from(count).unwrap_or_default());
        let padded: Vec<u8> = zeros(leading).chain(self.digits.iter().copied()).chain(zeros(padding)).collect();
        let mut groups: Vec<i16> =
            padded.chunks(4).map(|group| group.iter().fold(0, |value, &digit| value * 10 + i16::from(digit))).collect();
        let weight = exponent / 4 + i64::try_from(groups.len()).ok()? - 1;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let weight = if groups.is_empty() { 0 } else { weight };
        const NEGATIVE: i16 = 0x4000;
        out.extend(i16::try_from(groups.len()).ok()?.to_be_bytes());
        out.extend(i16::try_from(weight).ok()?.to_be_bytes());
        out.extend(if self.negative { NEGATIVE } else { 0 }.to_be_bytes());
        out.extend(i16::try_from(self.scale).ok()?.to_be_bytes());
        groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(text: &str) -> Option<i64> {
        Decimal::parse(text)?.to_i64(0, false)
    }

    #[test]
    fn an_integer_may_be_written_with_a_point_or_an_exponent() {
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("5.0"), Some(5));
        assert_eq!(integer("1.5e1"), Some(15));
        assert_eq!(integer("1500e-2"), Some(15));
        assert_eq!(integer("0e99999999"), Some(0));
        assert_eq!(integer("1.5"), None);
        assert_eq!(integer("1e400"), None);
    }

    #[test]
    fn seconds_become_microseconds_rounded_half_away_from_zero() {
        let micros = |text: &str| Decimal::parse(text).and_then(|seconds| seconds.to_i64(6, true));
        assert_eq!(micros("1557258853.563"), Some(1_557_258_853_563_000));
        assert_eq!(micros("0.0000005"), Some(1));
        assert_eq!(micros("-0.0000005"), Some(-1));
        assert_eq!(micros("0.00000005"), Some(0));
        assert_eq!(micros("0.0000004999"), Some(0));
    }
}
