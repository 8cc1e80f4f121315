//! DNS names in the certificates of the control plane, for those who dial it by name.

/// How many replicas of the scheduler have a name.
const SCHEDULERS: usize = 3;

/// The DNS names of a workload: some for three services of the control plane, none for anyone else.
///
/// `cluster_domain` ends the names of the scheduler's replicas; it is the trust domain outside of Kubernetes.
pub(crate) fn dns_names(
    app_id: &str,
    namespace: &str,
    control_plane_namespace: &str,
    cluster_domain: &str,
) -> Vec<String> {
    if namespace != control_plane_namespace {
        return Vec::new();
    }
    match app_id {
        "dapr-injector" => vec![format!("dapr-sidecar-injector.{namespace}.svc")],
        "dapr-operator" => vec![format!("dapr-webhook.{namespace}.svc")],
        "dapr-scheduler" => (0..SCHEDULERS)
            .map(|replica| {
                format!(
                    "dapr-scheduler-server-{replica}.dapr-scheduler-server.{namespace}.svc.{cluster_domain}"
                )
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_the_control_plane_are_named_in_their_own_namespace_only() {
        let names = |app_id, namespace| dns_names(app_id, namespace, "default", "localhost");
        assert_eq!(
            names("dapr-injector", "default"),
            ["dapr-sidecar-injector.default.svc"]
        );
        assert_eq!(names("dapr-operator", "default"), ["dapr-webhook.default.svc"]);
        assert_eq!(
            names("dapr-scheduler", "default"),
            [0, 1, 2].map(|replica| format!(
                "dapr-scheduler-server-{replica}.dapr-scheduler-server.default.svc.localhost"
            ))
        );
        for (app_id, namespace) in [
            ("dapr-operator", "other"),
            ("dapr-placement", "default"),
            ("dapr-sentry", "default"),
            ("myapp", "default"),
        ] {
            assert!(names(app_id, namespace).is_empty(), "{app_id} in {namespace}");
        }
    }
}
