//! What every secret store does.
//!
//! Source: specification, secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{Case, Failure, Outcome, cases, check, equal, report};
use crate::secrets::{Secret, SecretStore};
use crate::state::Metadata;

/// What is in the store, and where it is its own way.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Name of the store in messages.
    pub store: &'static str,
    /// Its features as metadata show them.
    pub features: &'static [&'static str],
    /// The secrets that have been put into it, by name; two at least.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether it may have others as well.
    pub has_others: bool,
    /// The text of the error for a secret called `missing`; none if that has an empty value.
    pub missing: Option<String>,
}

/// A store under test.
struct Subject {
    store: Arc<dyn SecretStore>,
    traits: Traits,
}

const CASES: &[Case<Subject>] = cases![
    a_store_shows_its_features,
    secrets_are_read_by_name,
    a_missing_secret_is_as_the_store_says,
    all_secrets_are_read_together,
    nothing_shows_the_value_of_a_secret,
];

/// Runs the suite.
///
/// # Panics
/// If a case fails, with the names of all that do.
pub async fn run(store: Arc<dyn SecretStore>, traits: Traits) {
    let subject = Subject { store, traits };
    report(subject.traits.store, CASES, &subject).await;
}

async fn a_store_shows_its_features(subject: &Subject) -> Outcome {
    let found: Vec<_> = subject.store.features().iter().map(ToString::to_string).collect();
    let expected: Vec<_> = subject.traits.features.iter().map(ToString::to_string).collect();
    equal("features", &found, &expected)
}

async fn secrets_are_read_by_name(subject: &Subject) -> Outcome {
    check!(subject.traits.secrets.len() > 1, "there are too few secrets");
    for (name, secret) in &subject.traits.secrets {
        let found = subject.store.get(name, &Metadata::new()).await;
        let found = found.map_err(|error| Failure::from(error).of(name))?;
        same(name, &found.unwrap_or_default(), secret)?;
    }
    Ok(())
}

async fn a_missing_secret_is_as_the_store_says(subject: &Subject) -> Outcome {
    let found = subject.store.get("missing", &Metadata::new()).await;
    match (&subject.traits.missing, found) {
        (Some(text), Err(error)) => equal("error", &error.to_string(), text),
        (None, Ok(found)) => {
            let found = found.unwrap_or_default();
            check!(found.iter().all(|(_, value)| value.is_empty()), "it has a value");
            Ok(())
        }
        (_, Err(error)) => Err(Failure::from(error)),
        (Some(_), Ok(_)) => Err(Failure::new("there is no error")),
    }
}

async fn all_secrets_are_read_together(subject: &Subject) -> Outcome {
    let found = subject.store.bulk(&Metadata::new()).await?;
    for (name, secret) in &subject.traits.secrets {
        let Some(found) = found.get(name) else {
            return Err(Failure::new(format!("{name} is left out")));
        };
        same(name, found, secret)?;
    }
    let has_others = found.len() > subject.traits.secrets.len();
    check!(
        !has_others || subject.traits.has_others,
        "there are others: {:?}",
        found.keys()
    );
    Ok(())
}

async fn nothing_shows_the_value_of_a_secret(subject: &Subject) -> Outcome {
    let shown = format!(
        "{:?} {:?}",
        subject.store,
        subject.store.bulk(&Metadata::new()).await?
    );
    for (name, secret) in &subject.traits.secrets {
        // A short value may be part of any text.
        let mut values = secret.iter().filter(|(_, value)| value.len() > 5);
        check!(
            values.all(|(_, value)| !shown.contains(value)),
            "the value of {name} is shown"
        );
    }
    Ok(())
}

/// Ends a case unless two secrets are the same; values are not shown.
fn same(name: &str, found: &Secret, expected: &Secret) -> Outcome {
    check!(
        found == expected,
        "{name}: the keys {found:?} or their values are others than {expected:?}"
    );
    Ok(())
}
