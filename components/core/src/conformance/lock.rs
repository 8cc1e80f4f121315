//! What every lock store does.
//!
//! Source: specification, distributed lock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use outrigger_kit::id::uuid;
use tokio::time::{Instant, sleep};

use super::report::{Case, Outcome, cases, check, equal, report};
use crate::lock::{LockStore, Unlocked};

/// A store under test.
struct Subject {
    store: Arc<dyn LockStore>,
    prefix: String,
}

const CASES: &[Case<Subject>] = cases![
    a_lock_has_one_owner,
    a_lock_is_not_taken_twice_by_its_owner,
    a_lock_is_given_back_by_its_owner_only,
    a_lock_is_free_when_its_time_is_over,
    of_those_who_want_a_lock_exactly_one_gets_it,
    unusual_names_are_names_like_others,
];

const LONG: Duration = Duration::from_secs(1000);

/// Runs the suite.
///
/// # Panics
/// If a case fails, with the names of all that do.
pub async fn run(name: &str, store: Arc<dyn LockStore>) {
    let prefix = format!("lock||{}", uuid());
    report(name, CASES, &Subject { store, prefix }).await;
}

impl Subject {
    fn resource(&self, name: &str) -> String {
        format!("{}||{name}", self.prefix)
    }
}

async fn a_lock_has_one_owner(subject: &Subject) -> Outcome {
    let (resource, other) = (subject.resource("one"), subject.resource("other"));
    equal(
        "the first",
        &subject.store.try_lock(&resource, "a", LONG).await?,
        &true,
    )?;
    equal(
        "the second",
        &subject.store.try_lock(&resource, "b", LONG).await?,
        &false,
    )?;
    equal(
        "another lock",
        &subject.store.try_lock(&other, "b", LONG).await?,
        &true,
    )
}

async fn a_lock_is_not_taken_twice_by_its_owner(subject: &Subject) -> Outcome {
    let resource = subject.resource("twice");
    equal(
        "once",
        &subject.store.try_lock(&resource, "a", LONG).await?,
        &true,
    )?;
    equal(
        "twice",
        &subject.store.try_lock(&resource, "a", LONG).await?,
        &false,
    )
}

async fn a_lock_is_given_back_by_its_owner_only(subject: &Subject) -> Outcome {
    let resource = subject.resource("back");
    let unlock = async |owner| subject.store.unlock(&resource, owner).await;
    equal("before it is taken", &unlock("a").await?, &Unlocked::DoesNotExist)?;
    equal(
        "it is taken",
        &subject.store.try_lock(&resource, "a", LONG).await?,
        &true,
    )?;
    equal("by another", &unlock("b").await?, &Unlocked::BelongsToOthers)?;
    equal(
        "it is still taken",
        &subject.store.try_lock(&resource, "b", LONG).await?,
        &false,
    )?;
    equal("by its owner", &unlock("a").await?, &Unlocked::Success)?;
    equal("once more", &unlock("a").await?, &Unlocked::DoesNotExist)?;
    equal(
        "it is free",
        &subject.store.try_lock(&resource, "b", LONG).await?,
        &true,
    )
}

async fn a_lock_is_free_when_its_time_is_over(subject: &Subject) -> Outcome {
    let resource = subject.resource("time");
    let short = Duration::from_secs(1);
    equal(
        "it is taken",
        &subject.store.try_lock(&resource, "a", short).await?,
        &true,
    )?;
    equal(
        "it is not free",
        &subject.store.try_lock(&resource, "b", LONG).await?,
        &false,
    )?;
    let limit = Instant::now() + Duration::from_secs(4);
    while !subject.store.try_lock(&resource, "b", LONG).await? {
        check!(Instant::now() < limit, "it is never free");
        sleep(Duration::from_millis(50)).await;
    }
    let unlocked = subject.store.unlock(&resource, "a").await?;
    equal("the owner of before", &unlocked, &Unlocked::BelongsToOthers)
}

async fn of_those_who_want_a_lock_exactly_one_gets_it(subject: &Subject) -> Outcome {
    for round in 0..10 {
        let resource = subject.resource(&format!("race-{round}"));
        let wanters = (0..8).map(|owner| {
            let (store, resource) = (Arc::clone(&subject.store), resource.clone());
            tokio::spawn(async move { store.try_lock(&resource, &owner.to_string(), LONG).await })
        });
        let wanters: Vec<_> = wanters.collect();
        let mut owners = Vec::new();
        for (owner, outcome) in join_all(wanters).await.into_iter().enumerate() {
            if outcome?? {
                owners.push(owner.to_string());
            }
        }
        check!(owners.len() == 1, "owners: {owners:?}");
        let unlocked = subject.store.unlock(&resource, &owners[0]).await?;
        equal("its owner gives it back", &unlocked, &Unlocked::Success)?;
    }
    Ok(())
}

async fn unusual_names_are_names_like_others(subject: &Subject) -> Outcome {
    for name in [
        "a b",
        "ünïcödé 𝄞",
        "a/b",
        "it's",
        "say \"x\"",
        "{tag}",
        "new\nline",
    ] {
        let resource = subject.resource(name);
        equal(name, &subject.store.try_lock(&resource, name, LONG).await?, &true)?;
        equal(
            name,
            &subject.store.unlock(&resource, name).await?,
            &Unlocked::Success,
        )?;
    }
    Ok(())
}
