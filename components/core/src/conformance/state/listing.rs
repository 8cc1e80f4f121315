//! Keys by a pattern, and keys that begin alike.

use std::time::Duration;

use super::{Subject, bytes, timed};
use crate::conformance::report::{Case, Failure, Outcome, cases, check, equal};
use crate::state::{KeysLike, Listing};

pub(super) const CASES: &[Case<Subject>] = cases![
    keys_are_listed_by_a_pattern,
    keys_are_listed_in_pages,
    an_empty_pattern_is_refused,
    keys_that_have_expired_are_not_listed,
    keys_that_begin_alike_are_deleted_together,
];

/// Pages after which a listing that has no end is given up.
const MOST_PAGES: usize = 50;

async fn keys_are_listed_by_a_pattern(subject: &Subject) -> Outcome {
    let Some(listing) = subject.store.listing() else {
        return Ok(());
    };
    let names = [
        "like-a",
        "like-b",
        "like-bb",
        "like-100%",
        "like-1000",
        "like*a",
        "like[ab]",
        "Like-a",
    ];
    let keys: Vec<_> = names.iter().map(|name| subject.key(name)).collect();
    let keys: Vec<_> = keys
        .into_iter()
        .filter(|key| (subject.traits.accepts_key)(key))
        .collect();
    for key in &keys {
        subject.set(key, bytes("1")).await?;
    }
    let table: [(&str, &[&str]); 8] = [
        ("like-a", &["like-a"]),
        ("like-_", &["like-a", "like-b"]),
        ("like-b%", &["like-b", "like-bb"]),
        ("like-100\\%", &["like-100%"]),
        ("like-100%", &["like-100%", "like-1000"]),
        ("like*%", &["like*a"]),
        ("like[ab]", &["like[ab]"]),
        ("nothing%", &[]),
    ];
    for (pattern, expected) in table {
        let expected = expected.iter().map(|name| subject.key(name));
        let mut expected: Vec<_> = expected.filter(|key| keys.contains(key)).collect();
        let mut found = all(listing, &subject.key(pattern), None).await?;
        if !subject.traits.lists_oldest_first {
            found.sort();
            expected.sort();
        }
        equal(format_args!("keys like {pattern}"), &found, &expected)?;
    }
    Ok(())
}

async fn keys_are_listed_in_pages(subject: &Subject) -> Outcome {
    let Some(listing) = subject.store.listing() else {
        return Ok(());
    };
    let mut keys = Vec::new();
    for number in 0..10 {
        // Not in the order of their texts.
        let key = subject.key(&format!("page-{}", (number * 7) % 10));
        subject.set(&key, bytes("1")).await?;
        keys.push(key);
    }
    for size in [1, 3, 5, 10, 11] {
        let mut found = all(listing, &subject.key("page-%"), Some(size)).await?;
        if !subject.traits.lists_oldest_first {
            found.sort();
            keys.sort();
        }
        equal(format_args!("pages of {size}"), &found, &keys)?;
    }
    Ok(())
}

async fn an_empty_pattern_is_refused(subject: &Subject) -> Outcome {
    let Some(listing) = subject.store.listing() else {
        return Ok(());
    };
    let refused = listing.keys_like(&KeysLike::default()).await;
    let text = refused.err().map(|error| error.to_string());
    equal(
        "an empty pattern",
        &text.as_deref(),
        &Some("keys like pattern cannot be empty"),
    )
}

async fn keys_that_have_expired_are_not_listed(subject: &Subject) -> Outcome {
    let Some(listing) = subject.store.listing().filter(|_| subject.traits.has("TTL")) else {
        return Ok(());
    };
    let (timed_key, kept) = (subject.key("listed-timed"), subject.key("listed-kept"));
    subject.write(&timed(&timed_key, "1", "2")).await?;
    subject.set(&kept, bytes("1")).await?;
    let limit = Duration::from_secs(2) + subject.traits.expiry_delay;
    subject.expect_gone_within(&timed_key, limit).await?;
    let found = all(listing, &subject.key("listed-%"), None).await?;
    equal("keys", &found, &vec![kept])
}

async fn keys_that_begin_alike_are_deleted_together(subject: &Subject) -> Outcome {
    let Some(prefixes) = subject.store.prefixes() else {
        return Ok(());
    };
    let names = ["alike||a", "alike||b", "alike||b||c", "alike2||a", "alike"];
    let keys = names.map(|name| subject.key(name));
    for key in &keys {
        subject.set(key, bytes("1")).await?;
    }
    let deleted = prefixes.delete_with_prefix(&subject.key("alike")).await?;
    equal("how many", &deleted, &2)?;
    for (key, is_there) in keys.iter().zip([false, false, true, true, true]) {
        equal(key, &subject.item(key).await?.is_some(), &is_there)?;
    }
    Ok(())
}

/// All keys that are like a pattern, page by page.
async fn all(listing: &dyn Listing, pattern: &str, page_size: Option<u32>) -> Result<Vec<String>, Failure> {
    let mut request = KeysLike {
        pattern: pattern.to_owned(),
        token: None,
        page_size,
    };
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = listing.keys_like(&request).await?;
        let (count, most) = (
            page.keys.len(),
            page_size.map_or(usize::MAX, |size| size as usize),
        );
        check!(count <= most, "a page of {page_size:?} has {count} keys");
        found.extend(page.keys);
        if page.token.is_none() {
            return Ok(found);
        }
        request.token = page.token;
    }
    Err(Failure::new(format!("no end after {MOST_PAGES} pages")))
}
