//! HTTP header names in MIME canonical form: `content-type` becomes `Content-Type`.

use std::borrow::Cow;

/// The canonical form of a header name: the first letter and each letter behind a `-` in upper case, the rest lower.
///
/// A name with a byte that no token may hold is returned unchanged. Well-known names, and names that
/// are canonical already, cost no allocation.
#[must_use]
pub fn canonical(name: &str) -> Cow<'_, str> {
    if let Some(known) = well_known(name) {
        return Cow::Borrowed(known);
    }
    if !name.bytes().all(is_token) || is_canonical(name.as_bytes()) {
        return Cow::Borrowed(name);
    }
    let mut written = String::with_capacity(name.len());
    let mut upper = true;
    for byte in name.bytes() {
        written.push(char::from(cased(byte, upper)));
        upper = byte == b'-';
    }
    Cow::Owned(written)
}

/// Appends the canonical form of a header name to `out`; see [`canonical`].
pub fn write_canonical(out: &mut Vec<u8>, name: &[u8]) {
    if !name.iter().copied().all(is_token) {
        out.extend_from_slice(name);
        return;
    }
    let mut upper = true;
    out.extend(name.iter().map(|byte| {
        let written = cased(*byte, upper);
        upper = *byte == b'-';
        written
    }));
}

/// The canonical form of a name that is met on most calls, whatever its case.
#[must_use]
pub fn well_known(name: &str) -> Option<&'static str> {
    known_of_length(name.len())
        .iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// Names that are met on most calls, filed by length so that a look-up compares few of them.
const fn known_of_length(length: usize) -> &'static [&'static str] {
    match length {
        2 => &["Te"],
        4 => &["Host", "Date", "Etag", "From", "Vary", "Link"],
        5 => &["Allow", "Range"],
        6 => &["Accept", "Cookie", "Origin", "Server", "Pragma", "Expect"],
        7 => &["Baggage", "Trailer", "Upgrade", "Referer", "Expires"],
        8 => &["If-Match", "If-Range", "Location"],
        9 => &["Forwarded"],
        10 => &[
            "User-Agent",
            "Connection",
            "Tracestate",
            "Keep-Alive",
            "Set-Cookie",
        ],
        11 => &["Traceparent", "Dapr-App-Id", "Retry-After", "Dapr-Stream"],
        12 => &["Content-Type", "X-Request-Id", "Max-Forwards"],
        13 => &[
            "Authorization",
            "Cache-Control",
            "If-None-Match",
            "Last-Modified",
            "Accept-Ranges",
            "Content-Range",
        ],
        14 => &[
            "Content-Length",
            "Accept-Charset",
            "Dapr-Api-Token",
            "Grpc-Trace-Bin",
        ],
        15 => &["Accept-Encoding", "Accept-Language", "X-Forwarded-For"],
        16 => &[
            "X-Forwarded-Host",
            "Content-Encoding",
            "Content-Language",
            "Dapr-Http-Status",
            "Proxy-Connection",
        ],
        17 => &["Transfer-Encoding", "X-Forwarded-Proto", "If-Modified-Since"],
        18 => &["Dapr-Caller-App-Id", "Dapr-Callee-App-Id", "Proxy-Authenticate"],
        19 => &[
            "Content-Disposition",
            "If-Unmodified-Since",
            "Proxy-Authorization",
        ],
        21 => &["Dapr-Caller-Namespace"],
        _ => &[],
    }
}

fn is_canonical(name: &[u8]) -> bool {
    let mut upper = true;
    name.iter().all(|byte| {
        let fits = *byte == cased(*byte, upper);
        upper = *byte == b'-';
        fits
    })
}

const fn cased(byte: u8, upper: bool) -> u8 {
    if upper {
        byte.to_ascii_uppercase()
    } else {
        byte.to_ascii_lowercase()
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_written_as_go_does() {
        let table = [
            ("content-type", "Content-Type"),
            ("CONTENT-TYPE", "Content-Type"),
            ("x-request-id", "X-Request-Id"),
            ("dapr-foo", "Dapr-Foo"),
            ("etag", "Etag"),
            ("www-authenticate", "Www-Authenticate"),
            ("a-b--c", "A-B--C"),
            ("-x", "-X"),
            ("uSER-aGENT", "User-Agent"),
            ("x_y", "X_y"),
            ("", ""),
            ("foo bar", "foo bar"),
            (":authority", ":authority"),
            ("é", "é"),
        ];
        for (name, expected) in table {
            assert_eq!(canonical(name), expected);
        }
    }

    #[test]
    fn the_table_of_well_known_names_is_canonical_and_filed_by_length() {
        for length in 0..32 {
            for known in known_of_length(length) {
                assert_eq!(known.len(), length, "{known}");
                assert!(is_canonical(known.as_bytes()), "{known}");
                assert_eq!(well_known(&known.to_lowercase()), Some(*known));
            }
        }
        assert_eq!(well_known("x-own"), None);
    }

    #[test]
    fn well_known_names_cost_no_allocation() {
        assert!(matches!(
            canonical("content-length"),
            Cow::Borrowed("Content-Length")
        ));
        assert!(matches!(canonical("X-Own"), Cow::Borrowed("X-Own")));
    }

    proptest! {
        #[test]
        fn both_writers_agree(name in "[a-zA-Z0-9_: é-]{0,24}") {
            let mut written = Vec::new();
            write_canonical(&mut written, name.as_bytes());
            let canonical = canonical(&name);
            prop_assert_eq!(String::from_utf8(written).unwrap(), canonical.as_ref());
        }
    }
}
