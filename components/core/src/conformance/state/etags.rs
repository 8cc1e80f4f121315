//! Tags: a write that names one happens only to the value that has it.

use super::{Refusal, Subject, bytes, first, tagged, tagged_delete};
use crate::conformance::report::{Case, Outcome, cases, check};
use crate::state::{Concurrency, Consistency, DeleteRequest, SetRequest};

pub(super) const CASES: &[Case<Subject>] = cases![
    every_write_makes_a_new_etag,
    a_write_needs_the_present_etag,
    a_write_with_an_etag_needs_a_value,
    a_delete_needs_the_present_etag,
    an_etag_that_cannot_be_read_is_refused,
    a_first_write_needs_a_free_key,
    a_last_write_passes_over_everything,
    options_without_a_meaning_are_refused,
];

/// A tag of no store, and the forms that stores have: a number, a UUID.
const UNREADABLE: &str = "not an etag";

async fn every_write_makes_a_new_etag(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") || !subject.traits.renews_etags {
        return Ok(());
    }
    let key = subject.key("etag-new");
    let mut seen = Vec::new();
    for _ in 0..5 {
        subject.set(&key, bytes("same")).await?;
        let etag = subject.etag(&key).await?;
        check!(!seen.contains(&etag), "{etag} comes back");
        check!(subject.etag(&key).await? == etag, "it changes without a write");
        seen.push(etag);
    }
    Ok(())
}

async fn a_write_needs_the_present_etag(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let key = subject.key("etag-write");
    subject.set(&key, bytes("1")).await?;
    let stale = subject.etag(&key).await?;
    subject.write(&tagged(&key, "2", &stale)).await?;
    subject.expect(&key, "2").await?;
    let refused = subject.store.set(&tagged(&key, "3", &stale)).await;
    Refusal::Mismatch.expect("a stale etag", refused)?;
    subject.expect(&key, "2").await?;
    let present = subject.etag(&key).await?;
    let mut request = tagged(&key, "4", &present);
    request.options.concurrency = Concurrency::FirstWrite;
    request.options.consistency = Consistency::Strong;
    subject.write(&request).await?;
    subject.expect(&key, "4").await
}

async fn a_write_with_an_etag_needs_a_value(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let key = subject.key("etag-missing");
    subject.set(&key, bytes("1")).await?;
    let etag = subject.etag(&key).await?;
    subject.delete(&key).await?;
    let deleted = subject.store.delete(&tagged_delete(&key, &etag)).await;
    if subject.traits.inserts_with_etag {
        return subject.write(&tagged(&key, "2", &etag)).await;
    }
    Refusal::Mismatch.expect("a delete of a missing key", deleted)?;
    let refused = subject.store.set(&tagged(&key, "2", &etag)).await;
    Refusal::Mismatch.expect("a write of a missing key", refused)?;
    subject.expect_none(&key).await
}

async fn a_delete_needs_the_present_etag(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let key = subject.key("etag-delete");
    subject.set(&key, bytes("1")).await?;
    let stale = subject.etag(&key).await?;
    subject.set(&key, bytes("2")).await?;
    let refused = subject.store.delete(&tagged_delete(&key, &stale)).await;
    Refusal::Mismatch.expect("a stale etag", refused)?;
    subject.expect(&key, "2").await?;
    let present = subject.etag(&key).await?;
    subject.store.delete(&tagged_delete(&key, &present)).await?;
    subject.expect_none(&key).await
}

async fn an_etag_that_cannot_be_read_is_refused(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let key = subject.key("etag-unreadable");
    subject.set(&key, bytes("1")).await?;
    let expected = subject.traits.unreadable_etag;
    let refused = subject.store.set(&tagged(&key, "2", UNREADABLE)).await;
    expected.expect("a write", refused)?;
    let refused = subject.store.delete(&tagged_delete(&key, UNREADABLE)).await;
    let expected = match subject.traits.calls_failed_deletes_mismatches {
        true => Refusal::Mismatch,
        false => expected,
    };
    expected.expect("a delete", refused)?;
    subject.expect(&key, "1").await
}

async fn a_first_write_needs_a_free_key(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") || subject.traits.first_write == Refusal::None {
        return Ok(());
    }
    let key = subject.key("first-write");
    subject.write(&first(&key, "1")).await?;
    let refused = subject.store.set(&first(&key, "2")).await;
    subject
        .traits
        .first_write
        .expect("a second first write", refused)?;
    subject.expect(&key, "1").await?;
    if subject.traits.first_write_is_sticky {
        let refused = subject.store.set(&SetRequest::new(&*key, bytes("2"))).await;
        subject
            .traits
            .first_write
            .expect("a plain write over a first one", refused)?;
        let plain = subject.key("first-write-plain");
        subject.set(&plain, bytes("1")).await?;
        subject.write(&first(&plain, "2")).await?;
    } else {
        subject.set(&key, bytes("2")).await?;
        let refused = subject.store.set(&first(&key, "3")).await;
        subject
            .traits
            .first_write
            .expect("a first write over a plain one", refused)?;
        subject.expect(&key, "2").await?;
    }
    let mut delete = DeleteRequest::new(&*key);
    delete.options.concurrency = Concurrency::FirstWrite;
    let deleted = subject.store.delete(&delete).await;
    if subject.traits.first_write_guards_delete {
        Refusal::Mismatch.expect("a delete as a first write", deleted)?;
        subject.delete(&key).await?;
    } else {
        deleted?;
    }
    subject.write(&first(&key, "4")).await?;
    subject.expect(&key, "4").await
}

async fn a_last_write_passes_over_everything(subject: &Subject) -> Outcome {
    let key = subject.key("last-write");
    for text in ["1", "2"] {
        let mut request = SetRequest::new(&*key, bytes(text));
        request.options.concurrency = Concurrency::LastWrite;
        request.options.consistency = Consistency::Eventual;
        subject.write(&request).await?;
        subject.expect(&key, text).await?;
    }
    Ok(())
}

async fn options_without_a_meaning_are_refused(subject: &Subject) -> Outcome {
    if !subject.traits.checks_options {
        return Ok(());
    }
    let key = subject.key("options");
    let mut request = SetRequest::new(&*key, bytes("1"));
    request.options.concurrency = Concurrency::from("first");
    let refused = subject
        .store
        .set(&request)
        .await
        .err()
        .map(|error| error.to_string());
    check!(
        refused.as_deref() == Some("unrecognized concurrency model 'first'"),
        "a write with a concurrency that is none: {refused:?}"
    );
    request.options.concurrency = Concurrency::Unspecified;
    request.options.consistency = Consistency::from("soon");
    let refused = subject
        .store
        .set(&request)
        .await
        .err()
        .map(|error| error.to_string());
    check!(
        refused.as_deref() == Some("unrecognized consistency model 'soon'"),
        "a write with a consistency that is none: {refused:?}"
    );
    subject.expect_none(&key).await
}
