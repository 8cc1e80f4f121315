//! Which failures a retry policy tries again, by their status code.

use outrigger_kit::number;

use super::resiliency::MatchingSpec;

/// Status codes that are tried again; `None` is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// HTTP status codes.
    pub http: Option<Vec<CodeRange>>,
    /// gRPC status codes.
    pub grpc: Option<Vec<CodeRange>>,
}

/// Status codes from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// First code.
    pub first: u16,
    /// Last code.
    pub last: u16,
}

// === impl Matching ===

impl Matching {
    pub(super) fn new(spec: &MatchingSpec) -> Result<Self, String> {
        Ok(Self {
            http: code_ranges(&spec.http, 100, 599)?,
            grpc: code_ranges(&spec.grpc, 0, 16)?,
        })
    }

    /// Whether a failure with this code is tried again: 0 to 16 is a gRPC code, 100 to 599 an HTTP status.
    ///
    /// Other numbers never are.
    #[must_use]
    pub fn retries(&self, code: i32) -> bool {
        let list = match code {
            0..=16 => &self.grpc,
            100..=599 => &self.http,
            _ => return false,
        };
        let inside = |range: &CodeRange| (i32::from(range.first)..=i32::from(range.last)).contains(&code);
        list.as_ref().is_none_or(|ranges| ranges.iter().any(inside))
    }
}

/// Ranges of a list such as `429,500-599`; `None` when it names nothing.
fn code_ranges(list: &str, least: i64, most: i64) -> Result<Option<Vec<CodeRange>>, String> {
    let items = list.split(',').filter(|pattern| !pattern.is_empty());
    let ranges = items
        .map(|pattern| code_range(pattern, least, most))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(if ranges.is_empty() { None } else { Some(ranges) })
}

fn code_range(pattern: &str, least: i64, most: i64) -> Result<CodeRange, String> {
    let mut parts = pattern.split('-');
    let (start, end) = match (parts.next(), parts.next(), parts.next()) {
        (Some(start), None, _) => (start, start),
        (Some(start), Some(end), None) => (start, end),
        _ => return Err(format!("invalid pattern {pattern}, more than one '-' exists")),
    };
    let code = |which: &str, text: &str| {
        let number = number::atoi(text).map_err(|error| {
            format!("failed to parse {which} code {text} from pattern {pattern} to int, {error}")
        })?;
        match u16::try_from(number) {
            Ok(code) if (least..=most).contains(&number) => Ok(code),
            _ => Err(format!(
                "invalid pattern {pattern}, {which} code {number} is not valid"
            )),
        }
    };
    let (first, last) = (code("start", start)?, code("end", end)?);
    if first > last {
        return Err(format!(
            "invalid pattern {pattern}, start value should not bigger than end value"
        ));
    }
    Ok(CodeRange { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_matched_by_their_list() {
        let matching = Matching {
            http: code_ranges("429,,500-503", 100, 599).unwrap(),
            grpc: code_ranges("", 0, 16).unwrap(),
        };
        for (code, expected) in [
            (429, true),
            (500, true),
            (503, true),
            (504, false),
            (404, false),
            (0, true),
            (14, true),
            (20, false),
            (600, false),
            (-1, false),
        ] {
            assert_eq!(matching.retries(code), expected, "{code}");
        }
        assert!(Matching::default().retries(404));
        assert!(!Matching::default().retries(20));
    }
}
