//! Methods and access policies: what is judged is what goes on, and the compiled rules say what the written ones do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_config::configuration::{AccessControl, AccessOperation, AccessPolicy};
use outrigger_kit::method;
use outrigger_link::Verb;
use outrigger_proxy::bench_support::Access;

// The first line is switches and the method, each further one a rule of the caller: action, verb, pattern.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let head = lines.next().unwrap_or_default();
    let mut switches = head.chars();
    let mut switch = || switches.next().map_or(0, |letter| letter as u32);
    let (default, own_default, app, entry) = (switch(), switch(), switch(), switch());
    let given: String = switches.collect();

    let operation = normal(&given);
    assert_eq!(method::normalise(&given).ok().as_deref(), operation.as_deref(), "{given:?}");
    let Some(operation) = operation else { return };

    let action = |number: u32| ["allow", "deny", "", "Allow"][(number % 4) as usize].to_owned();
    let operations = lines.map(|line| {
        let mut letters = line.chars();
        let mut number = || letters.next().map_or(0, |letter| letter as u32);
        let (allows, verb) = (number(), number());
        AccessOperation {
            name: letters.collect(),
            http_verbs: vec![["GET", "POST", "*", "get"][(verb % 4) as usize].to_owned()],
            action: action(allows),
        }
    });
    let policy = AccessPolicy {
        app_id: "a".to_owned(),
        default_action: action(own_default),
        trust_domain: "t".to_owned(),
        namespace: "n".to_owned(),
        operations: operations.collect(),
    };
    let section = AccessControl {
        default_action: action(default),
        trust_domain: "public".to_owned(),
        policies: Some(vec![policy]),
    };
    let access = Access::new(section, app % 2 == 0);
    let verb = [None, Some(Verb::NONE), Some(Verb::GET), Some(Verb::POST)][(entry % 4) as usize];
    assert_eq!(
        access.permits(Some("spiffe://t/ns/n/a"), &operation, verb),
        access.permits_naively(Some(("t", "n", "a")), &operation, verb),
        "{operation:?}"
    );
    assert_eq!(
        access.permits(None, &operation, verb),
        access.permits_naively(None, &operation, verb)
    );
});

/// A method as the rules of the specification have it, step by step.
fn normal(method: &str) -> Option<String> {
    if method.bytes().any(|byte| byte < 0x20 || byte == 0x7f || b"#?".contains(&byte)) {
        return None;
    }
    let is_rooted = method.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for segment in method.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        let climbs = segment == "..";
        if climbs && kept.last().is_some_and(|last| *last != "..") {
            kept.pop();
        } else if !(climbs && is_rooted) {
            kept.push(segment);
        }
    }
    let mut text = kept.join("/");
    if is_rooted {
        text.insert(0, '/');
    }
    while let Some(rest) = text.strip_prefix("../") {
        text = rest.to_owned();
    }
    Some(if text == ".." { String::new() } else { text })
}
