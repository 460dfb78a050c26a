//! Whole numbers in other notations. JSON allows `5.0` and `7E+3`, but PostgreSQL's integer types accept only digits
//! and a sign.

use std::borrow::Cow;

/// Why a number is not a value of any integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAnInteger {
    /// The number has a fractional part.
    Fraction,
    /// The number has more digits than any integer type holds.
    OutOfRange,
}

/// The number of digits of the highest `bigint`.
const MOST_DIGITS: usize = 19;

/// Rewrites a whole JSON number so that it has neither a decimal point nor an exponent: `7E+3` becomes `7000`. Other
/// text is returned unchanged, so that PostgreSQL checks it.
pub(super) fn integer(text: &str) -> Result<Cow<'_, str>, NotAnInteger> {
    match Decimal::parse(text) {
        Some(decimal) => decimal.integer().map(Cow::Owned),
        None => Ok(Cow::Borrowed(text)),
    }
}

/// A number with a decimal point or an exponent.
struct Decimal<'t> {
    negative: bool,
    before_point: &'t str,
    after_point: &'t str,
    exponent: &'t str,
}

impl<'t> Decimal<'t> {
    /// Parses JSON's number format. Returns `None` for text that has no decimal point and no exponent, or is malformed.
    fn parse(text: &'t str) -> Option<Self> {
        if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return None;
        }
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |unsigned| (true, unsigned));
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (before_point, after_point) = match mantissa.split_once('.') {
            Some((before, after)) if digits(after) => (before, after),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let sound = digits(before_point) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        sound.then_some(Self { negative, before_point, after_point, exponent })
    }

    fn integer(&self) -> Result<String, NotAnInteger> {
        let digits = format!("{}{}", self.before_point, self.after_point);
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok("0".to_owned());
        }
        let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
        // An exponent that does not fit into `i64` is replaced by the nearest one that fits. With either exponent, the
        // number is a fraction or out of range.
        let out_of_reach = if self.exponent.starts_with('-') { i128::from(i64::MIN) } else { i128::from(i64::MAX) };
        let exponent = self.exponent.parse::<i64>().map_or(out_of_reach, i128::from);
        let zeros = exponent - self.after_point.len() as i128 + trailing_zeros as i128;
        let zeros = usize::try_from(zeros)
            .map_err(|_| if zeros < 0 { NotAnInteger::Fraction } else { NotAnInteger::OutOfRange })?;
        if significant.len().saturating_add(zeros) > MOST_DIGITS {
            return Err(NotAnInteger::OutOfRange);
        }
        let sign = if self.negative { "-" } else { "" };
        Ok(format!("{sign}{significant}{}", "0".repeat(zeros)))
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_is_written_in_digits() {
        for (text, expected) in [
            ("7E+3", "7000"),
            ("5.0", "5"),
            ("-5.000", "-5"),
            ("-0.0", "0"),
            ("0e99999999999999999999", "0"),
            ("1e2", "100"),
            ("12.50e1", "125"),
            ("1500e-2", "15"),
            ("0.007e3", "7"),
            ("9.223372036854775807E18", "9223372036854775807"),
            ("-9223372036854775808.0", "-9223372036854775808"),
            ("10.0", "10"),
        ] {
            assert_eq!(integer(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_fraction_and_a_number_beyond_bigint_are_refused() {
        for text in ["5.5", "1e-1", "-0.1", "15e-1", "1e-99999999999999999999", "1e-400000000"] {
            assert_eq!(integer(text), Err(NotAnInteger::Fraction), "{text}");
        }
        for text in ["1e19", "-1E+400000000", "1e99999999999999999999", "123456789012345678901.0"] {
            assert_eq!(integer(text), Err(NotAnInteger::OutOfRange), "{text}");
        }
    }

    #[test]
    fn other_text_is_left_to_postgresql() {
        for text in ["", "5", "+5", "007", "-", "e", "1e", "1.", ".5", "1.5.5", "0x1E", "1_0e1", "NaN", "five", "1e+-2"]
        {
            assert_eq!(integer(text), Ok(Cow::Borrowed(text)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_notation_of_an_integer_gives_its_digits(value: i64, zeros in 0_usize..5, shift in 0_usize..5) {
            let digits = Ok(Cow::Owned(value.to_string()));
            let shifted = format!("{value}{}e-{}", "0".repeat(shift), shift);
            prop_assert_eq!(integer(&shifted), digits.clone());
            let fraction = format!("{value}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(integer(&fraction), digits);
        }
    }
}
