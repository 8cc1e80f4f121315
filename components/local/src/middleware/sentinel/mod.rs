//! `middleware.http.sentinel`: rules that protect resources, and the sidecar, from too many requests.
//!
//! A resource is `<METHOD>:<path>`. The rules of all components of the process are one set: a list that a
//! component gives takes the place of the list before.

mod breaker;
mod flow;
mod rules;
mod system;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_component::{HttpMiddleware, Init, Next, answer};
use outrigger_svc::{Body, BoxError, BoxFuture, Held, Request, Response};
use tokio::time::Instant;

use self::breaker::Breaker;
use self::flow::{Flow, Verdict};
use self::rules::{BreakerRule, FlowRule, HotspotRule, IsolationRule, SystemRule, read};
use self::system::Machine;
use self::window::Window;
use super::target::decoded_path;

/// Refuses requests that the rules say are too many.
#[derive(Debug)]
pub struct Sentinel(Arc<Guard>);

/// The rules of the process, and what they remember.
#[derive(Debug)]
pub(super) struct Guard {
    began: Instant,
    machine: Machine,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    flows: Vec<Flow>,
    breakers: Vec<Breaker>,
    isolations: Vec<IsolationRule>,
    systems: Vec<SystemRule>,
    /// Requests in flight, of resources that have any.
    in_flight: HashMap<String, u32>,
    inbound: Inbound,
}

/// All requests together.
#[derive(Debug)]
struct Inbound {
    window: Window,
    in_flight: u32,
}

/// A request that was let in; it ends when this is dropped.
#[derive(Debug)]
struct Entry {
    guard: Arc<Guard>,
    resource: String,
    began: u64,
}

// === impl Sentinel ===

impl Sentinel {
    /// Makes a handler that obeys the rules of `guard`, to which its own are added.
    pub(super) async fn make(guard: Arc<Guard>, init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let fields = init.properties.fields()?;
        let text = |name| fields.text(name).filter(|text| !text.is_empty());
        let flows = text("flowRules").map(read::<FlowRule>).transpose()?;
        let isolations = text("isolationRules").map(read).transpose()?;
        let breakers = text("circuitBreakerRules").map(read::<BreakerRule>).transpose()?;
        text("hotSpotParamRules").map(read::<HotspotRule>).transpose()?;
        let systems = text("systemRules").map(read).transpose()?;
        let mut state = guard.lock();
        if let Some(flows) = flows {
            state.flows = flows.into_iter().map(Flow::new).collect();
        }
        if let Some(breakers) = breakers {
            state.breakers = breakers.into_iter().map(Breaker::new).collect();
        }
        if let Some(isolations) = isolations {
            state.isolations = isolations;
        }
        if let Some(systems) = systems {
            state.systems = systems;
        }
        drop(state);
        Ok(Arc::new(Self(guard)))
    }
}

impl HttpMiddleware for Sentinel {
    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        let resource = format!("{}:{}", request.method(), decoded_path(request.uri()));
        let Some((entry, wait)) = Guard::enter(&self.0, resource) else {
            return Box::pin(std::future::ready(Ok(answer(429))));
        };
        Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let response = next.run(request).await?;
            Ok(response.map(|body| Body::new(Held::new(body, entry))))
        })
    }
}

// === impl Guard ===

impl Guard {
    /// No rule is in force yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            machine: Machine::default(),
            state: Mutex::default(),
        })
    }

    /// Lets a request in, perhaps after a time, or not.
    fn enter(own: &Arc<Self>, resource: String) -> Option<(Entry, Duration)> {
        let now = own.now();
        let mut state = own.lock();
        let wait = state.judge(&resource, now, &own.machine)?;
        state.passed(&resource, now);
        drop(state);
        let entry = Entry {
            guard: Arc::clone(own),
            resource,
            began: now,
        };
        Some((entry, Duration::from_secs_f64(wait / 1000.0)))
    }

    /// Milliseconds since the beginning, and a day: no moment is 0.
    fn now(&self) -> u64 {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - DAY);
        DAY + since
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// The milliseconds that a request must wait; none if it is refused.
    fn judge(&mut self, resource: &str, now: u64, machine: &Machine) -> Option<f64> {
        if !self
            .systems
            .iter()
            .all(|rule| self.inbound.permits(rule, now, machine))
        {
            return None;
        }
        let mut wait = 0.0_f64;
        for flow in self
            .flows
            .iter_mut()
            .filter(|flow| flow.rule.resource == resource)
        {
            match flow.judge(now, machine) {
                Verdict::Pass(own) => wait = wait.max(own),
                Verdict::Refuse => return None,
            }
        }
        let in_flight = self.in_flight.get(resource).copied().unwrap_or(0);
        let is_crowded = |rule: &IsolationRule| rule.resource == resource && in_flight >= rule.threshold;
        if self.isolations.iter().any(is_crowded) {
            return None;
        }
        let mut permitted = Vec::new();
        for (place, breaker) in self.breakers.iter_mut().enumerate() {
            if breaker.rule.resource != resource {
                continue;
            }
            if !breaker.permits(now) {
                for place in permitted {
                    if let Some(breaker) = self.breakers.get_mut::<usize>(place) {
                        breaker.give_back(now);
                    }
                }
                return None;
            }
            permitted.push(place);
        }
        Some(wait)
    }

    fn passed(&mut self, resource: &str, now: u64) {
        for flow in self.flows.iter_mut().filter(|flow| flow.counted() == resource) {
            flow.passed(now);
        }
        if self.isolations.iter().any(|rule| rule.resource == resource) {
            *self.in_flight.entry(resource.to_owned()).or_default() += 1;
        }
        self.inbound.window.at(now).passed += 1;
        self.inbound.in_flight += 1;
    }

    fn completed(&mut self, resource: &str, now: u64, time: u64) {
        let breakers = self.breakers.iter_mut();
        for breaker in breakers.filter(|breaker| breaker.rule.resource == resource) {
            breaker.completed(now, time);
        }
        if let Some(in_flight) = self.in_flight.get_mut(resource) {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.in_flight.remove(resource);
            }
        }
        self.inbound.in_flight = self.inbound.in_flight.saturating_sub(1);
        let counts = self.inbound.window.at(now);
        counts.completed += 1;
        counts.time += time;
        counts.least_time = Some(counts.least_time.map_or(time, |least| least.min(time)));
    }
}

// === impl Inbound ===

impl Inbound {
    fn permits(&self, rule: &SystemRule, now: u64, machine: &Machine) -> bool {
        let counts = self.window.sum(now);
        let limit = rule.trigger_count;
        match rule.metric_type {
            0 => machine.load(now) <= limit || self.has_room(rule, now),
            1 => (counts.time as f64 / counts.completed.max(1) as f64) < limit,
            2 => f64::from(self.in_flight) < limit,
            3 => (counts.passed as f64) < limit,
            _ => machine.cpu(now) <= limit || self.has_room(rule, now),
        }
    }

    /// Whether fewer requests are in flight than have been worked off at best.
    fn has_room(&self, rule: &SystemRule, now: u64) -> bool {
        let least = self.window.sum(now).least_time.unwrap_or(0) as f64;
        let room = self.window.most_completed_a_second(now) * least / 1000.0;
        rule.strategy == 1 && (self.in_flight <= 1 || f64::from(self.in_flight) <= room)
    }
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            window: Window::new(1000, 2),
            in_flight: 0,
        }
    }
}

// === impl Entry ===

impl Drop for Entry {
    fn drop(&mut self) {
        let now = self.guard.now();
        self.guard
            .lock()
            .completed(&self.resource, now, now.saturating_sub(self.began));
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use outrigger_component::Chain;

    use super::*;
    use crate::testing::{Server, init};

    async fn make(guard: &Arc<Guard>, settings: &[(&str, &str)]) -> Chain {
        let init = init(&Server::new(), settings);
        Chain::new(vec![Sentinel::make(Arc::clone(guard), init).await.unwrap()])
    }

    /// Asks for a path; the app takes so long for its answer, which is kept if it came.
    async fn get(chain: &Chain, path: &str, takes: u64) -> Response {
        let mut request = Request::default();
        *request.method_mut() = Method::GET;
        *request.uri_mut() = path.parse().unwrap();
        let inside = async move |_| {
            tokio::time::sleep(Duration::from_millis(takes)).await;
            Ok(Response::new(Body::from("x")))
        };
        chain.run(request, inside).await.unwrap()
    }

    async fn status(chain: &Chain, path: &str) -> u16 {
        get(chain, path, 0).await.status().as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_rule_counts_one_resource() {
        let rules = r#"[{"resource":"GET:/a","threshold":2},
            {"resource":"GET:/c","threshold":1,"relationStrategy":1,"refResource":"GET:/b"}]"#;
        let chain = make(&Guard::new(), &[("appName", "x"), ("flowRules", rules)]).await;
        let mut statuses = Vec::new();
        for path in ["/a?x=1", "/%61", "/a", "/c", "/c", "/b", "/b", "/c"] {
            statuses.push(status(&chain, path).await);
        }
        assert_eq!(statuses, [200, 200, 429, 200, 200, 200, 200, 429]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(status(&chain, "/a").await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_may_wait_is_answered_later() {
        let rules = r#"[{"resource":"GET:/a","threshold":10,"controlBehavior":1,"maxQueueingTimeMs":150}]"#;
        let chain = make(&Guard::new(), &[("flowRules", rules)]).await;
        let began = Instant::now();
        let (first, second, third) =
            tokio::join!(status(&chain, "/a"), status(&chain, "/a"), status(&chain, "/a"));
        assert_eq!((first, second, third), (200, 200, 429));
        assert_eq!(began.elapsed(), Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_in_flight_until_its_answer_has_been_read() {
        let rules = r#"[{"resource":"GET:/a","threshold":1}]"#;
        let chain = make(&Guard::new(), &[("isolationRules", rules)]).await;
        let first = get(&chain, "/a", 0).await;
        assert_eq!(status(&chain, "/a").await, 429);
        assert_eq!(status(&chain, "/b").await, 200);
        drop(first);
        assert_eq!(status(&chain, "/a").await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_open_a_breaker() {
        let rules = r#"[{"resource":"GET:/a","strategy":0,"retryTimeoutMs":1000,"minRequestAmount":2,
            "statIntervalMs":10000,"maxAllowedRtMs":20,"threshold":0.4}]"#;
        let chain = make(&Guard::new(), &[("circuitBreakerRules", rules)]).await;
        get(&chain, "/a", 30).await;
        get(&chain, "/a", 30).await;
        assert_eq!(status(&chain, "/a").await, 429);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(status(&chain, "/a").await, 200);
        assert_eq!(status(&chain, "/a").await, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn system_rules_count_everything() {
        let table = [
            (r#"[{"metricType":3,"triggerCount":2}]"#, [200, 200, 429]),
            (r#"[{"metricType":2,"triggerCount":1}]"#, [200, 200, 200]),
            (r#"[{"metricType":0,"triggerCount":1000000}]"#, [200, 200, 200]),
            (r#"[{"metricType":4,"triggerCount":1}]"#, [200, 200, 200]),
            (r#"[{"metricType":1,"triggerCount":0}]"#, [429, 429, 429]),
        ];
        for (rules, expected) in table {
            let chain = make(&Guard::new(), &[("systemRules", rules)]).await;
            let mut statuses = [0; 3];
            for status_of in &mut statuses {
                *status_of = status(&chain, "/a").await;
            }
            assert_eq!(statuses, expected, "{rules}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rules_are_those_of_the_process() {
        let guard = Guard::new();
        let first = make(
            &guard,
            &[("flowRules", r#"[{"resource":"GET:/a","threshold":0}]"#)],
        )
        .await;
        let second = make(
            &guard,
            &[("isolationRules", r#"[{"resource":"GET:/b","threshold":1}]"#)],
        )
        .await;
        assert_eq!(
            (status(&first, "/a").await, status(&second, "/a").await),
            (429, 429)
        );
        make(&guard, &[("flowRules", "[]")]).await;
        assert_eq!(
            (status(&first, "/a").await, status(&second, "/a").await),
            (200, 200)
        );
    }

    #[tokio::test]
    async fn rules_that_cannot_be_read_are_told() {
        for (name, kind) in [
            ("flowRules", "flow"),
            ("isolationRules", "isolation"),
            ("circuitBreakerRules", "circuit breaker"),
            ("hotSpotParamRules", "hotspot param"),
            ("systemRules", "system"),
        ] {
            let made = Sentinel::make(Guard::new(), init(&Server::new(), &[(name, "[")])).await;
            let error = made.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("fail to load sentinel {kind} rules '[': ")),
                "{error}"
            );
        }
    }
}
