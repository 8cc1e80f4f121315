//! A fake cluster and the way to it.

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::{Condition, HttpClient, Init, Properties, SendHttp};
use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use outrigger_test_kit::{Directory, KubeApi, Manner};
use tokio::time::Instant;

/// A cluster with a kubeconfig file for it.
pub(crate) struct World {
    pub(crate) api: KubeApi,
    folder: Directory,
}

/// These components reach nothing by the sidecar's own client.
#[derive(Debug)]
struct Nowhere;

// === impl World ===

impl World {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::of(KubeApi::start(manner).await.unwrap())
    }

    /// A cluster that is reached by TLS with certificates on both sides.
    pub(crate) async fn start_tls() -> Self {
        Self::of(KubeApi::start_tls(Manner::Faithful).await.unwrap())
    }

    fn of(api: KubeApi) -> Self {
        let folder = Directory::new().unwrap();
        api.write_kubeconfig(folder.path()).unwrap();
        Self { api, folder }
    }

    /// Settings of a component, with the kubeconfig file unless they name one.
    pub(crate) fn init(&self, settings: &[(&str, &str)]) -> Init {
        let path = self.folder.path().join("kubeconfig");
        let mut properties = Properties::from([("kubeconfigPath", path.to_str().unwrap())]);
        for (name, value) in settings {
            properties.set(*name, *value);
        }
        Init {
            name: "c".into(),
            log_name: "c (x/v1)".into(),
            app_id: "app1".into(),
            namespace: "default".into(),
            properties,
            deadline: Instant::now() + Duration::from_secs(10),
            http: HttpClient::new(Arc::new(Nowhere)),
            condition: Condition::default(),
        }
    }
}

impl SendHttp for Nowhere {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async { Err("no server is reached this way".into()) })
    }
}
