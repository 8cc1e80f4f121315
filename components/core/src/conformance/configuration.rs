//! What every configuration store does.
//!
//! Source: specification, configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_kit::id::uuid;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::report::{Case, Failure, Outcome, cases, check, equal, report};
use crate::configuration::{ConfigurationItem, ConfigurationStore, ConfigurationUpdate};
use crate::state::Metadata;

/// Writes what a store is to read, past the store, as those do whose configuration it is.
pub trait Writer: Send + Sync {
    /// Gives a key a value and a version.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Deletes a key.
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// Where a store is its own way.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Name of the store in messages.
    pub store: &'static str,
    /// Whether the deletion of a key is told, as a key with an empty value.
    pub tells_deletions: bool,
}

/// A store under test.
struct Subject {
    store: Arc<dyn ConfigurationStore>,
    writer: Arc<dyn Writer>,
    traits: Traits,
    prefix: String,
}

const CASES: &[Case<Subject>] = cases![
    values_are_read_with_their_versions,
    keys_without_a_value_are_left_out,
    all_keys_are_read_if_none_is_named,
    changes_are_told,
    changes_of_all_keys_are_told_if_none_is_named,
    changes_of_other_keys_are_not_told,
    a_subscription_that_has_ended_tells_nothing,
    a_subscription_that_is_none_cannot_be_ended,
    subscriptions_have_ids_of_their_own,
];

/// The longest wait for news.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the suite. Other writers of the same store must be still meanwhile.
///
/// # Panics
/// If a case fails, with the names of all that do.
pub async fn run(store: Arc<dyn ConfigurationStore>, writer: Arc<dyn Writer>, traits: Traits) {
    let prefix = uuid().replace('-', "");
    let subject = Subject {
        store,
        writer,
        traits,
        prefix,
    };
    report(subject.traits.store, CASES, &subject).await;
}

impl Subject {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    async fn read(&self, keys: &[String]) -> Result<BTreeMap<String, ConfigurationItem>, Failure> {
        Ok(self.store.get(keys, &Metadata::new()).await?)
    }

    async fn subscribe(
        &self,
        keys: &[String],
    ) -> Result<(String, mpsc::Receiver<ConfigurationUpdate>), Failure> {
        let (updates, news) = mpsc::channel(100);
        let id = self.store.subscribe(keys, &Metadata::new(), updates).await?;
        check!(!id.is_empty(), "a subscription has no id");
        Ok((id, news))
    }
}

/// Waits until a key is told to have a value.
async fn told(news: &mut mpsc::Receiver<ConfigurationUpdate>, id: &str, key: &str, value: &str) -> Outcome {
    let found = async {
        while let Some(update) = news.recv().await {
            equal("id of the subscription", &update.id.as_str(), &id)?;
            if update.items.get(key).is_some_and(|item| item.value == value) {
                return Ok(());
            }
        }
        Err(Failure::new("the subscription has ended"))
    };
    match timeout(PATIENCE, found).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(format!("{key} = {value:?} is not told"))),
    }
}

async fn values_are_read_with_their_versions(subject: &Subject) -> Outcome {
    let keys = ["read.a", "read.b"].map(|name| subject.key(name));
    subject.writer.put(&keys[0], "one", "1").await?;
    subject.writer.put(&keys[1], "ünïcödé \"x\"", "22").await?;
    let found = subject.read(&keys).await?;
    let found: Vec<_> = found
        .iter()
        .map(|(key, item)| (key.as_str(), item.value.as_str(), item.version.as_str()))
        .collect();
    let expected = vec![(&*keys[0], "one", "1"), (&*keys[1], "ünïcödé \"x\"", "22")];
    equal("items", &found, &expected)?;
    subject.writer.put(&keys[0], "two", "2").await?;
    let found = subject.read(&keys[..1]).await?;
    equal("how many", &found.len(), &1)?;
    equal("value", &found[&keys[0]].value.as_str(), &"two")
}

async fn keys_without_a_value_are_left_out(subject: &Subject) -> Outcome {
    let keys = ["out.there", "out.missing", "out.gone"].map(|name| subject.key(name));
    subject.writer.put(&keys[0], "1", "1").await?;
    subject.writer.put(&keys[2], "1", "1").await?;
    subject.writer.remove(&keys[2]).await?;
    let found: Vec<_> = subject.read(&keys).await?.into_keys().collect();
    equal("keys", &found, &vec![keys[0].clone()])
}

async fn all_keys_are_read_if_none_is_named(subject: &Subject) -> Outcome {
    let keys = ["every.a", "every.b"].map(|name| subject.key(name));
    for key in &keys {
        subject.writer.put(key, "1", "1").await?;
    }
    let found = subject.read(&[]).await?;
    check!(
        keys.iter().all(|key| found.contains_key(key)),
        "keys: {:?}",
        found.keys()
    );
    Ok(())
}

async fn changes_are_told(subject: &Subject) -> Outcome {
    let keys = ["told.a", "told.b"].map(|name| subject.key(name));
    subject.writer.put(&keys[0], "old", "1").await?;
    let (id, mut news) = subject.subscribe(&keys).await?;
    subject.writer.put(&keys[0], "new", "2").await?;
    told(&mut news, &id, &keys[0], "new").await?;
    subject.writer.put(&keys[1], "first", "1").await?;
    told(&mut news, &id, &keys[1], "first").await?;
    if subject.traits.tells_deletions {
        subject.writer.remove(&keys[0]).await?;
        told(&mut news, &id, &keys[0], "").await?;
    }
    Ok(subject.store.unsubscribe(&id).await?)
}

async fn changes_of_all_keys_are_told_if_none_is_named(subject: &Subject) -> Outcome {
    let key = subject.key("told.all");
    let (id, mut news) = subject.subscribe(&[]).await?;
    subject.writer.put(&key, "1", "1").await?;
    told(&mut news, &id, &key, "1").await?;
    Ok(subject.store.unsubscribe(&id).await?)
}

async fn changes_of_other_keys_are_not_told(subject: &Subject) -> Outcome {
    let (key, other) = (subject.key("own"), subject.key("other"));
    let (id, mut news) = subject.subscribe(std::slice::from_ref(&key)).await?;
    subject.writer.put(&other, "1", "1").await?;
    subject.writer.put(&key, "1", "1").await?;
    let first = timeout(PATIENCE, news.recv()).await?;
    let keys: Vec<_> = first.unwrap_or_default().items.into_keys().collect();
    equal("what is told first", &keys, &vec![key])?;
    Ok(subject.store.unsubscribe(&id).await?)
}

async fn a_subscription_that_has_ended_tells_nothing(subject: &Subject) -> Outcome {
    let key = subject.key("ended");
    let (id, mut news) = subject.subscribe(std::slice::from_ref(&key)).await?;
    subject.store.unsubscribe(&id).await?;
    let end = timeout(PATIENCE, news.recv()).await;
    check!(matches!(end, Ok(None)), "it does not end: {end:?}");
    subject.writer.put(&key, "1", "1").await?;
    check!(
        subject.store.unsubscribe(&id).await.is_err(),
        "it can be ended twice"
    );
    Ok(())
}

async fn a_subscription_that_is_none_cannot_be_ended(subject: &Subject) -> Outcome {
    check!(
        subject.store.unsubscribe("none").await.is_err(),
        "it can be ended"
    );
    Ok(())
}

async fn subscriptions_have_ids_of_their_own(subject: &Subject) -> Outcome {
    let key = subject.key("two");
    let (first, mut first_news) = subject.subscribe(std::slice::from_ref(&key)).await?;
    let (second, mut second_news) = subject.subscribe(std::slice::from_ref(&key)).await?;
    check!(first != second, "two subscriptions are {first}");
    subject.writer.put(&key, "1", "1").await?;
    told(&mut first_news, &first, &key, "1").await?;
    told(&mut second_news, &second, &key, "1").await?;
    subject.store.unsubscribe(&first).await?;
    subject.writer.put(&key, "2", "2").await?;
    told(&mut second_news, &second, &key, "2").await?;
    Ok(subject.store.unsubscribe(&second).await?)
}
