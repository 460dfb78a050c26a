//! Exact decimal numbers: for columns that keep every digit, and for comparing JSON numbers by value.

use std::cmp::Ordering;

/// A finite decimal number: `digits × 10^exponent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// The digits without leading zeros. Zero has no digits.
    digits: Vec<u8>,
    exponent: i64,
    /// The number of digits after the point, once the exponent is applied: two for `1.50`, and one for `1.50e1`, which
    /// is `15.0`. `numeric` stores this scale.
    scale: i64,
}

/// PostgreSQL's limits for `numeric`: the maximum number of digits before and after the point
/// (<https://www.postgresql.org/docs/current/datatype-numeric.html>).
const INTEGRAL_DIGITS: i64 = 131_072;
const FRACTIONAL_DIGITS: i64 = 16_383;
/// The sign of a negative binary `numeric`.
const NEGATIVE: i16 = 0x4000;

/// The maximum number of zeros that are added to write a number without an exponent. This is enough for every finite
/// double.
const ZEROS: i64 = 400;

impl Decimal {
    /// Parses a JSON number. Returns `None` if the number is not zero and its exponent does not fit into 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
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
        let exponent = exponent.parse::<i64>().ok();
        let exponent = exponent.and_then(|exponent| exponent.checked_sub(i64::try_from(fraction.len()).ok()?));
        let exponent = match exponent.filter(|exponent| *exponent != i64::MIN) {
            Some(exponent) => exponent,
            None if digits.is_empty() => 0,
            None => return None,
        };
        Some(Self {
            negative: negative && !digits.is_empty(),
            scale: (-exponent).max(0),
            exponent: if digits.is_empty() { 0 } else { exponent },
            digits,
        })
    }

    /// Compares two numbers by value, regardless of how they are written.
    pub fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| if number.negative { -1 } else { i8::from(!number.digits.is_empty()) };
        // The exponent of the lowest power of ten that exceeds the number's absolute value.
        let magnitude = |number: &Self| i128::from(number.exponent) + number.digits.len() as i128;
        sign(self).cmp(&sign(other)).then_with(|| {
            let larger =
                magnitude(self).cmp(&magnitude(other)).then_with(|| self.significant().cmp(other.significant()));
            if self.negative { larger.reverse() } else { larger }
        })
    }

    /// Returns whether the number is a whole multiple of `divisor`, which must be positive. Returns `None` if the
    /// divisor has too many digits.
    pub fn is_multiple_of(&self, divisor: &Self) -> Option<bool> {
        let modulus = divisor
            .significant()
            .iter()
            .try_fold(0_u64, |value, &digit| value.checked_mul(10)?.checked_add(digit.into()))
            .filter(|modulus| *modulus != 0)?;
        // Both numbers are treated as digits × 10^exponent, where the digits have no trailing zeros.
        let exponent =
            |number: &Self| i128::from(number.exponent) + (number.digits.len() - number.significant().len()) as i128;
        if self.digits.is_empty() {
            return Some(true);
        }
        let Ok(mut power) = u128::try_from(exponent(self) - exponent(divisor)) else {
            // The number's exponent is lower than the divisor's. If the number were a multiple, its digits would be
            // divisible by ten, but its last digit is not zero.
            return Some(false);
        };
        let times = |a: u128, b: u128| a * b % u128::from(modulus);
        let append = |rest, &digit: &u8| (times(rest, 10) + u128::from(digit)) % u128::from(modulus);
        let mut rest = self.significant().iter().fold(0, append);
        let mut factor = 10 % u128::from(modulus);
        while power > 0 {
            if power % 2 == 1 {
                rest = times(rest, factor);
            }
            factor = times(factor, factor);
            power /= 2;
        }
        Some(rest == 0)
    }

    /// Formats the number so that equal numbers have the same text: without redundant zeros, and with an exponent only
    /// if more than [`ZEROS`] zeros would otherwise be added.
    pub(super) fn canonical(&self) -> String {
        const ZEROS: i128 = self::ZEROS as i128;
        let digits: String = self.significant().iter().map(|&digit| char::from(b'0' + digit)).collect();
        let trailing = (self.digits.len() - self.significant().len()) as i128;
        let exponent = i128::from(self.exponent) + trailing;
        let point = digits.len() as i128 + exponent;
        let zeros = |count: i128| "0".repeat(usize::try_from(count).unwrap_or_default());
        let magnitude = if digits.is_empty() {
            "0".to_owned()
        } else if (0..=ZEROS).contains(&exponent) {
            digits + &zeros(exponent)
        } else if exponent < 0 && point > 0 {
            let (integral, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
            format!("{integral}.{fraction}")
        } else if (-ZEROS..=0).contains(&point) {
            format!("0.{}{digits}", zeros(-point))
        } else {
            format!("{digits}e{exponent}")
        };
        if self.negative { format!("-{magnitude}") } else { magnitude }
    }

    /// Formats the number as `numeric` stores it, including trailing zeros after the point. If more than [`ZEROS`]
    /// zeros would be added, the text is that of [`Self::canonical`].
    pub(super) fn as_stored(&self) -> String {
        if self.exponent > ZEROS || self.scale > self.digits.len() as i64 + ZEROS {
            return self.canonical();
        }
        let zeros = |count: i64| std::iter::repeat_n('0', usize::try_from(count).unwrap_or_default());
        let digits = self.digits.iter().map(|&digit| char::from(b'0' + digit)).chain(zeros(self.exponent));
        // Zeros are added so that at least one digit comes before the point.
        let leading = self.scale + 1 - self.digits.len() as i64;
        let mut text: String = zeros(leading).chain(digits).collect();
        if self.scale > 0 {
            text.insert(text.len() - usize::try_from(self.scale).unwrap_or_default(), '.');
        }
        if self.negative { format!("-{text}") } else { text }
    }

    /// Reads PostgreSQL's binary `numeric`, as [`Self::to_numeric`] writes it. Returns `None` if the bytes are NaN,
    /// infinity or no `numeric` at all.
    pub(super) fn from_numeric(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<2>() else { return None };
        let mut words = words.iter().map(|word| i16::from_be_bytes(*word));
        let mut word = || words.next().map(i64::from);
        let (count, weight, sign, scale) = (word()?, word()?, word()?, word()?);
        if sign != 0 && sign != i64::from(NEGATIVE) {
            return None;
        }
        let mut digits: Vec<u8> = Vec::with_capacity(words.len() * 4);
        for group in words {
            let group = u16::try_from(group).ok().filter(|group| *group < 10_000)?;
            digits.extend([group / 1_000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| digit as u8));
        }
        let mut exponent = if digits.is_empty() { 0 } else { 4 * (weight - count + 1) };
        // The digits come in groups of four, and PostgreSQL omits groups of zeros at the end. The scale is the number
        // of digits after the point, so digits are cut off or zeros are added to match the scale.
        if scale > 0 || exponent < 0 {
            let length = i64::try_from(digits.len()).ok()? + exponent + scale;
            digits.resize(usize::try_from(length.max(0)).ok()?, 0);
            exponent = -scale;
        }
        let digits: Vec<u8> = digits.into_iter().skip_while(|&digit| digit == 0).collect();
        let exponent = if digits.is_empty() { 0 } else { exponent };
        Some(Self { negative: sign != 0 && !digits.is_empty(), digits, exponent, scale })
    }

    /// Returns the digits without trailing zeros.
    fn significant(&self) -> &[u8] {
        let zeros = self.digits.iter().rev().take_while(|&&digit| digit == 0).count();
        &self.digits[..self.digits.len() - zeros]
    }

    /// Returns the number times `10^shift` as an integer. If `round` is true, a remaining fraction is rounded half away
    /// from zero. If `round` is false, a remaining fraction makes the result `None`. A result outside the range of
    /// `i64` is always `None`.
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
        // If more places are cut off than the number has digits, the first place that is cut off holds a zero, so
        // nothing is rounded up.
        if round && cut <= self.digits.len() && dropped.first().is_some_and(|&digit| digit >= 5) {
            magnitude = magnitude.checked_add(1)?;
        }
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Appends PostgreSQL's binary `numeric`: base-10,000 digits with a weight and a display scale (`numeric_send` in
    /// PostgreSQL's source). Returns `None` if the number is outside the range of `numeric`.
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

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn numbers_of_any_size_are_compared_by_value() {
        for texts in [
            vec!["5", "5.0", "5e0", "50e-1", "0.5E+1", "5.000000000000000000000000000000000000"],
            vec![
                "0",
                "-0",
                "0.0",
                "-0e9",
                "0e99999999999999999999",
                "0e-9223372036854775808",
                "0.0e-9223372036854775808",
            ],
            vec!["-1.50", "-15e-1", "-0.0015e3"],
            vec!["1e400", "10e399", "0.01e402"],
            vec!["1e-9000000000000000000", "0.1e-8999999999999999999"],
            vec!["9223372036854775807", "9.223372036854775807e18", "9223372036854775807.000"],
        ] {
            for (a, b) in texts.iter().zip(texts.iter().skip(1)) {
                assert_eq!(decimal(a).compare(&decimal(b)), Ordering::Equal, "{a} {b}");
                assert_eq!(decimal(a).canonical(), decimal(b).canonical(), "{a} {b}");
            }
        }
        let ascending = [
            "-1e401",
            "-1e400",
            "-9007199254740993",
            "-9007199254740992",
            "-1",
            "-1e-400",
            "0",
            "1e-400",
            "0.1",
            "1",
            "1.5",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775806.9",
            "9223372036854775807",
            "1e400",
            "1.00000000000000000000000000000000000001e400",
        ];
        for (a, b) in ascending.iter().zip(ascending.iter().skip(1)) {
            assert_eq!(decimal(a).compare(&decimal(b)), Ordering::Less, "{a} {b}");
            assert_eq!(decimal(b).compare(&decimal(a)), Ordering::Greater, "{a} {b}");
            assert_ne!(decimal(a).canonical(), decimal(b).canonical(), "{a} {b}");
        }
    }

    #[test]
    fn a_number_that_needs_no_shortening_keeps_its_text() {
        for text in ["0", "7", "-7", "100", "0.001", "-12.5", "123456789012345678901234567890.5"] {
            assert_eq!(decimal(text).canonical(), text);
        }
        assert_eq!(decimal("1.50e1").canonical(), "15");
        assert_eq!(decimal("1e401").canonical(), "1e401");
        assert_eq!(decimal("12e-500").canonical(), "12e-500");
    }

    #[test]
    fn a_binary_numeric_is_read_with_the_digits_it_was_written_with() {
        for text in [
            "0",
            "0.00",
            "7",
            "-7",
            "100",
            "10000",
            "100000000",
            "10000.00",
            "0.001",
            "0.0001",
            "0.00010",
            "-12.5",
            "9999.9999",
            "10000.00010",
            "123456789012345678901234567890.12300",
            "1e131071",
            "12e-500",
            "1.0e3",
            "5e-9",
        ] {
            let mut bytes = Vec::new();
            assert_eq!(decimal(text).to_numeric(&mut bytes), Some(()), "{text}");
            let read = Decimal::from_numeric(&bytes).unwrap_or_else(|| panic!("{text} is read"));
            assert_eq!(read.compare(&decimal(text)), Ordering::Equal, "{text}");
            assert_eq!(read.as_stored(), decimal(text).as_stored(), "{text}");
            if !text.contains('e') {
                assert_eq!(read.as_stored(), text);
            }
        }
        for bytes in [&[][..], &[0; 7], &[0, 0, 0, 0, 0xC0, 0, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]] {
            assert_eq!(Decimal::from_numeric(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn multiples_are_recognised_exactly() {
        for (number, divisor, expected) in [
            ("0.3", "0.1", true),
            ("4.35", "0.01", true),
            ("1.005", "0.01", false),
            ("9007199254740993", "2", false),
            ("9223372036854775806.0", "2", true),
            ("9223372036854775807.0", "2", false),
            ("1e400", "3", false),
            ("3e400", "3", true),
            ("123456789012345678901234567890", "7", true),
            ("123456789012345678901234567891", "7", false),
            ("1e-400", "1e-401", true),
            ("1e-401", "1e-400", false),
            ("0", "7", true),
            ("-0.0", "0.3", true),
            ("-14", "7", true),
            ("70", "700", false),
        ] {
            assert_eq!(decimal(number).is_multiple_of(&decimal(divisor)), Some(expected), "{number} {divisor}");
        }
        assert_eq!(decimal("1").is_multiple_of(&decimal("12345678901234567890123")), None);
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
