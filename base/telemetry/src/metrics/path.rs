//! The label that stands for a request's path.
//!
//! Specification: observability, section 7.2. A label that is not a part of the path itself is built in a
//! buffer that the thread keeps, so that none of this allocates once a thread is warm.

use std::cell::Cell;

use super::pattern::Patterns;
use super::settings::HttpLabels;

/// Paths of the app that are labels in any case.
const ALWAYS: [&str; 4] = ["/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"];

/// Paths of this prefix are not looked for below the method of an invocation.
const INVOKE: &str = "/v1.0/invoke/";

/// What templates for methods are prefixed with.
const INVOKE_ANY: &str = "/v1.0/invoke/{app_id}/method";

/// Verbs that are label values.
const VERBS: [&str; 9] = [
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
];

/// Makes label values of verbs and paths.
#[derive(Clone, Debug)]
pub(super) struct PathLabels {
    increased_cardinality: bool,
    exclude_verbs: bool,
    /// None if no templates are configured.
    patterns: Option<Patterns>,
}

/// Buffers of a thread: the normal form of a path, its reduced form.
#[derive(Debug, Default)]
struct Room {
    normal: String,
    reduced: String,
}

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

// === impl PathLabels ===

impl PathLabels {
    pub(super) fn new(settings: &HttpLabels) -> Self {
        let mut patterns = Patterns::default();
        let mut room = String::new();
        for entry in &settings.path_matching {
            let entry = normalise(entry, &mut room);
            patterns.add(entry);
            if !entry.starts_with(INVOKE) {
                patterns.add(&format!("{INVOKE_ANY}{entry}"));
            }
        }
        Self {
            increased_cardinality: settings.increased_cardinality,
            exclude_verbs: settings.exclude_verbs,
            patterns: (!settings.path_matching.is_empty()).then_some(patterns),
        }
    }

    /// The label of a verb.
    pub(super) fn verb(&self, verb: &str) -> &'static str {
        if self.exclude_verbs {
            return "";
        }
        VERBS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(verb))
            .copied()
            .unwrap_or("UNKNOWN")
    }

    /// Uses the label of a request to the sidecar.
    pub(super) fn server<R>(&self, path: &str, using: impl FnOnce(&str) -> R) -> R {
        if self.patterns.is_none() && !self.increased_cardinality {
            return using("");
        }
        self.client(path, using)
    }

    /// Uses the label of a request to the app.
    pub(super) fn client<R>(&self, path: &str, using: impl FnOnce(&str) -> R) -> R {
        let mut room = ROOM.take().unwrap_or_default();
        let Room { normal, reduced } = &mut *room;
        let result = using(self.label(normalise(path, normal), reduced));
        ROOM.set(Some(room));
        result
    }

    fn label<'a>(&'a self, path: &'a str, room: &'a mut String) -> &'a str {
        if ALWAYS.contains(&path) {
            return path;
        }
        let reduced = reduce(path, room);
        if let Some(patterns) = &self.patterns {
            // With increased cardinality a template that is the path itself says no more than the path.
            let telling = |pattern: &&str| !(self.increased_cardinality && *pattern == path);
            if let Some(pattern) = patterns.find(path).filter(telling) {
                return pattern;
            }
            if let Some(pattern) = patterns
                .find(reduced)
                .filter(|pattern| reduced != path && *pattern != "/")
            {
                return pattern;
            }
        }
        if self.increased_cardinality { reduced } else { "" }
    }
}

/// A path with one slash in front and no empty segments inside.
fn normalise<'a>(path: &'a str, room: &'a mut String) -> &'a str {
    if path.starts_with('/') && !path.contains("//") {
        return path;
    }
    room.clear();
    room.push('/');
    for character in path.chars() {
        if character != '/' || !room.ends_with('/') {
            room.push(character);
        }
    }
    room
}

/// Cuts a path in normal form down to what is worth a series of its own: ids are replaced, keys cut off.
fn reduce<'a>(path: &'a str, room: &'a mut String) -> &'a str {
    let mut front = path.splitn(4, '/').skip(1);
    let (Some(first), Some(second), Some(rest)) = (front.next(), front.next(), front.next()) else {
        return path;
    };
    match (first, second) {
        ("actors", _) => replace_ids(path, room),
        (_, "state" | "secrets") => {
            let end = rest
                .find('/')
                .map_or(path.len(), |end| path.len() - rest.len() + end);
            path.split_at(end).0
        }
        (_, "actors" | "workflows") => replace_ids(path, room),
        _ => path,
    }
}

/// Reduces the paths of actors and workflows, which have at least three parts.
fn replace_ids<'a>(path: &'a str, room: &'a mut String) -> &'a str {
    // No path has more than six parts here; the sixth holds all that is left.
    let mut parts = [""; 6];
    let mut count = 0;
    for part in path.splitn(7, '/').skip(1) {
        parts[count] = part;
        count += 1;
    }
    let (slash, kept) = match (parts[0], parts[1], count) {
        ("actors", _, _) => {
            parts[2] = "{id}";
            ("", count)
        }
        (_, "actors", 5..) => {
            parts[3] = "{id}";
            ("/", 5)
        }
        (_, "workflows", 5) if parts[4].starts_with("start") => {
            parts[4] = "start";
            ("/", 5)
        }
        (_, "workflows", 6) if parts[4] == "raiseEvent" => {
            parts[3] = "{instanceId}";
            parts[5] = "{eventName}";
            ("/", 6)
        }
        (_, "workflows", 4..) => {
            parts[3] = "{instanceId}";
            ("/", count.min(5))
        }
        _ => return path,
    };
    room.clear();
    room.push_str(slash);
    for (place, part) in parts[..kept].iter().enumerate() {
        if place > 0 {
            room.push('/');
        }
        room.push_str(part);
    }
    room
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(increased_cardinality: bool, path_matching: &[&str]) -> PathLabels {
        PathLabels::new(&HttpLabels {
            increased_cardinality,
            path_matching: path_matching.iter().map(ToString::to_string).collect(),
            exclude_verbs: false,
        })
    }

    fn server(labels: &PathLabels, path: &str) -> String {
        labels.server(path, str::to_owned)
    }

    fn client(labels: &PathLabels, path: &str) -> String {
        labels.client(path, str::to_owned)
    }

    #[test]
    fn by_default_paths_are_reduced() {
        let default = labels(true, &[]);
        let table = [
            ("/v1.0/state/s/k", "/v1.0/state/s"),
            ("/v1.0/state/s", "/v1.0/state/s"),
            ("/v1.0/state/s/transaction", "/v1.0/state/s"),
            ("/v1.0/secrets/envs/HOME", "/v1.0/secrets/envs"),
            ("/v1.0-alpha1/state/mem/query", "/v1.0-alpha1/state/mem"),
            ("/v1.0/invoke/a/method/orders/1", "/v1.0/invoke/a/method/orders/1"),
            ("/v1.0//invoke/a/method//x", "/v1.0/invoke/a/method/x"),
            ("/v1.0/actors/T/1/method/foo", "/v1.0/actors/T/{id}/method"),
            ("/v1.0/actors/T/1/state", "/v1.0/actors/T/{id}/state"),
            ("/v1.0/actors/T/1", "/v1.0/actors/T/1"),
            ("/v1.0/workflows/dapr/1", "/v1.0/workflows/dapr/{instanceId}"),
            (
                "/v1.0/workflows/dapr/flow/start",
                "/v1.0/workflows/dapr/flow/start",
            ),
            (
                "/v1.0/workflows/dapr/flow/start?instanceID=1",
                "/v1.0/workflows/dapr/flow/start",
            ),
            (
                "/v1.0/workflows/dapr/1/terminate",
                "/v1.0/workflows/dapr/{instanceId}/terminate",
            ),
            (
                "/v1.0/workflows/dapr/1/raiseEvent/e",
                "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}",
            ),
            (
                "/v1.0/workflows/dapr/1/other/e",
                "/v1.0/workflows/dapr/{instanceId}/other",
            ),
            ("/v1.0/healthz", "/v1.0/healthz"),
            ("/v1.0/healthz/outbound", "/v1.0/healthz/outbound"),
            ("/v1.0/metadata/mykey", "/v1.0/metadata/mykey"),
            ("/v1.0/publish/bulk/ps/orders", "/v1.0/publish/bulk/ps/orders"),
            ("/hello", "/hello"),
            ("", "/"),
            ("/", "/"),
        ];
        for (path, expected) in table {
            assert_eq!(server(&default, path), expected, "{path}");
        }
    }

    #[test]
    fn paths_of_the_app_get_a_slash_but_for_actors() {
        let default = labels(true, &[]);
        let table = [
            ("hi", "/hi"),
            ("orders/1", "/orders/1"),
            ("orders/1/items/2", "/orders/1/items/2"),
            ("actors/T/1/method/m", "actors/T/{id}/method/m"),
            ("/actors/T/1/method/timer/t", "actors/T/{id}/method/timer/t"),
            ("dapr/config", "/dapr/config"),
        ];
        for (path, expected) in table {
            assert_eq!(client(&default, path), expected, "{path}");
        }
    }

    #[test]
    fn low_cardinality_keeps_only_the_paths_of_the_runtime() {
        let low = labels(false, &[]);
        for path in ["/v1.0/state/s/k", "/v1.0/healthz", "/dapr/config"] {
            assert_eq!(server(&low, path), "", "{path}");
        }
        for (path, expected) in [
            ("dapr/config", "/dapr/config"),
            ("/healthz", "/healthz"),
            ("orders", ""),
        ] {
            assert_eq!(client(&low, path), expected, "{path}");
        }
    }

    #[test]
    fn templates_replace_paths() {
        let table: [(bool, &[&str], &str, &str); 12] = [
            (
                false,
                &["/v1.0/state/s/{key}"],
                "/v1.0/state/s/foo",
                "/v1.0/state/s/{key}",
            ),
            (
                false,
                &["/orders/{orderID}"],
                "/v1.0/invoke/a/method/orders/1",
                "/v1.0/invoke/{app_id}/method/orders/{orderID}",
            ),
            (false, &["orders/{orderID}"], "/orders/1", "/orders/{orderID}"),
            (
                false,
                &["/orders/1234", "/orders/{id}"],
                "/orders/1234",
                "/orders/1234",
            ),
            (
                false,
                &["/orders/1234", "/orders/{id}"],
                "/orders/5",
                "/orders/{id}",
            ),
            (false, &["/orders/{id}"], "/items/1", ""),
            (false, &["/"], "/items/1", "/"),
            (
                false,
                &["/v1.0/actors/T/{id}/method"],
                "/v1.0/actors/T/1/method/m",
                "/v1.0/actors/T/{id}/method",
            ),
            (
                true,
                &["/orders/{id}"],
                "/v1.0/invoke/a/method/items/1",
                "/v1.0/invoke/a/method/items/1",
            ),
            (true, &["/orders/{id}"], "/v1.0/state/s/k", "/v1.0/state/s"),
            (true, &["/v1.0/state/s/k"], "/v1.0/state/s/k", "/v1.0/state/s"),
            (
                true,
                &["/v1.0/invoke/{app}/method/x"],
                "/v1.0/invoke/a/method/x",
                "/v1.0/invoke/{app}/method/x",
            ),
        ];
        for (increased, templates, path, expected) in table {
            assert_eq!(
                server(&labels(increased, templates), path),
                expected,
                "{path} with {templates:?}"
            );
        }
    }

    #[test]
    fn unknown_verbs_share_a_label() {
        let default = labels(true, &[]);
        for (verb, expected) in [
            ("GET", "GET"),
            ("delete", "DELETE"),
            ("PROPFIND", "UNKNOWN"),
            ("", "UNKNOWN"),
        ] {
            assert_eq!(default.verb(verb), expected);
        }
        let without = PathLabels::new(&HttpLabels {
            exclude_verbs: true,
            ..HttpLabels::default()
        });
        assert_eq!(without.verb("GET"), "");
    }

    proptest! {
        #[test]
        fn no_path_makes_the_labels_panic(path in "[/a-c{}.$]{0,30}", template in "[/a-c{}.$]{0,12}", increased: bool) {
            let labels = labels(increased, &[&template]);
            let label = server(&labels, &path);
            prop_assert!(label.len() <= path.len() + template.len() + INVOKE_ANY.len() + 32);
        }
    }
}
