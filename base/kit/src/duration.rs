//! Go durations: `300ms`, `1.5h`, `2m30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A signed span of time with nanosecond resolution and the range of Go's `time.Duration` (about 292 years).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Why a text is not a Go duration; the texts are those of Go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// No number, or out of range.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit behind it.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit other than `ns us µs μs ms s m h`.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a Go duration such as `1h2m3.5s`.
///
/// # Errors
/// Anything that Go's `time.ParseDuration` refuses, with its text.
pub fn parse_go(text: &str) -> Result<GoDuration, ParseDurationError> {
    text.parse()
}

/// Writes a span the way Go prints a duration: `1h2m3.5s`, `300ms`, `0s`.
///
/// Spans beyond Go's range are printed as the longest one.
#[must_use]
pub fn format_go(span: Duration) -> String {
    GoDuration::from(span).to_string()
}

// === impl GoDuration ===

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of so many nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A span of so many seconds, capped at Go's range.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// A span of so many milliseconds, capped at Go's range.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// The span in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whether the span is longer than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// The span as an unsigned one; a negative one counts as nothing.
    #[must_use]
    pub const fn to_std(self) -> Duration {
        if self.0 > 0 {
            Duration::from_nanos(self.0.unsigned_abs())
        } else {
            Duration::ZERO
        }
    }

    /// The span as an unsigned one, if it is longer than nothing.
    #[must_use]
    pub const fn positive(self) -> Option<Duration> {
        if self.0 > 0 { Some(self.to_std()) } else { None }
    }
}

impl From<Duration> for GoDuration {
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseDurationError::Invalid(text.to_owned());
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            bytes => (false, bytes),
        };
        if unsigned == b"0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err(invalid());
        }
        // Go sums magnitudes up to 2^63, so that the most negative duration can be read.
        let mut total: u64 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (part, after) = parse_part(rest, text)?;
            total = total
                .checked_add(part)
                .filter(|sum| *sum <= 1 << 63)
                .ok_or_else(invalid)?;
            rest = after;
        }
        match (negative, total) {
            (true, total) => Ok(Self(total.wrapping_neg().cast_signed())),
            (false, total) => i64::try_from(total).map(Self).map_err(|_| invalid()),
        }
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", Decimal(nanos, 3)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", Decimal(nanos, 6)),
            _ => {
                const MINUTE: u64 = 60 * 1_000_000_000;
                let (hours, minutes) = (nanos / (60 * MINUTE), nanos / MINUTE % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", Decimal(nanos % MINUTE, 9))
            }
        }
    }
}

/// Reads one number with its unit; returns its nanoseconds and what follows.
fn parse_part<'a>(part: &'a [u8], text: &str) -> Result<(u64, &'a [u8]), ParseDurationError> {
    let invalid = || ParseDurationError::Invalid(text.to_owned());
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();

    let (whole, rest) = part.split_at(digits(part));
    let mut value: u64 = 0;
    for digit in whole {
        value = value
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(u64::from(digit - b'0')))
            .filter(|grown| *grown <= 1 << 63)
            .ok_or_else(invalid)?;
    }
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(digits(rest)),
        rest => rest.split_at(0),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }

    let unit_end = rest
        .iter()
        .position(|byte| *byte == b'.' || byte.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let nanos: u64 = match unit {
        b"ns" => 1,
        b"us" | [0xc2, 0xb5, b's'] | [0xce, 0xbc, b's'] => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        b"" => return Err(ParseDurationError::MissingUnit(text.to_owned())),
        other => {
            return Err(ParseDurationError::UnknownUnit {
                unit: String::from_utf8_lossy(other).into_owned(),
                text: text.to_owned(),
            });
        }
    };
    let value = value
        .checked_mul(nanos)
        .filter(|total| *total <= 1 << 63)
        .ok_or_else(invalid)?;
    let total = value + fraction_of(fraction, nanos);
    if total > 1 << 63 {
        return Err(invalid());
    }
    Ok((total, rest))
}

/// Nanoseconds of `0.<fraction>` units; digits beyond what a 64-bit number holds are dropped, as Go does.
fn fraction_of(fraction: &[u8], unit_nanos: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1.0_f64);
    for digit in fraction {
        let grown = value
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(u64::from(digit - b'0')))
            .filter(|grown| *grown <= i64::MAX.unsigned_abs());
        match grown {
            Some(grown) => value = grown,
            None => break,
        }
        scale *= 10.0;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "Go computes the fraction in floating point; equal texts need equal rounding"
    )]
    let nanos = (value as f64 * (unit_nanos as f64 / scale)) as u64;
    nanos
}

/// `value / 10^digits` without trailing zeros.
struct Decimal(u64, u32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, digits) = *self;
        let unit = 10_u64.pow(digits);
        write!(f, "{}", value / unit)?;
        let (mut fraction, mut width) = (value % unit, digits as usize);
        if fraction == 0 {
            return Ok(());
        }
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        write!(f, ".{fraction:0width$}")
    }
}

/// Quotes as Go's `time` package does: bytes outside printable ASCII become `\xNN`.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='\x7f' => quoted.push(character),
            other => {
                let mut buffer = [0; 4];
                for byte in other.encode_utf8(&mut buffer).bytes() {
                    quoted.push_str(&format!("\\x{byte:02x}"));
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        let table = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("-0", 0),
            ("+0", 0),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("15m", 900_000_000_000),
            ("16h", 57_600_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("-2m3.4s", -123_400_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("9223372036854775.807us", i64::MAX),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
        ];
        for (text, nanos) in table {
            assert_eq!(parse_go(text).map(GoDuration::as_nanos), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn refusals_have_gos_texts() {
        let table = [
            ("", r#"time: invalid duration """#),
            ("3", r#"time: missing unit in duration "3""#),
            ("-", r#"time: invalid duration "-""#),
            ("s", r#"time: invalid duration "s""#),
            (".", r#"time: invalid duration ".""#),
            ("-.", r#"time: invalid duration "-.""#),
            (".s", r#"time: invalid duration ".s""#),
            ("+.s", r#"time: invalid duration "+.s""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("ten", r#"time: invalid duration "ten""#),
            ("1 s", r#"time: unknown unit " s" in duration "1 s""#),
            ("3000000h", r#"time: invalid duration "3000000h""#),
            (
                "9223372036854775808ns",
                r#"time: invalid duration "9223372036854775808ns""#,
            ),
            (
                "-9223372036854775809ns",
                r#"time: invalid duration "-9223372036854775809ns""#,
            ),
            (
                "9223372036854ms775us808ns",
                r#"time: invalid duration "9223372036854ms775us808ns""#,
            ),
            ("é\"", r#"time: invalid duration "\xc3\xa9\"""#),
        ];
        for (text, expected) in table {
            assert_eq!(parse_go(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn durations_are_printed_as_go_does() {
        let table = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (2_000_000_000, "2s"),
            (180_000_000_000, "3m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, expected) in table {
            assert_eq!(GoDuration::from_nanos(nanos).to_string(), expected);
        }
        assert_eq!(format_go(Duration::from_millis(300)), "300ms");
        assert_eq!(format_go(Duration::MAX), "2562047h47m16.854775807s");
    }

    #[test]
    fn a_negative_span_is_no_time() {
        assert_eq!(parse_go("-3s").unwrap().to_std(), Duration::ZERO);
        assert_eq!(parse_go("-3s").unwrap().positive(), None);
        assert_eq!(parse_go("3s").unwrap().positive(), Some(Duration::from_secs(3)));
    }

    proptest! {
        #[test]
        fn what_is_printed_can_be_read(nanos: i64) {
            let span = GoDuration::from_nanos(nanos);
            prop_assert_eq!(parse_go(&span.to_string()), Ok(span));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            if let Ok(span) = parse_go(&text) {
                prop_assert_eq!(parse_go(&span.to_string()), Ok(span));
            }
        }

        #[test]
        fn no_number_makes_the_parser_panic(text in "[-+]?[0-9]{0,22}(\\.[0-9]{0,22})?(h|m|s|ns)([0-9]{1,3}m)?") {
            if let Ok(span) = parse_go(&text) {
                prop_assert_eq!(parse_go(&span.to_string()), Ok(span));
            }
        }
    }
}
