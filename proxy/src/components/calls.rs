//! How operations on components run: under the policies of the component, and counted.

use std::fmt;

use outrigger_resilience::{ComponentKind, Direction, Failure, Policies, PolicyError, run};
use outrigger_telemetry::metrics::{Block, Metrics, Success};
use tokio::time::Instant;

/// What the operations of one building block run under. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls {
    kind: ComponentKind,
    block: Option<Block>,
    policies: Policies,
    metrics: Metrics,
}

// === impl Calls ===

impl Calls {
    /// Operations on components of this kind; `block` is what they are counted as, if they are.
    pub(crate) fn new(
        kind: ComponentKind,
        block: Option<Block>,
        policies: Policies,
        metrics: Metrics,
    ) -> Self {
        Self {
            kind,
            block,
            policies,
            metrics,
        }
    }

    /// Runs an operation, whose attempts `attempt` makes. Time and outcome are those of all attempts together.
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub(crate) async fn run<T, E, A>(
        &self,
        component: &str,
        operation: &str,
        mut attempt: impl FnMut() -> A,
    ) -> Result<T, PolicyError<E>>
    where
        E: Failure,
        A: Future<Output = Result<T, E>>,
    {
        let began = Instant::now();
        let policy = self.policies.component(component, self.kind, Direction::Outbound);
        let outcome = run(policy, |_| attempt()).await;
        if let Some(block) = self.block {
            let success = if outcome.is_ok() {
                Success::Yes
            } else {
                Success::No
            };
            let components = self.metrics.components();
            components.operation(block, component, operation, success, began.elapsed());
        }
        outcome
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
