//! Writers that meet: of those that name one tag exactly one wins.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Refusal, Subject, bytes};
use crate::conformance::report::{Case, Failure, Outcome, cases, check, equal};
use crate::state::{Concurrency, DeleteRequest, Operation, SetRequest, StateError};

pub(super) const CASES: &[Case<Subject>] = cases![
    of_writers_with_one_etag_exactly_one_wins,
    of_first_writers_exactly_one_wins,
    of_a_writer_and_a_deleter_with_one_etag_exactly_one_wins,
    counters_that_are_raised_by_etag_lose_nothing,
    transactions_that_meet_are_never_mixed,
    of_transactions_with_one_etag_exactly_one_wins,
];

const ROUNDS: usize = 8;
const WRITERS: usize = 6;

async fn of_writers_with_one_etag_exactly_one_wins(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let key = subject.key("race-etag");
    subject.set(&key, bytes("0")).await?;
    for round in 0..ROUNDS {
        let etag = Some(subject.etag(&key).await?);
        let writes = (0..WRITERS).map(|writer| SetRequest {
            etag: etag.clone(),
            ..SetRequest::new(&*key, Bytes::from(format!("{round}-{writer}")))
        });
        let winner = only_winner(race(subject, writes.collect()).await?, Refusal::Mismatch)?;
        subject.expect(&key, &format!("{round}-{winner}")).await?;
    }
    Ok(())
}

async fn of_first_writers_exactly_one_wins(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") || subject.traits.first_write == Refusal::None {
        return Ok(());
    }
    for round in 0..ROUNDS {
        let key = subject.key(&format!("race-first-{round}"));
        let writes = (0..WRITERS).map(|writer| {
            let mut request = SetRequest::new(&*key, Bytes::from(writer.to_string()));
            request.options.concurrency = Concurrency::FirstWrite;
            request
        });
        let outcomes = race(subject, writes.collect()).await?;
        let winner = only_winner(outcomes, subject.traits.first_write)?;
        subject.expect(&key, &winner.to_string()).await?;
    }
    Ok(())
}

async fn of_a_writer_and_a_deleter_with_one_etag_exactly_one_wins(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") || subject.traits.inserts_with_etag {
        return Ok(());
    }
    for round in 0..ROUNDS {
        let key = subject.key(&format!("race-delete-{round}"));
        subject.set(&key, bytes("0")).await?;
        let etag = subject.etag(&key).await?;
        let delete = DeleteRequest {
            etag: Some(etag.clone()),
            ..DeleteRequest::new(&*key)
        };
        let store = Arc::clone(&subject.store);
        let deleter = tokio::spawn(async move { store.delete(&delete).await });
        let write = SetRequest {
            etag: Some(etag),
            ..SetRequest::new(&*key, bytes("1"))
        };
        let written = subject.store.set(&write).await;
        let deleted = deleter.await?;
        let is_there = subject.item(&key).await?.is_some();
        let won = (written.is_ok(), deleted.is_ok());
        check!(won.0 != won.1, "written and deleted: {won:?}");
        equal("the value is there", &is_there, &won.0)?;
    }
    Ok(())
}

async fn counters_that_are_raised_by_etag_lose_nothing(subject: &Subject) -> Outcome {
    if !subject.traits.has("ETAG") {
        return Ok(());
    }
    let key = subject.key("race-counter");
    subject.set(&key, bytes("0")).await?;
    let raisers = (0..4).map(async |_| -> Outcome {
        for _ in 0..5 {
            raise(subject, &key).await?;
        }
        Ok(())
    });
    join_all(raisers).await.into_iter().collect::<Outcome>()?;
    subject.expect(&key, "20").await
}

async fn transactions_that_meet_are_never_mixed(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions().filter(|_| subject.traits.is_atomic) else {
        return Ok(());
    };
    let keys = ["race-mixed-a", "race-mixed-b", "race-mixed-c"].map(|name| subject.key(name));
    for round in 0..ROUNDS {
        let writers = (0..WRITERS).map(async |writer| {
            let value = Bytes::from(format!("{round}-{writer}"));
            let writes = keys
                .iter()
                .map(|key| Operation::Set(SetRequest::new(&**key, value.clone())));
            let transaction = subject.transaction(writes.collect());
            transactions.transact(&transaction).await
        });
        // Stores may refuse one that meets another, and never do half of it.
        let outcomes = join_all(writers).await;
        check!(
            outcomes.iter().any(Result::is_ok),
            "none is done: {:?}",
            outcomes[0]
        );
        let first = subject.transacted(&keys[0]).await?;
        for key in &keys {
            equal(key, &subject.transacted(key).await?, &first)?;
        }
    }
    Ok(())
}

async fn of_transactions_with_one_etag_exactly_one_wins(subject: &Subject) -> Outcome {
    let Some(transactions) = subject.transactions().filter(|_| subject.traits.is_atomic) else {
        return Ok(());
    };
    let (key, other) = (
        subject.key("race-transaction"),
        subject.key("race-transaction-other"),
    );
    subject.set_for_transactions(&key, "0").await?;
    for round in 0..ROUNDS {
        let item = subject.transacted_item(&key).await?;
        let etag = item.and_then(|item| item.etag);
        let writers = (0..WRITERS).map(async |writer| {
            let value = Bytes::from(format!("{round}-{writer}"));
            let tagged = SetRequest {
                etag: etag.clone(),
                ..SetRequest::new(&*key, value.clone())
            };
            let writes = vec![
                Operation::Set(SetRequest::new(&*other, value)),
                Operation::Set(tagged),
            ];
            transactions.transact(&subject.transaction(writes)).await
        });
        let won: Vec<_> = join_all(writers).await.iter().map(Result::is_ok).collect();
        let winners: Vec<_> = (0..WRITERS).filter(|writer| won[*writer]).collect();
        check!(winners.len() == 1, "winners: {winners:?}");
        let expected = Some(Bytes::from(format!("{round}-{}", winners[0])));
        equal(
            "the key with the etag",
            &subject.transacted(&key).await?,
            &expected,
        )?;
        equal("the key beside it", &subject.transacted(&other).await?, &expected)?;
    }
    Ok(())
}

/// Writes at the same time, each in a task of its own.
async fn race(subject: &Subject, writes: Vec<SetRequest>) -> Result<Vec<Result<(), StateError>>, Failure> {
    let tasks = writes.into_iter().map(|write| {
        let store = Arc::clone(&subject.store);
        tokio::spawn(async move { store.set(&write).await })
    });
    let tasks: Vec<_> = tasks.collect();
    let outcomes = join_all(tasks).await;
    Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
}

/// The number of the one write that succeeded; the others were refused in one way.
fn only_winner(outcomes: Vec<Result<(), StateError>>, refusal: Refusal) -> Result<usize, Failure> {
    let winners: Vec<_> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| outcome.is_ok())
        .collect();
    let winners: Vec<_> = winners.into_iter().map(|(writer, _)| writer).collect();
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refusal.expect("a writer that lost", outcome)?;
    }
    match winners[..] {
        [winner] => Ok(winner),
        _ => Err(Failure::new(format!("{} writers won", winners.len()))),
    }
}

/// Reads a number and writes the next one, until nobody came between.
async fn raise(subject: &Subject, key: &str) -> Outcome {
    loop {
        let item = subject.item(key).await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&item.data.unwrap_or_default()).into_owned();
        let number: u32 = text.parse()?;
        let write = SetRequest {
            etag: item.etag,
            ..SetRequest::new(key, Bytes::from((number + 1).to_string()))
        };
        match subject.store.set(&write).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_about_etag() => {}
            Err(error) => return Err(error.into()),
        }
    }
}
