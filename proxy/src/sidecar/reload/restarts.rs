//! Kinds whose changes restart the run.

use outrigger_config::resources::{Changes, Resource};

use super::{Installed, RECONCILER};
use crate::stop::{Stop, StopCause};

/// Asks for a restart if a resource of these kinds is not what the run has started with.
pub(super) fn apply(installed: &Installed, now: &Installed, stop: &Stop) {
    compare(&installed.configurations, &now.configurations, stop);
    compare(&installed.http_endpoints, &now.http_endpoints, stop);
    compare(&installed.resiliencies, &now.resiliencies, stop);
}

fn compare<R: Resource + Clone>(installed: &[R], now: &[R], stop: &Stop) {
    let changes = Changes::between(installed, now);
    let events = [
        ("DELETED", changes.deleted),
        ("UPDATED", changes.updated),
        ("CREATED", changes.created),
    ];
    for (event, resources) in events {
        for resource in resources {
            tracing::info!(
                target: RECONCILER,
                "Received {} {event} event: {} - triggering SIGHUP reload",
                R::KIND,
                resource.log_name()
            );
            stop.request(StopCause::Restart);
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_config::resources::{HttpEndpoint, Resiliency};
    use outrigger_kit::yaml;

    use super::*;

    fn endpoint(url: &str) -> HttpEndpoint {
        let text = format!("metadata: {{name: e}}\nspec: {{baseUrl: '{url}'}}");
        HttpEndpoint::from_document("dapr.io/v1alpha1", &yaml::to_json(&text).unwrap()).unwrap()
    }

    fn with(url: &str) -> Installed {
        Installed {
            http_endpoints: vec![endpoint(url)],
            ..Installed::default()
        }
    }

    fn cause(installed: &Installed, now: &Installed) -> Option<StopCause> {
        let stop = Stop::new();
        apply(installed, now, &stop);
        stop.cause()
    }

    #[test]
    fn only_an_effective_change_restarts_the_run() {
        assert_eq!(cause(&with("http://a"), &with("http://a")), None);
        let restart = Some(StopCause::Restart);
        assert_eq!(cause(&with("http://a"), &with("http://b")), restart);
        assert_eq!(cause(&with("http://a"), &Installed::default()), restart);
        assert_eq!(cause(&Installed::default(), &with("http://a")), restart);
        let resiliency = Installed {
            resiliencies: vec![Resiliency::default()],
            ..Installed::default()
        };
        assert_eq!(cause(&Installed::default(), &resiliency), restart);
    }
}
