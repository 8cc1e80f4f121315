//! Policies from resources to attempts, in paused time.

mod attempts;
mod series;
mod targets;

use std::fmt;
use std::sync::Mutex;

use outrigger_config::resources::{Resiliency, Resource};
use outrigger_kit::yaml;
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use tokio::time::Instant;

use crate::{Class, Failure, Loaded, Policies, Policy, PolicyError};

/// A failure of the class that the test wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken(Class);

const PLAIN: Broken = Broken(Class::Plain);

// === impl Broken ===

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {:?}", self.0)
    }
}

impl Failure for Broken {
    fn class(&self) -> Class {
        self.0
    }
}

/// Resources of these `spec`s, named `r1`, `r2` and so on.
fn load(specs: &[&str], metrics: &Metrics) -> Loaded {
    let resource = |(index, spec): (usize, &&str)| {
        let text = format!("metadata: {{name: r{}, namespace: ns}}\nspec: {spec}", index + 1);
        let document = yaml::to_json(&text).unwrap();
        Resiliency::from_document("dapr.io/v1alpha1", &document).unwrap()
    };
    let resources: Vec<_> = specs.iter().enumerate().map(resource).collect();
    Policies::load(&resources, metrics)
}

fn policies(spec: &str) -> Policies {
    load(&[spec], &Metrics::disabled()).policies
}

fn metrics() -> Metrics {
    let settings = MetricsSettings {
        app_id: "me".into(),
        ..MetricsSettings::default()
    };
    Metrics::new(&settings).unwrap()
}

/// Runs an operation that fails as listed, then succeeds; tells the outcome and when each attempt began.
async fn run(policy: &Policy<'_>, failures: &[Broken]) -> (Result<u32, PolicyError<Broken>>, Vec<u64>) {
    let began = Instant::now();
    let attempts = Mutex::new(Vec::new());
    let outcome = policy
        .run(async |number: u32| {
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap();
            attempts.lock().unwrap().push(millis);
            match failures.get(number as usize - 1) {
                Some(failure) => Err(*failure),
                None => Ok(number),
            }
        })
        .await;
    (outcome, attempts.into_inner().unwrap())
}
