//! The rules of access control once more, word for word as the specification puts them and with no thought of
//! speed: what the compiled policies are held against in tests and under the fuzzer.
//!
//! Source: specification, access control 1.2 to 1.4.

use outrigger_config::configuration::{AccessControl, AccessOperation, AccessPolicy};
use outrigger_link::Verb;

/// Whether a call is allowed. `is_http_app` is what the policies are compiled for; `verb` is none where the call
/// is not matched as one of HTTP. None if there is no access control at all.
pub(crate) fn allows(
    section: &AccessControl,
    is_http_app: bool,
    peer: Option<(&str, &str, &str)>,
    operation: &str,
    verb: Option<Verb>,
) -> Option<bool> {
    let policies = section.policies.clone();
    let no_policies = policies.as_ref().is_none_or(|list| list.is_empty());
    if section.default_action.is_empty() && section.trust_domain.is_empty() && no_policies {
        return None;
    }
    let mut action = section.default_action.to_lowercase();
    if action.is_empty() {
        let explicit_empty = policies == Some(Vec::new());
        action = if explicit_empty { "allow" } else { "deny" }.to_owned();
    }
    let is_allow = |action: &str| Some(action.to_lowercase() == "allow");
    let Some((trust_domain, namespace, app_id)) = peer else {
        return is_allow(&action);
    };
    let key = format!("{app_id}||{namespace}");
    let policies = policies.unwrap_or_default();
    let fitting = |policy: &&AccessPolicy| format!("{}||{}", policy.app_id, policy.namespace) == key;
    let Some(policy) = policies.iter().rfind(fitting) else {
        return is_allow(&action);
    };
    if policy.trust_domain != trust_domain {
        return is_allow(&action);
    }
    if !policy.default_action.is_empty() {
        action.clone_from(&policy.default_action);
    }
    let mut wanted = with_slash(operation);
    if verb.is_some() {
        wanted = super::lower(&wanted);
    }
    let Some(entry) = search(&tree(&policy.operations, is_http_app), &wanted) else {
        return is_allow(&action);
    };
    match verb {
        None => action = entry.action,
        Some(Verb::NONE) => action.clone_from(&policy.default_action),
        Some(verb) => {
            let exact = entry
                .http_verbs
                .iter()
                .any(|name| Some(name.as_str()) == verb.name());
            if exact || entry.http_verbs.iter().any(|name| name == "*") {
                action = entry.action;
            }
        }
    }
    is_allow(&action)
}

#[derive(Default)]
struct Node {
    label: String,
    data: Option<AccessOperation>,
    children: Vec<Self>,
}

fn with_slash(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/{name}"),
    }
}

fn labels(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|part| format!("/{part}")).collect()
}

fn tree(operations: &[AccessOperation], is_http: bool) -> Node {
    let mut root = Node::default();
    for operation in operations {
        let mut name = with_slash(&operation.name);
        if is_http {
            name = super::lower(&name);
        }
        let mut node = &mut root;
        for label in labels(&name) {
            if !node.children.iter().any(|child| child.label == label) {
                node.children.push(Node {
                    label: label.clone(),
                    ..Node::default()
                });
            }
            let found = node.children.iter_mut().find(|child| child.label == label);
            node = found.expect("it is there or was just added");
        }
        if node.data.is_none() {
            node.data = Some(operation.clone());
        }
    }
    root
}

fn child<'a>(node: &'a Node, wanted: &str, is_end: bool) -> Option<&'a Node> {
    node.children.iter().find(|child| {
        if child.label == wanted {
            return true;
        }
        match child.label.as_str() {
            "/*" => is_end,
            "/**" => true,
            label => fits(
                &label.chars().collect::<Vec<_>>(),
                &wanted.chars().collect::<Vec<_>>(),
            ),
        }
    })
}

fn search(root: &Node, path: &str) -> Option<AccessOperation> {
    let parts = labels(path);
    let mut node = root;
    for (index, part) in parts.iter().enumerate() {
        let is_end = index + 1 == parts.len();
        let found = child(node, part, is_end)?;
        if let Some(data) = &found.data {
            let goes_on = found.label.ends_with("/*") && !is_end;
            if !goes_on {
                return Some(data.clone());
            }
        } else if is_end {
            return child(found, "/*", true)?.data.clone();
        }
        node = found;
    }
    None
}

/// By trying every split; one row a character of the pattern, so that no pattern takes forever.
fn fits(glob: &[char], text: &[char]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for &wanted in glob {
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = match wanted {
                '*' => reached.iter().take(end + 1).any(|&reached| reached),
                letter => end > 0 && reached[end - 1] && text[end - 1] == letter,
            };
        }
        reached = next;
    }
    reached[text.len()]
}
