//! Kubernetes quantities: `4Mi`, `1G`, `500k`, `1e3`, plain numbers.

/// Why a text is not a quantity; the texts are those of the Kubernetes library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// Empty text.
    #[error("quantity must not be empty")]
    Empty,
    /// The text does not have the form of a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The suffix is none of those in use.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Reads a quantity as a whole number of its base unit (bytes), rounded up, capped at the range of `i64`.
///
/// Suffixes: `n u m k M G T P E` (powers of 1000), `Ki Mi Gi Ti Pi Ei` (powers of 1024), `e3`, `E3`.
///
/// # Errors
/// Anything that is not a quantity.
pub fn parse(text: &str) -> Result<i64, ParseQuantityError> {
    if text.is_empty() {
        return Err(ParseQuantityError::Empty);
    }
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        bytes => (false, bytes),
    };
    let number_end = unsigned
        .iter()
        .position(|byte| !(byte.is_ascii_digit() || *byte == b'.'));
    let (number, suffix) = unsigned.split_at(number_end.unwrap_or(unsigned.len()));
    let (whole, fraction) = split_number(number)?;
    let magnitude = scaled(whole, fraction, scale_of(suffix)?, negative);
    Ok(if negative {
        magnitude.saturating_neg()
    } else {
        magnitude
    })
}

/// What a number is multiplied by.
#[derive(Clone, Copy)]
enum Scale {
    Binary(u32),
    Decimal(i32),
}

fn split_number(number: &[u8]) -> Result<(&[u8], &[u8]), ParseQuantityError> {
    let mut parts = number.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    let digits = whole.len() + fraction.len();
    if digits == 0 || fraction.contains(&b'.') {
        return Err(ParseQuantityError::Format);
    }
    Ok((whole, fraction))
}

fn scale_of(suffix: &[u8]) -> Result<Scale, ParseQuantityError> {
    Ok(match suffix {
        b"" => Scale::Decimal(0),
        b"n" => Scale::Decimal(-9),
        b"u" => Scale::Decimal(-6),
        b"m" => Scale::Decimal(-3),
        b"k" => Scale::Decimal(3),
        b"M" => Scale::Decimal(6),
        b"G" => Scale::Decimal(9),
        b"T" => Scale::Decimal(12),
        b"P" => Scale::Decimal(15),
        b"E" => Scale::Decimal(18),
        b"Ki" => Scale::Binary(10),
        b"Mi" => Scale::Binary(20),
        b"Gi" => Scale::Binary(30),
        b"Ti" => Scale::Binary(40),
        b"Pi" => Scale::Binary(50),
        b"Ei" => Scale::Binary(60),
        [b'e' | b'E', exponent @ ..] => {
            let exponent = std::str::from_utf8(exponent).map_err(|_| ParseQuantityError::Suffix)?;
            Scale::Decimal(exponent.parse().map_err(|_| ParseQuantityError::Suffix)?)
        }
        other
            if other
                .iter()
                .all(|byte| b"eEinumkKMGTP+-0123456789".contains(byte)) =>
        {
            return Err(ParseQuantityError::Suffix);
        }
        _ => return Err(ParseQuantityError::Format),
    })
}

/// `whole.fraction * scale` as a magnitude, rounded away from zero for positive numbers, else towards it.
fn scaled(whole: &[u8], fraction: &[u8], scale: Scale, negative: bool) -> i64 {
    let digits = || whole.iter().chain(fraction).map(|byte| u128::from(byte - b'0'));
    let fraction_digits = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let (factor, mut exponent) = match scale {
        Scale::Binary(shift) => (1_u128 << shift, -fraction_digits),
        Scale::Decimal(power) => (1, i64::from(power) - fraction_digits),
    };
    // 128 bits hold a 64-bit result times 2^60; what does not fit is beyond the cap or below the rounding.
    let mut value: u128 = 0;
    let mut lost = false;
    for digit in digits() {
        match value
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(digit))
        {
            Some(grown) if grown < u128::MAX >> 61 => value = grown,
            _ => {
                exponent += 1;
                lost |= digit != 0;
            }
        }
    }
    let mut product = value * factor;
    while exponent > 0 && product != 0 && product <= u128::from(u64::MAX) {
        product *= 10;
        exponent -= 1;
    }
    while exponent < 0 && (product != 0) {
        lost |= !product.is_multiple_of(10);
        product /= 10;
        exponent += 1;
    }
    if lost && !negative {
        product += 1;
    }
    i64::try_from(product).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_whole_numbers_rounded_up() {
        let table = [
            ("0", 0),
            ("4", 4),
            ("4Mi", 4 << 20),
            ("4Ki", 4096),
            ("1G", 1_000_000_000),
            ("500k", 500_000),
            ("1.5Gi", 3 << 29),
            ("0.5Ki", 512),
            ("1e3", 1000),
            ("1E3", 1000),
            ("12E", i64::MAX),
            ("1E", 1_000_000_000_000_000_000),
            ("100m", 1),
            ("1n", 1),
            ("1.2", 2),
            (".5", 1),
            ("5.", 5),
            ("-1", -1),
            ("-4Ki", -4096),
            ("+1k", 1000),
            ("16Ei", i64::MAX),
            ("999999999999999999999999999999999999999999", i64::MAX),
            ("0.00000000000000000000000000000000000000000001", 1),
            ("1e-3", 1),
            ("0e99999", 0),
            ("1e99999", i64::MAX),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        assert_eq!(parse(""), Err(ParseQuantityError::Empty));
        for text in ["x", ".", "-", "Mi", "1 Mi", "1.2.3", "4MB/s"] {
            assert_eq!(parse(text), Err(ParseQuantityError::Format), "{text}");
        }
        for text in ["1K", "1mi", "1e", "1kk", "1e1.5"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("1K"), Err(ParseQuantityError::Suffix));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,10}") {
            let first = parse(&text);
            prop_assert_eq!(first, parse(&text));
        }

        #[test]
        fn plain_numbers_are_themselves(number: i64) {
            prop_assume!(number != i64::MIN);
            prop_assert_eq!(parse(&number.to_string()), Ok(number));
        }
    }
}
