//! How long a value is to live, as a request says it.

use outrigger_kit::number;

use super::{Metadata, StateError};

/// Name of the request metadata that say how many seconds a value is to live.
pub const TTL_IN_SECONDS: &str = "ttlInSeconds";

/// Name of the answer's metadata that say when a value expires, as RFC 3339 in whole seconds, UTC.
pub const TTL_EXPIRE_TIME: &str = "ttlExpireTime";

const MOST: i64 = i32::MAX as i64;

/// The seconds that a value is to live, as most stores read them: from -1 to 2147483647, none if nothing is said.
///
/// Zero and -1 take an expiry away.
///
/// # Errors
/// Anything else: `error parsing TTL: incorrect value for metadata 'ttlInSeconds': …`
///
/// Source: specification, state API 7.
pub fn ttl_in_seconds(metadata: &Metadata) -> Result<Option<i32>, StateError> {
    let Some(text) = metadata.get(TTL_IN_SECONDS).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let incorrect = |reason: &str| {
        StateError::other(format!(
            "error parsing TTL: incorrect value for metadata '{TTL_IN_SECONDS}': {reason}"
        ))
    };
    match number::atoi(text) {
        Ok(..-1) => Err(incorrect("must be -1 or greater")),
        Ok(seconds) => i32::try_from(seconds)
            .map(Some)
            .map_err(|_| incorrect(&format!("must be {MOST} or less"))),
        Err(error) => Err(incorrect(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_numbers_within_bounds() {
        let read =
            |text: &str| ttl_in_seconds(&Metadata::from([(TTL_IN_SECONDS.to_owned(), text.to_owned())]));
        for (text, expected) in [
            ("", None),
            ("5", Some(5)),
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("2147483647", Some(i32::MAX)),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        assert_eq!(ttl_in_seconds(&Metadata::new()).unwrap(), None);
        for (text, reason) in [
            ("-2", "must be -1 or greater"),
            ("2147483648", "must be 2147483647 or less"),
            ("5s", "strconv.Atoi: parsing \"5s\": invalid syntax"),
        ] {
            let expected =
                format!("error parsing TTL: incorrect value for metadata 'ttlInSeconds': {reason}");
            assert_eq!(read(text).unwrap_err().to_string(), expected);
        }
    }
}
