//! Whole numbers as Go's `strconv` reads them.

use crate::quote::go_quote;

/// Why a text is not a whole number; the texts are those of Go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{function}: parsing {}: {}", go_quote(.text), .cause.as_str())]
pub struct ParseNumberError {
    function: &'static str,
    text: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Syntax,
    Range,
}

/// Reads a decimal number, as Go's `Atoi`.
///
/// # Errors
/// Anything but digits behind an optional sign, or a number beyond 64 bits.
pub fn atoi(text: &str) -> Result<i64, ParseNumberError> {
    signed(text, false).map_err(|cause| ParseNumberError {
        function: "Atoi",
        text: text.to_owned(),
        cause,
    })
}

/// Reads a number with an optional base prefix (`0x`, `0o`, `0`, `0b`) and `_` between digits, as Go's `ParseInt` with base 0.
///
/// # Errors
/// A text that is no such number, or a number beyond 64 bits.
pub fn parse_int(text: &str) -> Result<i64, ParseNumberError> {
    signed(text, true).map_err(|cause| ParseNumberError {
        function: "ParseInt",
        text: text.to_owned(),
        cause,
    })
}

/// Reads an unsigned number as [`parse_int`] does, as Go's `ParseUint` with base 0.
///
/// # Errors
/// A text that is no such number, or a number beyond 64 bits.
pub fn parse_uint(text: &str) -> Result<u64, ParseNumberError> {
    magnitude(text, true).map_err(|cause| ParseNumberError {
        function: "ParseUint",
        text: text.to_owned(),
        cause,
    })
}

// === impl Cause ===

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        }
    }
}

fn signed(text: &str, any_base: bool) -> Result<i64, Cause> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = magnitude(digits, any_base)?;
    let value = if negative {
        -i128::from(magnitude)
    } else {
        i128::from(magnitude)
    };
    i64::try_from(value).map_err(|_| Cause::Range)
}

fn magnitude(text: &str, any_base: bool) -> Result<u64, Cause> {
    let (radix, digits) = if any_base { base_of(text) } else { (10, text) };
    let prefixed = digits.len() < text.len();
    let digits = if any_base && text.contains('_') {
        without_separators(digits, prefixed)?
    } else {
        digits.into()
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Cause::Syntax);
    }
    u64::from_str_radix(&digits, radix).map_err(|_| Cause::Range)
}

fn base_of(text: &str) -> (u32, &str) {
    let prefixed = |letter: char| {
        let rest = text.strip_prefix('0')?;
        rest.strip_prefix(letter)
            .or_else(|| rest.strip_prefix(letter.to_ascii_uppercase()))
    };
    if let Some(digits) = prefixed('x') {
        (16, digits)
    } else if let Some(digits) = prefixed('o') {
        (8, digits)
    } else if let Some(digits) = prefixed('b') {
        (2, digits)
    } else if let Some(digits) = text.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, digits)
    } else {
        (10, text)
    }
}

/// Drops `_`, which may stand only between digits or behind a base prefix.
fn without_separators(digits: &str, prefixed: bool) -> Result<std::borrow::Cow<'_, str>, Cause> {
    let misplaced = digits.contains("__") || digits.ends_with('_') || (digits.starts_with('_') && !prefixed);
    if misplaced {
        Err(Cause::Syntax)
    } else {
        Ok(digits.replace('_', "").into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_numbers_are_read() {
        for (text, expected) in [("0", 0), ("3500", 3500), ("-1", -1), ("+7", 7), ("010", 10)] {
            assert_eq!(atoi(text), Ok(expected));
        }
        let text = |text| atoi(text).unwrap_err().to_string();
        assert_eq!(text(""), r#"strconv.Atoi: parsing "": invalid syntax"#);
        assert_eq!(text("a1"), r#"strconv.Atoi: parsing "a1": invalid syntax"#);
        assert_eq!(text("0x1"), r#"strconv.Atoi: parsing "0x1": invalid syntax"#);
        assert_eq!(
            text("9223372036854775808"),
            r#"strconv.Atoi: parsing "9223372036854775808": value out of range"#
        );
    }

    #[test]
    fn numbers_of_any_base_are_read() {
        let table = [
            ("0", 0),
            ("-0x1F", -31),
            ("0o17", 15),
            ("017", 15),
            ("0B11", 3),
            ("1_000", 1000),
            ("0x_f", 15),
            ("0_7", 7),
            ("-9223372036854775808", i64::MIN),
        ];
        for (text, expected) in table {
            assert_eq!(parse_int(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "0x", "08", "1__0", "1_", "_1", "+-1", "1.0"] {
            assert!(parse_int(text).is_err(), "{text}");
        }
        assert_eq!(parse_uint("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(
            parse_uint("-1").unwrap_err().to_string(),
            r#"strconv.ParseUint: parsing "-1": invalid syntax"#
        );
    }

    proptest! {
        #[test]
        fn printed_numbers_can_be_read(number: i64) {
            prop_assert_eq!(atoi(&number.to_string()), Ok(number));
            prop_assert_eq!(parse_int(&number.to_string()), Ok(number));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+0-9a-fxob_é]{0,24}") {
            let first = parse_int(&text);
            prop_assert_eq!(first, parse_int(&text));
        }
    }
}
