//! Points in time as text: RFC 3339, in UTC unless said otherwise.

use std::fmt::Write;
use std::time::SystemTime;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Writes a moment as RFC 3339 in whole seconds, UTC: `2026-01-02T03:04:05Z`.
#[must_use]
pub fn rfc3339(moment: SystemTime) -> String {
    let mut text = String::with_capacity(20);
    write_moment(&mut text, OffsetDateTime::from(moment), 0);
    text
}

/// Writes a moment as RFC 3339 in nanoseconds without trailing zeros, UTC: `2026-01-02T03:04:05.1Z`.
#[must_use]
pub fn rfc3339_nanos(moment: SystemTime) -> String {
    let mut text = String::with_capacity(30);
    write_rfc3339_nanos(&mut text, moment, UtcOffset::UTC);
    text
}

/// Appends a moment as RFC 3339 in nanoseconds without trailing zeros, in the zone of `offset`.
pub fn write_rfc3339_nanos(out: &mut String, moment: SystemTime, offset: UtcOffset) {
    let moment = OffsetDateTime::from(moment).to_offset(offset);
    write_moment(out, moment, moment.nanosecond());
}

/// Reads an RFC 3339 time.
///
/// # Errors
/// Anything else.
pub fn parse_rfc3339(text: &str) -> Result<SystemTime, ParseTimeError> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(SystemTime::from)
        .map_err(|_| ParseTimeError(text.to_owned()))
}

/// A text that is not an RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not an RFC 3339 time", crate::quote::go_quote(.0))]
pub struct ParseTimeError(String);

fn write_moment(out: &mut String, moment: OffsetDateTime, nanos: u32) {
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second) = moment.to_hms();
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )
    .expect("writing to a string cannot fail");
    if nanos > 0 {
        let (mut fraction, mut width) = (nanos, 9);
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        write!(out, ".{fraction:0width$}").expect("writing to a string cannot fail");
    }
    let offset = moment.offset();
    if offset.is_utc() {
        out.push('Z');
    } else {
        let sign = if offset.is_negative() { '-' } else { '+' };
        let (hours, minutes, _) = offset.as_hms();
        write!(
            out,
            "{sign}{:02}:{:02}",
            hours.unsigned_abs(),
            minutes.unsigned_abs()
        )
        .expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn moment(nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, nanos)
    }

    #[test]
    fn moments_are_written_without_trailing_zeros() {
        assert_eq!(rfc3339(moment(5)), "2026-01-02T03:04:05Z");
        assert_eq!(rfc3339_nanos(moment(0)), "2026-01-02T03:04:05Z");
        assert_eq!(
            rfc3339_nanos(moment(373_103_310)),
            "2026-01-02T03:04:05.37310331Z"
        );
        assert_eq!(rfc3339_nanos(moment(1)), "2026-01-02T03:04:05.000000001Z");
        assert_eq!(rfc3339_nanos(moment(100_000_000)), "2026-01-02T03:04:05.1Z");
    }

    #[test]
    fn other_zones_show_their_offset() {
        let mut text = String::new();
        write_rfc3339_nanos(&mut text, moment(0), UtcOffset::from_hms(-3, -30, 0).unwrap());
        assert_eq!(text, "2026-01-01T23:34:05-03:30");
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(parse_rfc3339("2026-01-02T03:04:05.1Z"), Ok(moment(100_000_000)));
        assert_eq!(parse_rfc3339("2026-01-02T05:04:05+02:00"), Ok(moment(0)));
        assert!(parse_rfc3339("yesterday").is_err());
    }
}
