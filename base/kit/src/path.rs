//! Lexical path cleaning.

use std::borrow::Cow;

/// The shortest path that means the same as `path`, found by text alone, as Go's `path.Clean` does.
///
/// Collapses `//`, drops `.`, resolves `..`, drops a trailing `/`. A rooted path stays rooted and
/// never climbs above its root; an empty result is `.`. Borrows when nothing changes.
#[must_use]
pub fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let rooted = path.starts_with('/');
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => match segments.last() {
                Some(&last) if last != ".." => {
                    segments.pop();
                }
                None | Some(_) if !rooted => segments.push(".."),
                None | Some(_) => {}
            },
            name => segments.push(name),
        }
    }
    let body = segments.join("/");
    Cow::Owned(match (rooted, body.is_empty()) {
        (true, _) => format!("/{body}"),
        (false, true) => ".".to_owned(),
        (false, false) => body,
    })
}

/// Whether cleaning would change nothing, for paths without any dot segment: the usual case.
fn is_clean(path: &str) -> bool {
    let relative = path.strip_prefix('/').unwrap_or(path);
    if relative.is_empty() {
        return path == "/";
    }
    relative
        .split('/')
        .all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        let table = [
            ("", "."),
            ("abc", "abc"),
            ("abc/def", "abc/def"),
            (".", "."),
            ("..", ".."),
            ("../..", "../.."),
            ("../../abc", "../../abc"),
            ("/abc", "/abc"),
            ("/", "/"),
            ("//", "/"),
            ("///", "/"),
            ("abc/", "abc"),
            ("abc//def//ghi", "abc/def/ghi"),
            ("//abc", "/abc"),
            ("abc/./def", "abc/def"),
            ("/./abc/def", "/abc/def"),
            ("abc/def/ghi/../jkl", "abc/def/jkl"),
            ("abc/def/../ghi/../jkl", "abc/jkl"),
            ("abc/def/..", "abc"),
            ("abc/def/../..", "."),
            ("/abc/def/../..", "/"),
            ("abc/def/../../..", ".."),
            ("/abc/def/../../..", "/"),
            ("abc/def/../../../ghi/jkl/../../../mno", "../../mno"),
            ("abc/./../def", "def"),
            ("abc//./../def", "def"),
            ("abc/../../././../def", "../../def"),
            ("...", "..."),
            ("a/.hidden", "a/.hidden"),
        ];
        for (path, expected) in table {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn a_clean_path_is_borrowed() {
        assert!(matches!(clean("orders/1"), Cow::Borrowed(_)));
        assert!(matches!(clean("/orders/1"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(path in "[a./]{0,24}") {
            let once = clean(&path).into_owned();
            let twice = clean(&once).into_owned();
            prop_assert_eq!(&twice, &once);
            prop_assert!(!once.contains("//"));
        }
    }
}
