//! Paths and methods of calls: what access control judges is clean, stays clean, and is what is sent on.

#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use outrigger_kit::{method, path, percent};
use outrigger_proxy::bench_support::{ApiRouter, target};

static ROUTER: LazyLock<ApiRouter> = LazyLock::new(ApiRouter::new);

fuzz_target!(|text: &str| {
    let cleaned = path::clean(text);
    assert_eq!(path::clean(&cleaned), cleaned);
    assert!(!cleaned.contains("//") && !cleaned.contains("/./"), "{cleaned}");
    let below = cleaned.trim_start_matches("../");
    assert!(
        below == ".." || below.split('/').all(|segment| segment != ".."),
        "{cleaned}"
    );
    assert_eq!(cleaned.starts_with('/'), text.starts_with('/'));

    // A request is the escaped path, then the values of the headers that may name a target.
    let mut lines = text.split('\n');
    let escaped = lines.next().unwrap_or_default();
    let methods = [Method::GET, Method::POST, Method::DELETE];
    let is_route = methods
        .iter()
        .any(|method| ROUTER.finds(method, &path::clean(escaped)));
    assert!(is_route || escaped != "/v1.0/healthz");
    let names = [
        header::HeaderName::from_static("dapr-app-id"),
        header::AUTHORIZATION,
    ];
    let values = lines.map(HeaderValue::from_str);
    let headers: HeaderMap = names
        .into_iter()
        .zip(values)
        .filter_map(|(name, value)| Some((name, value.ok()?)))
        .collect();
    if let Some((_, method)) = target(escaped, &headers) {
        assert!(&*method != ".");
        judge(&method);
    }

    judge(text);
    if let Ok(decoded) = percent::decode_path_text(text) {
        judge(&decoded);
    }
    if let Ok(decoded) = percent::decode_form_text(text) {
        judge(&decoded);
    }
    if method::check_name(text).is_ok() {
        assert!(
            !text.contains(['/', '\\', '#', '?', '\0']) && !["", ".", ".."].contains(&text)
                || text.is_empty()
        );
    }
});

fn judge(text: &str) {
    let Ok(normal) = method::normalise(text) else {
        assert!(
            text.bytes()
                .any(|byte| byte < 0x20 || byte == 0x7f || b"#?".contains(&byte))
        );
        return;
    };
    assert_eq!(
        method::normalise(&normal).as_ref(),
        Ok(&normal),
        "normalising settles at once"
    );
    assert!(
        normal.split('/').all(|segment| ![".", ".."].contains(&segment)),
        "{normal} climbs"
    );
    assert!(
        !normal
            .bytes()
            .any(|byte| byte < 0x20 || byte == 0x7f || b"#?".contains(&byte))
    );
}
