//! Several keys in one call.

use bytes::Bytes;

use super::{BulkOrder, Subject, bytes, tagged, tagged_delete};
use crate::conformance::report::{Case, Failure, Outcome, cases, check, equal};
use crate::state::{BulkError, BulkItem, DeleteRequest, GetRequest, SetRequest};

pub(super) const CASES: &[Case<Subject>] = cases![
    several_values_are_written_read_and_deleted,
    no_keys_have_no_values,
    a_hundred_keys_are_read_in_one_call,
    one_conflict_of_several_writes_is_named_and_the_others_are_done,
    one_conflict_of_several_deletes_is_named_and_the_others_are_done,
];

async fn several_values_are_written_read_and_deleted(subject: &Subject) -> Outcome {
    let keys: Vec<_> = (0..9)
        .map(|number| subject.key(&format!("bulk-{number}")))
        .collect();
    let present: Vec<_> = keys.iter().skip(2).step_by(2).collect();
    let writes: Vec<_> = present
        .iter()
        .map(|key| SetRequest::new(key.as_str(), Bytes::from(format!("value of {key}"))))
        .collect();
    subject.store.bulk_set(&writes).await?;

    let answers = read(subject, &keys, 3).await?;
    let names: Vec<_> = answers.iter().map(|answer| &answer.key).collect();
    let missing: Vec<_> = keys.iter().filter(|key| !present.contains(key)).collect();
    match subject.traits.bulk_order {
        BulkOrder::Requested => equal("order", &names, &keys.iter().collect())?,
        BulkOrder::FoundFirst => {
            let last: Vec<_> = names.iter().skip(present.len()).copied().collect();
            equal("missing keys at the end", &last, &missing)?;
        }
        BulkOrder::Any => {}
    }
    check!(
        names.len() == keys.len(),
        "{} keys have {} answers",
        keys.len(),
        names.len()
    );
    for answer in &answers {
        let (key, found) = (&answer.key, data(answer)?);
        let expected = present.contains(&key).then(|| format!("value of {key}"));
        equal(key, &found.as_deref(), &expected.as_deref().map(str::as_bytes))?;
        if subject.traits.has("ETAG") && found.is_some() {
            let item = answer.outcome.as_ref().ok().and_then(Option::as_ref);
            let etag = item.and_then(|item| item.etag.clone());
            equal(
                format_args!("etag of {key}"),
                &etag,
                &Some(subject.etag(key).await?),
            )?;
        }
    }

    let deletes: Vec<_> = keys.iter().map(DeleteRequest::new).collect();
    subject.store.bulk_delete(&deletes).await?;
    for key in &keys {
        subject.expect_none(key).await?;
    }
    Ok(())
}

async fn no_keys_have_no_values(subject: &Subject) -> Outcome {
    check!(read(subject, &[], 0).await?.is_empty(), "there are answers");
    subject.store.bulk_set(&[]).await?;
    Ok(subject.store.bulk_delete(&[]).await?)
}

async fn a_hundred_keys_are_read_in_one_call(subject: &Subject) -> Outcome {
    let keys: Vec<_> = (0..100)
        .map(|number| subject.key(&format!("hundred-{number}")))
        .collect();
    let writes: Vec<_> = keys
        .iter()
        .map(|key| SetRequest::new(key.as_str(), Bytes::from(key.clone())))
        .collect();
    subject.store.bulk_set(&writes).await?;
    let answers = read(subject, &keys, 0).await?;
    equal("answers", &answers.len(), &keys.len())?;
    for answer in &answers {
        equal(
            &answer.key,
            &data(answer)?.as_deref(),
            &Some(answer.key.as_bytes()),
        )?;
    }
    Ok(())
}

async fn one_conflict_of_several_writes_is_named_and_the_others_are_done(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let keys = ["one-write-a", "one-write-b", "one-write-c"].map(|name| subject.key(name));
    let stale = stale_etag(subject, &keys[1]).await?;
    let writes = [
        SetRequest::new(&*keys[0], bytes("new")),
        tagged(&keys[1], "new", &stale),
        SetRequest::new(&*keys[2], bytes("new")),
    ];
    names_one(subject.store.bulk_set(&writes).await, &keys[1])?;
    subject.expect(&keys[0], "new").await?;
    subject.expect(&keys[1], "2").await?;
    subject.expect(&keys[2], "new").await
}

async fn one_conflict_of_several_deletes_is_named_and_the_others_are_done(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let keys = ["one-delete-a", "one-delete-b", "one-delete-c"].map(|name| subject.key(name));
    subject.set(&keys[0], bytes("1")).await?;
    subject.set(&keys[2], bytes("1")).await?;
    let stale = stale_etag(subject, &keys[1]).await?;
    let deletes = [
        DeleteRequest::new(&*keys[0]),
        tagged_delete(&keys[1], &stale),
        DeleteRequest::new(&*keys[2]),
    ];
    names_one(subject.store.bulk_delete(&deletes).await, &keys[1])?;
    subject.expect_none(&keys[0]).await?;
    subject.expect(&keys[1], "2").await?;
    subject.expect_none(&keys[2]).await
}

/// Writes `1` and then `2`, and gives the tag of the first.
async fn stale_etag(subject: &Subject, key: &str) -> Result<String, Failure> {
    subject.set(key, bytes("1")).await?;
    let etag = subject.etag(key).await?;
    subject.set(key, bytes("2")).await?;
    Ok(etag)
}

async fn read(subject: &Subject, keys: &[String], parallelism: usize) -> Result<Vec<BulkItem>, Failure> {
    let requests: Vec<_> = keys.iter().map(GetRequest::new).collect();
    Ok(subject.store.bulk_get(&requests, parallelism).await?)
}

fn data(answer: &BulkItem) -> Result<Option<Bytes>, Failure> {
    match &answer.outcome {
        Ok(item) => Ok(item.as_ref().and_then(|item| item.data.clone())),
        Err(error) => Err(Failure::new(format!("{}: {error}", answer.key))),
    }
}

/// Ends a case unless exactly this key is named, with an error about its tag.
fn names_one(outcome: Result<(), BulkError>, key: &str) -> Outcome {
    match outcome {
        Err(BulkError::Items(items)) => {
            let named: Vec<_> = items.iter().map(|item| item.key.as_deref()).collect();
            equal("keys with errors", &named, &vec![Some(key)])?;
            check!(
                items.iter().all(|item| item.error.is_about_etag()),
                "not about an etag: {}",
                items[0]
            );
            Ok(())
        }
        other => Err(Failure::new(format!("{other:?}, expected an error of one item"))),
    }
}
