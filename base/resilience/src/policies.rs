//! Which policies apply to a target.
//!
//! Source: specification, resiliency 3.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_config::resources::{BreakerScope, RetryPolicy};
use outrigger_telemetry::metrics::Metrics;

use crate::breaker::{Breaker, Rules};
use crate::built_in::BuiltIn;
use crate::cache::Cache;
use crate::meter::{Direction, Meter, ResourceName};
use crate::policy::{Name, Policy};

/// All policies of a sidecar; cheap to clone. The default has none but the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct Policies(Option<Arc<Table>>);

/// What a component is, as names of default policies and labels of metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// Input and output bindings.
    Binding,
    /// Configuration stores.
    Configuration,
    /// Lock stores.
    Lock,
    /// Message brokers.
    Pubsub,
    /// Providers of cryptography.
    Crypto,
    /// Language models.
    Conversation,
    /// Secret stores.
    SecretStore,
    /// State stores, those of actors among them.
    StateStore,
}

/// Targets by name, each with its policies put together.
///
/// A name with none in its entry is a target that is named, but to which nothing applies.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) apps: HashMap<String, Option<Target>>,
    pub(crate) app_default: Option<Target>,
    pub(crate) actors: HashMap<String, Option<ActorTarget>>,
    pub(crate) actor_default: Option<ActorTarget>,
    /// Inbound, then outbound.
    pub(crate) components: HashMap<String, [Option<Target>; 2]>,
    pub(crate) component_defaults: [[Option<Target>; 2]; 8],
    pub(crate) built_in: [Option<Arc<RetryPolicy>>; 5],
    pub(crate) metrics: Option<Metrics>,
    pub(crate) resource: Arc<ResourceName>,
    pub(crate) breakers: Breakers,
}

/// The policies of one target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Arc<RetryPolicy>>,
    pub(crate) breaker: Option<Arc<Rules>>,
    pub(crate) cache_size: usize,
    /// The metrics of a target that is named.
    pub(crate) meter: Option<Arc<Meter>>,
}

/// The policies of one actor type.
#[derive(Debug)]
pub(crate) struct ActorTarget {
    pub(crate) target: Target,
    pub(crate) scope: BreakerScope,
}

/// The breakers at work. Those of apps and actors are forgotten when there are too many.
#[derive(Debug)]
pub(crate) struct Breakers {
    apps: Mutex<Cache<Instances>>,
    actors: Mutex<Cache<Instances>>,
    components: Mutex<HashMap<String, Arc<Breaker>>>,
}

/// The breakers of one app or actor type.
type Instances = Cache<Arc<Breaker>>;

/// Apps, and actor types, whose breakers are kept: a client that invents names must not fill the memory.
const MAX_NAMES: usize = 1024;

// === impl Policies ===

impl Policies {
    pub(crate) fn of(table: Table) -> Self {
        Self(Some(Arc::new(table)))
    }

    /// The policies of a call to an app, a URL or an HTTPEndpoint; `app_id` is the target as the call writes it.
    ///
    /// `endpoint` makes the text that breakers are told apart by, such as `<id>:<method>`.
    pub fn app<'a>(&'a self, app_id: &'a str, endpoint: impl FnOnce() -> String) -> Option<Policy<'a>> {
        let table = self.0.as_deref()?;
        let target = match table.apps.get(app_id) {
            Some(named) => named,
            None => &table.app_default,
        };
        let target = target.as_ref()?;
        let endpoint = endpoint();
        let breaker = target.breaker.as_ref();
        let breaker = breaker.map(|rules| table.breakers.of_app(app_id, &endpoint, target.cache_size, rules));
        let meter = table.meter(target, Direction::Outbound, || format!("app_{app_id}"));
        let name = Name::Endpoint { app_id, endpoint };
        Some(Policy::new(
            name,
            target.timeout,
            target.retry.as_deref(),
            breaker,
            meter,
        ))
    }

    /// Whether a resource names the app, which takes the built-in retries of service invocation from it.
    #[must_use]
    pub fn has_app(&self, app_id: &str) -> bool {
        self.0
            .as_ref()
            .is_some_and(|table| table.apps.contains_key(app_id))
    }

    /// Retries and breaker of a call to an actor, which apply before the actor is locked.
    pub fn actor<'a>(&'a self, actor_type: &'a str, id: &'a str) -> Option<Policy<'a>> {
        let (table, ActorTarget { target, scope }) = self.actor_target(actor_type)?;
        if target.retry.is_none() && target.breaker.is_none() {
            return None;
        }
        let breaker = target.breaker.as_ref().map(|rules| {
            let key = match scope {
                BreakerScope::Type => Cow::Borrowed(actor_type),
                BreakerScope::Id | BreakerScope::Both => Cow::Owned(format!("{actor_type}-{id}")),
            };
            table
                .breakers
                .of_actor(actor_type, &key, target.cache_size, rules)
        });
        let meter = table.meter(target, Direction::Outbound, || format!("actor_{actor_type}"));
        let name = Name::Actor { actor_type, id };
        Some(Policy::new(name, None, target.retry.as_deref(), breaker, meter))
    }

    /// The timeout of a call to the app that hosts an actor, which applies while the actor is locked.
    pub fn actor_timeout<'a>(&'a self, actor_type: &'a str, id: &'a str) -> Option<Policy<'a>> {
        let (table, ActorTarget { target, .. }) = self.actor_target(actor_type)?;
        let timeout = target.timeout?;
        let meter = table.meter(target, Direction::Outbound, || format!("actor_{actor_type}"));
        Some(Policy::new(
            Name::Actor { actor_type, id },
            Some(timeout),
            None,
            None,
            meter,
        ))
    }

    /// Whether a resource names the actor type, which takes the built-in retries from it.
    #[must_use]
    pub fn has_actor(&self, actor_type: &str) -> bool {
        self.0
            .as_ref()
            .is_some_and(|table| table.actors.contains_key(actor_type))
    }

    /// The policies of an operation on a component, or of what a component delivers to the app.
    pub fn component<'a>(
        &'a self,
        component: &'a str,
        kind: ComponentKind,
        direction: Direction,
    ) -> Option<Policy<'a>> {
        let table = self.0.as_deref()?;
        let both = match table.components.get(component) {
            Some(named) => named,
            None => &table.component_defaults[kind as usize],
        };
        let target = both[direction as usize].as_ref()?;
        let breaker = target.breaker.as_ref();
        let breaker = breaker.map(|rules| table.breakers.of_component(component, rules));
        let meter = table.meter(target, direction, || format!("{}_{component}", kind.name()));
        let name = match direction {
            Direction::Inbound => Name::Input { component },
            Direction::Outbound => Name::Output { component },
        };
        Some(Policy::new(
            name,
            target.timeout,
            target.retry.as_deref(),
            breaker,
            meter,
        ))
    }

    /// A retry policy of the sidecar itself; these are not counted.
    pub fn built_in(&self, built_in: BuiltIn) -> Policy<'_> {
        let retry = self
            .replaced(built_in)
            .unwrap_or_else(|| built_in.default_policy());
        Policy::new(Name::BuiltIn(built_in.name()), None, Some(retry), None, None)
    }

    /// The policy that a resource has put in the place of a built-in one, if any has.
    #[must_use]
    pub fn replaced(&self, built_in: BuiltIn) -> Option<&RetryPolicy> {
        let table = self.0.as_deref()?;
        table.built_in[built_in as usize].as_deref()
    }

    fn actor_target(&self, actor_type: &str) -> Option<(&Table, &ActorTarget)> {
        let table = self.0.as_deref()?;
        let target = match table.actors.get(actor_type) {
            Some(named) => named,
            None => &table.actor_default,
        };
        Some((table, target.as_ref()?))
    }
}

// === impl Table ===

impl Table {
    /// The metrics of a target; those of a target that no resource names are made for each operation.
    fn meter(
        &self,
        target: &Target,
        direction: Direction,
        label: impl FnOnce() -> String,
    ) -> Option<Arc<Meter>> {
        let metrics = self.metrics.as_ref()?;
        Some(match &target.meter {
            Some(meter) => Arc::clone(meter),
            None => Arc::new(Meter::new(metrics, &self.resource, direction, label())),
        })
    }
}

// === impl Target ===

impl Target {
    /// The target, if anything applies to it.
    pub(crate) fn some(self) -> Option<Self> {
        let is_something = self.timeout.is_some() || self.retry.is_some() || self.breaker.is_some();
        is_something.then_some(self)
    }
}

// === impl Breakers ===

impl Breakers {
    fn of_app(&self, app_id: &str, endpoint: &str, size: usize, rules: &Arc<Rules>) -> Arc<Breaker> {
        instance(&self.apps, app_id, endpoint, size, rules)
    }

    fn of_actor(&self, actor_type: &str, key: &str, size: usize, rules: &Arc<Rules>) -> Arc<Breaker> {
        instance(&self.actors, actor_type, key, size, rules)
    }

    /// One instance for both directions; the policy that needs it first decides its rules.
    fn of_component(&self, component: &str, rules: &Arc<Rules>) -> Arc<Breaker> {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = components.get(component) {
            return Arc::clone(breaker);
        }
        let name = format!("{}-{component}", rules.policy);
        let breaker = Arc::new(Breaker::new(name, Arc::clone(rules)));
        components.insert(component.to_owned(), Arc::clone(&breaker));
        breaker
    }
}

impl Default for Breakers {
    fn default() -> Self {
        Self {
            apps: Mutex::new(Cache::new(MAX_NAMES)),
            actors: Mutex::new(Cache::new(MAX_NAMES)),
            components: Mutex::default(),
        }
    }
}

fn instance(
    all: &Mutex<Cache<Instances>>,
    name: &str,
    key: &str,
    size: usize,
    rules: &Arc<Rules>,
) -> Arc<Breaker> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let instances = all.get(name, || Cache::new(size));
    let breaker = instances.get(key, || Arc::new(Breaker::new(key.to_owned(), Arc::clone(rules))));
    Arc::clone(breaker)
}

// === impl ComponentKind ===

impl ComponentKind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Binding,
        Self::Configuration,
        Self::Lock,
        Self::Pubsub,
        Self::Crypto,
        Self::Conversation,
        Self::SecretStore,
        Self::StateStore,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Binding => "Binding",
            Self::Configuration => "Configuration",
            Self::Lock => "Lock",
            Self::Pubsub => "Pubsub",
            Self::Crypto => "Crypto",
            Self::Conversation => "Conversation",
            Self::SecretStore => "Secretstore",
            Self::StateStore => "Statestore",
        }
    }
}
