//! Several writes that happen together or not at all.

use super::{Refusal, Subject, bytes, tagged, tagged_delete};
use crate::conformance::report::{Case, Outcome, cases, check, equal};
use crate::state::{Concurrency, DeleteRequest, Operation, SetRequest};

pub(super) const CASES: &[Case<Subject>] = cases![
    a_transaction_does_all_its_operations,
    operations_on_one_key_are_done_in_their_order,
    a_transaction_without_operations_is_done,
    a_transaction_of_one_operation_is_done,
    a_write_that_is_refused_undoes_the_whole,
    a_delete_that_is_refused_undoes_the_whole,
    an_option_without_a_meaning_undoes_the_whole,
    the_most_operations_are_as_the_store_says,
    as_many_operations_as_there_may_be_are_done,
];

async fn a_transaction_does_all_its_operations(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    let keys = ["all-new", "all-old", "all-gone", "all-missing"].map(|name| subject.key(name));
    subject.set_for_transactions(&keys[1], "1").await?;
    subject.set_for_transactions(&keys[2], "1").await?;
    let operations = vec![
        Operation::Set(SetRequest::new(&*keys[0], bytes("2"))),
        Operation::Set(SetRequest::new(&*keys[1], serde_json::json!("2"))),
        Operation::Delete(DeleteRequest::new(&*keys[2])),
        Operation::Delete(DeleteRequest::new(&*keys[3])),
    ];
    transactions.transact(&subject.transaction(operations)).await?;
    let expected = [Some(bytes("2")), Some(bytes("\"2\"")), None, None];
    for (key, expected) in keys.iter().zip(expected) {
        equal(key, &subject.transacted(key).await?, &expected)?;
    }
    Ok(())
}

async fn operations_on_one_key_are_done_in_their_order(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    let (kept, gone) = (subject.key("order-kept"), subject.key("order-gone"));
    let operations = vec![
        Operation::Set(SetRequest::new(&*kept, bytes("1"))),
        Operation::Set(SetRequest::new(&*gone, bytes("1"))),
        Operation::Delete(DeleteRequest::new(&*kept)),
        Operation::Delete(DeleteRequest::new(&*gone)),
        Operation::Set(SetRequest::new(&*kept, bytes("2"))),
    ];
    let transaction = subject.transaction(operations);
    transactions.transact(&transaction).await?;
    equal(&kept, &subject.transacted(&kept).await?, &Some(bytes("2")))?;
    equal(&gone, &subject.transacted(&gone).await?, &None)
}

async fn a_transaction_without_operations_is_done(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    Ok(transactions.transact(&subject.transaction(Vec::new())).await?)
}

async fn a_transaction_of_one_operation_is_done(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    let key = subject.key("single");
    let write = Operation::Set(SetRequest::new(&*key, bytes("1")));
    transactions.transact(&subject.transaction(vec![write])).await?;
    equal(&key, &subject.transacted(&key).await?, &Some(bytes("1")))?;
    let delete = Operation::Delete(DeleteRequest::new(&*key));
    transactions.transact(&subject.transaction(vec![delete])).await?;
    equal(&key, &subject.transacted(&key).await?, &None)
}

async fn a_write_that_is_refused_undoes_the_whole(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    let (key, stale) = stale(subject, "undone-write").await?;
    let other = subject.key("undone-write-other");
    let operations = vec![
        Operation::Set(SetRequest::new(&*other, bytes("1"))),
        Operation::Set(tagged(&key, "3", &stale)),
    ];
    let refused = transactions.transact(&subject.transaction(operations)).await;
    check!(refused.is_err(), "it is not refused");
    equal(&key, &subject.transacted(&key).await?, &Some(bytes("2")))?;
    if subject.traits.is_atomic {
        equal(&other, &subject.transacted(&other).await?, &None)?;
    }
    Ok(())
}

async fn a_delete_that_is_refused_undoes_the_whole(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    if !subject.traits.checks_deletes_in_transactions {
        return Ok(());
    }
    let (key, stale) = stale(subject, "undone-delete").await?;
    let other = subject.key("undone-delete-other");
    subject.set_for_transactions(&other, "1").await?;
    let operations = vec![
        Operation::Delete(DeleteRequest::new(&*other)),
        Operation::Delete(tagged_delete(&key, &stale)),
    ];
    let refused = transactions.transact(&subject.transaction(operations)).await;
    check!(refused.is_err(), "it is not refused");
    equal(&key, &subject.transacted(&key).await?, &Some(bytes("2")))?;
    if subject.traits.is_atomic {
        equal(&other, &subject.transacted(&other).await?, &Some(bytes("1")))?;
    }
    Ok(())
}

async fn an_option_without_a_meaning_undoes_the_whole(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    if !subject.traits.checks_options || !subject.traits.is_atomic {
        return Ok(());
    }
    let keys = ["undone-option-a", "undone-option-b"].map(|name| subject.key(name));
    let mut wrong = SetRequest::new(&*keys[1], bytes("1"));
    wrong.options.concurrency = Concurrency::from("never");
    let writes = vec![
        Operation::Set(SetRequest::new(&*keys[0], bytes("1"))),
        Operation::Set(wrong),
    ];
    let refused = transactions.transact(&subject.transaction(writes)).await;
    Refusal::Other.expect("an option without a meaning", refused)?;
    for key in &keys {
        equal(key, &subject.transacted(key).await?, &None)?;
    }
    Ok(())
}

async fn the_most_operations_are_as_the_store_says(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    let found = transactions.max_operations().await;
    equal("the most operations", &found, &subject.traits.max_operations)
}

async fn as_many_operations_as_there_may_be_are_done(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions() else {
        return Ok(());
    };
    let count = subject.traits.max_operations.unwrap_or(200);
    let keys: Vec<_> = (0..count)
        .map(|number| subject.key(&format!("most-{number}")))
        .collect();
    let writes = keys
        .iter()
        .map(|key| Operation::Set(SetRequest::new(&**key, bytes("1"))));
    transactions
        .transact(&subject.transaction(writes.collect()))
        .await?;
    for key in keys.iter().step_by(17) {
        equal(key, &subject.transacted(key).await?, &Some(bytes("1")))?;
    }
    Ok(())
}

/// A key that has been written twice, and its tag from between.
async fn stale(
    subject: &Subject,
    name: &str,
) -> Result<(String, String), crate::conformance::report::Failure> {
    let key = subject.key(name);
    subject.set_for_transactions(&key, "1").await?;
    let item = subject.transacted_item(&key).await?;
    let etag = item.and_then(|item| item.etag).unwrap_or_default();
    subject.set_for_transactions(&key, "2").await?;
    Ok((key, etag))
}
