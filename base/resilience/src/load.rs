//! From resources to the table of targets.
//!
//! Source: specification, resiliency 1.1 and 3.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::resources::{
    self, BreakerScope, CircuitBreakerPolicy, Resiliency, RetryPolicy, TargetPolicies,
};
use outrigger_telemetry::metrics::Metrics;

use crate::LOG;
use crate::breaker::Rules;
use crate::built_in::BuiltIn;
use crate::meter::{Direction, Meter, ResourceName};
use crate::policies::{ActorTarget, ComponentKind, Policies, Table, Target};
use crate::trip::Trip;

/// Policies, and the resources that they come from.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The policies.
    pub policies: Policies,
    /// Names of the resources that were read without a mistake, in load order.
    pub names: Vec<String>,
}

/// Policies by name, ready to be put together for targets.
struct Compiler<'a> {
    source: &'a resources::Policies,
    metrics: &'a Metrics,
    resource: Arc<ResourceName>,
    retries: HashMap<&'a str, Arc<RetryPolicy>>,
    breakers: HashMap<&'a str, Arc<Rules>>,
}

/// Breakers that are kept for a target of default policies.
const DEFAULT_BREAKERS: usize = 100;
const DEFAULT_ACTOR_BREAKERS: usize = 5000;

// === impl Policies ===

impl Policies {
    /// Compiles the policies of resources, in load order: of equal names the last one counts.
    ///
    /// A mistake in a resource is logged; what stands before it stays in force.
    #[must_use]
    pub fn load(resources: &[Resiliency], metrics: &Metrics) -> Loaded {
        let Some(last) = resources.last() else {
            return Loaded::default();
        };
        let mut source = resources::Policies::default();
        let mut names = Vec::new();
        for resource in resources {
            let (name, namespace) = (&resource.metadata.name, &resource.metadata.namespace);
            tracing::info!(target: LOG, "Loading Resiliency configuration: {name}");
            let added = source.add(resource, |trip| {
                Trip::compile(trip).map(drop).map_err(|error| error.to_string())
            });
            for warning in source.warnings.drain(..) {
                tracing::warn!(target: LOG, "{warning}");
            }
            match added {
                Ok(()) => {
                    metrics.resiliency().loaded(name, namespace);
                    names.push(name.clone());
                }
                Err(error) => {
                    tracing::error!(target: LOG, "Could not read resiliency policy {name}: {error}")
                }
            }
        }
        let resource = ResourceName {
            name: last.metadata.name.clone(),
            namespace: last.metadata.namespace.clone(),
        };
        let table = Compiler::new(&source, metrics, resource).table();
        Loaded {
            policies: Self::of(table),
            names,
        }
    }
}

// === impl Compiler ===

impl<'a> Compiler<'a> {
    fn new(source: &'a resources::Policies, metrics: &'a Metrics, resource: ResourceName) -> Self {
        let retries = source.retries.iter();
        let retries = retries.map(|(name, retry)| (name.as_str(), Arc::new(retry.clone())));
        let breakers = source.circuit_breakers.iter();
        let breakers = breakers.filter_map(|(name, breaker)| Some((name.as_str(), rules(name, breaker)?)));
        Self {
            source,
            metrics,
            resource: Arc::new(resource),
            retries: retries.collect(),
            breakers: breakers.collect(),
        }
    }

    fn table(&self) -> Table {
        let targets = &self.source.targets;
        let apps = targets.apps.iter();
        let apps = apps.map(|(app_id, names)| {
            let label = self.meter(Direction::Outbound, || format!("app_{app_id}"));
            (app_id.clone(), self.explicit(names, label))
        });
        let actors = targets.actors.iter();
        let actors = actors.map(|(actor_type, names)| {
            let label = self.meter(Direction::Outbound, || format!("actor_{actor_type}"));
            let target = self.explicit(names, label);
            let scope = names.breaker_scope.unwrap_or(BreakerScope::Type);
            (
                actor_type.clone(),
                target.map(|target| ActorTarget { target, scope }),
            )
        });
        let components = targets.components.iter();
        let components = components.map(|(name, directions)| {
            let both = [
                self.explicit(&directions.inbound, None),
                self.explicit(&directions.outbound, None),
            ];
            (name.clone(), both)
        });
        let actor_default = self.default_of(&["DefaultActor", "Default"], DEFAULT_ACTOR_BREAKERS);
        Table {
            apps: apps.collect(),
            app_default: self.default_of(&["DefaultApp", "Default"], DEFAULT_BREAKERS),
            actors: actors.collect(),
            actor_default: actor_default.map(|target| ActorTarget {
                target,
                scope: BreakerScope::Type,
            }),
            components: components.collect(),
            component_defaults: ComponentKind::ALL.map(|kind| {
                [Direction::Inbound, Direction::Outbound]
                    .map(|direction| self.component_default(kind, direction))
            }),
            built_in: BuiltIn::ALL.map(|built_in| self.retries.get(built_in.name()).cloned()),
            metrics: self.metrics.is_enabled().then(|| self.metrics.clone()),
            resource: Arc::clone(&self.resource),
            breakers: Default::default(),
        }
    }

    /// A target that a resource names: only what it names applies.
    fn explicit(&self, names: &TargetPolicies, meter: Option<Arc<Meter>>) -> Option<Target> {
        let target = Target {
            timeout: self.timeout(&names.timeout),
            retry: self.retries.get(names.retry.as_str()).cloned(),
            breaker: self.breakers.get(names.circuit_breaker.as_str()).cloned(),
            cache_size: names.breaker_cache_size,
            meter,
        };
        target.some()
    }

    /// The default of targets that no resource names: of each kind the first policy that there is.
    fn default_of(&self, prefixes: &[&str], cache_size: usize) -> Option<Target> {
        let target = Target {
            timeout: first(prefixes, "TimeoutPolicy", |name| {
                self.source
                    .timeouts
                    .contains_key(name)
                    .then(|| self.timeout(name))
            })
            .flatten(),
            retry: first(prefixes, "RetryPolicy", |name| self.retries.get(name).cloned()),
            breaker: first(prefixes, "CircuitBreakerPolicy", |name| {
                self.breakers.get(name).cloned()
            }),
            cache_size,
            meter: None,
        };
        target.some()
    }

    fn component_default(&self, kind: ComponentKind, direction: Direction) -> Option<Target> {
        let direction = direction.name();
        let of_kind = format!("Default{}Component{direction}", kind.name());
        let of_all = format!("DefaultComponent{direction}");
        self.default_of(&[&of_kind, &of_all, "DefaultComponent", "Default"], 0)
    }

    fn timeout(&self, name: &str) -> Option<Duration> {
        let timeout = self.source.timeouts.get(name).copied();
        timeout.filter(|timeout| !timeout.is_zero())
    }

    fn meter(&self, direction: Direction, target: impl FnOnce() -> String) -> Option<Arc<Meter>> {
        let meter = || Meter::new(self.metrics, &self.resource, direction, target());
        self.metrics.is_enabled().then(|| Arc::new(meter()))
    }
}

/// What the first name finds that finds anything.
fn first<T>(prefixes: &[&str], suffix: &str, find: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut names = prefixes.iter().map(|prefix| format!("{prefix}{suffix}"));
    names.find_map(|name| find(&name))
}

/// The rules of a breaker; its expression has been checked when the resource was read.
fn rules(name: &str, policy: &CircuitBreakerPolicy) -> Option<Arc<Rules>> {
    let trip = Trip::compile(&policy.trip).ok()?;
    Some(Arc::new(Rules {
        policy: name.to_owned(),
        max_requests: policy.max_requests.get(),
        interval: policy.interval,
        timeout: policy.timeout,
        trip,
    }))
}
