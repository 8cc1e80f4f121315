//! What sections of access control mean when the sidecar starts.

use outrigger_test_kit::{Daprd, Sentry, isolated};

use super::{callee, configuration, denial, http_app};
use crate::suite::invoke::both;

#[test]
fn a_policy_that_is_for_nobody_stops_the_start_with_all_that_is_missing() {
    isolated!(async {
        let yaml = configuration(
            "{policies: [{appId: a, namespace: n}, {appId: b, trustDomain: t}, {namespace: n, trustDomain: t}]}",
        );
        let mut sidecar = Daprd::builder("callee")?.configuration(&yaml)?.spawn()?;
        let status = sidecar.process.exit().await?;
        assert_eq!(status.code(), Some(1));
        let text = "Fatal error from runtime: invalid access control spec. missing trustdomain for apps: [a], \
                    missing namespace for apps: [b], missing app name on at least one of the app policies: true";
        sidecar.process.wait_for_line(text).await?;
        Ok(())
    });
}

#[test]
fn without_mtls_only_the_default_of_all_counts() {
    isolated!(async {
        let app = http_app().await?;
        let policy =
            "policies: [{appId: myapp, namespace: default, trustDomain: public, defaultAction: deny}]";
        let open = Daprd::builder("open")?
            .app("http", app.port())
            .configuration(&configuration(&format!("{{{policy}}}")))?;
        let closed = Daprd::builder("closed")?
            .app("http", app.port())
            .configuration(&configuration("{defaultAction: deny}"))?;
        let (open, _closed) = both(open, closed).await?;
        let caller = Daprd::builder("myapp")?.start().await?;
        assert_eq!(caller.invoke("open", "x").await?.status, 200);
        let reply = caller.invoke("closed", "x").await?;
        assert_eq!(reply.status, 403);
        let denied = format!(
            "rpc error: code = PermissionDenied desc = {}",
            denial("", "x", "GET")
        );
        let failure = crate::suite::invoke::failure("closed", &denied);
        assert_eq!(reply.text(), failure.to_string());
        let labels = [("app_id", ""), ("namespace", ""), ("trustDomain", "")];
        let name = "dapr_runtime_acl_global_policy_action_allowed_total";
        assert_eq!(open.metric(name, &labels).await?, Some(1.0));
        Ok(())
    });
}

#[test]
fn an_omitted_default_allows_and_an_empty_one_denies() {
    isolated!(async {
        let (sentry, app) = (Sentry::start().await?, http_app().await?);
        let policy =
            "policies: [{appId: other, namespace: default, trustDomain: public, defaultAction: deny}]";
        let omitted = callee(&sentry, &configuration(&format!("{{{policy}}}")))?.app("http", app.port());
        let empty = Daprd::builder("empty")?
            .mtls(&sentry)
            .app("http", app.port())
            .configuration(&configuration(&format!("{{defaultAction: '', {policy}}}")))?;
        let (_callee, empty) = both(omitted, empty).await?;
        let caller = Daprd::builder("myapp")?.mtls(&sentry).start().await?;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        assert_eq!(caller.invoke("empty", "x").await?.status, 403);
        let warnings = empty.process.lines_with("access control has no default action");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("level=warning"), "{warnings:?}");
        Ok(())
    });
}
