//! A fake of the Kubernetes API server: objects in memory, with reads, lists and watches of them.
//!
//! It is **not** an API server: nothing is checked, written or deleted through it, the test lays the objects down. It
//! behaves in one of two manners: as a real one does, or as the smallest one that clients meet.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::certificates::{Key, Tail};
use crate::http::{Flavor, Piece, PieceSender};
use crate::{Authority, Certificate, HttpApp, HttpRequest, HttpResponse, Leaf, Result};

/// A fake API server on a free port.
#[derive(Debug)]
pub struct KubeApi {
    app: HttpApp,
    cluster: Arc<Cluster>,
    /// The authority and the certificate of the client, where both sides show one.
    tls: Option<(Authority, Certificate)>,
}

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Resource versions, selectors, watches from a version that last, a line an event.
    Faithful,
    /// No versions, no selectors, watches that end at once and have no line ends.
    Minimal,
}

#[derive(Debug)]
struct Cluster {
    manner: Manner,
    history: Mutex<Vec<Change>>,
    /// How many changes a server of the minimal manner has told, by collection.
    told: Mutex<HashMap<String, usize>>,
    length: watch::Sender<usize>,
}

/// What has happened to an object; its version is its place in the history.
#[derive(Clone, Debug)]
struct Change {
    plural: String,
    kind: &'static str,
    object: Value,
}

/// What a request is about.
struct Target<'a> {
    plural: &'a str,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

/// How long a watch of the minimal manner lasts.
const SHORT: Duration = Duration::from_millis(200);
/// The name that the server's certificate is for.
const SERVER_NAME: &str = "kubernetes.test";
/// The group and version of the core objects.
const CORE: &str = "/api/v1/";

// === impl KubeApi ===

impl KubeApi {
    /// Starts a server without objects, without TLS.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(manner: Manner) -> Result<Self> {
        Self::start_as(manner, Flavor::Http, None).await
    }

    /// Starts a server in TLS that wants to see a certificate. All keys are of Ed25519.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start_tls(manner: Manner) -> Result<Self> {
        let authority = Authority::new()?;
        let leaf = |name: &str| Leaf {
            dns_names: vec![name.to_owned()],
            key: Key::Ed25519,
            tail: Tail::Issuer,
            ..Leaf::default()
        };
        let server = tls(&authority, &authority.issue(&leaf(SERVER_NAME))?)?;
        let client = authority.issue(&leaf("client"))?;
        Self::start_as(manner, Flavor::Https(server), Some((authority, client))).await
    }

    async fn start_as(manner: Manner, flavor: Flavor, tls: Option<(Authority, Certificate)>) -> Result<Self> {
        let cluster = Arc::new(Cluster {
            manner,
            history: Mutex::default(),
            told: Mutex::default(),
            length: watch::Sender::default(),
        });
        let serving = Arc::clone(&cluster);
        let app = HttpApp::start_as(flavor, 0, move |request: HttpRequest| {
            let cluster = Arc::clone(&serving);
            async move { cluster.answer(&request) }
        })
        .await?;
        Ok(Self { app, cluster, tls })
    }

    /// Writes a file `kubeconfig` for the server, and beside it those that it names.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_kubeconfig(&self, folder: &Path) -> Result<()> {
        let port = self.app.port();
        let write = |name: &str, text: &str| -> Result<String> {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path.display().to_string())
        };
        let (cluster, user) = match &self.tls {
            None => (json!({"server": format!("http://127.0.0.1:{port}")}), json!({})),
            Some((authority, client)) => (
                json!({
                    "server": format!("https://127.0.0.1:{port}"),
                    "tls-server-name": SERVER_NAME,
                    "certificate-authority": write("cluster.crt", authority.anchors())?,
                }),
                json!({
                    "client-certificate": write("client.crt", &client.chain)?,
                    "client-key": write("client.key", &client.key)?,
                }),
            ),
        };
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "test"}}],
            "current-context": "fake",
        });
        write("kubeconfig", &kubeconfig.to_string())?;
        Ok(())
    }

    /// Lays down an object of a collection, such as `secrets`; one of the same name and namespace is replaced.
    pub fn put(&self, plural: &str, object: Value) {
        let is_known = self
            .cluster
            .objects(plural)
            .iter()
            .any(|known| same(known, &object));
        let kind = if is_known { "MODIFIED" } else { "ADDED" };
        self.cluster.change(plural, kind, object);
    }

    /// Takes an object away.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let object = json!({"metadata": {"namespace": namespace, "name": name}});
        self.cluster.change(plural, "DELETED", object);
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.app.requests()
    }
}

// === impl Cluster ===

impl Cluster {
    fn answer(self: &Arc<Self>, request: &HttpRequest) -> HttpResponse {
        let Some(target) = Target::of(request.path()).filter(|_| request.method == "GET") else {
            return not_found("the server could not find the requested resource");
        };
        let query = request.query().unwrap_or_default();
        let parameter = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find_map(|(key, value)| (key == name).then_some(value))
        };
        if let Some(name) = target.name {
            let found = self
                .objects(target.plural)
                .into_iter()
                .find(|object| target.has(object));
            return match found {
                Some(object) => HttpResponse::json(&object),
                None => not_found(&format!("{} \"{name}\" not found", target.plural)),
            };
        }
        let selected = match self.manner {
            Manner::Faithful => {
                parameter("fieldSelector").and_then(|text| text.strip_prefix("metadata.name%3D"))
            }
            Manner::Minimal => None,
        };
        let selected = Target {
            name: selected,
            ..target
        };
        if parameter("watch") != Some("true") {
            return self.list(&selected);
        }
        let version = parameter("resourceVersion").and_then(|version| version.parse().ok());
        let (response, events) = HttpResponse::stream(200);
        let (plural, namespace) = (selected.plural.to_owned(), selected.namespace.map(str::to_owned));
        let name = selected.name.map(str::to_owned);
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            let target = Target {
                plural: &plural,
                namespace: namespace.as_deref(),
                name: name.as_deref(),
            };
            match cluster.manner {
                Manner::Faithful => cluster.watch(&target, version.unwrap_or(0), &events).await,
                Manner::Minimal => cluster.glance(&target, &events).await,
            }
        });
        response.header("Content-Type", "application/json")
    }

    fn list(&self, target: &Target<'_>) -> HttpResponse {
        let objects: Vec<_> = self
            .objects(target.plural)
            .into_iter()
            .filter(|object| target.has(object))
            .collect();
        HttpResponse::json(&match self.manner {
            Manner::Faithful => {
                let version = self.history().len().to_string();
                json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": objects})
            }
            Manner::Minimal if objects.is_empty() => json!({"metadata": {}, "items": null}),
            Manner::Minimal => json!({"metadata": {}, "items": objects}),
        })
    }

    /// Tells of all changes after a version, until the client goes away.
    async fn watch(&self, target: &Target<'_>, mut version: usize, events: &PieceSender) {
        let mut length = self.length.subscribe();
        loop {
            for change in self
                .since(version)
                .into_iter()
                .filter(|change| target.tells(change))
            {
                if events
                    .send(Piece::Data(format!("{}\n", change.event()).into()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            version = *length.borrow_and_update();
            tokio::select! {
                changed = length.changed() => if changed.is_err() { return },
                () = events.closed() => return,
            }
        }
    }

    /// Tells of the changes that were told to nobody, then waits a little for more.
    async fn glance(&self, target: &Target<'_>, events: &PieceSender) {
        let mut length = self.length.subscribe();
        let end = tokio::time::Instant::now() + SHORT;
        loop {
            let (known, version) = (self.told(target.plural), self.history().len());
            for change in self
                .since(known)
                .into_iter()
                .filter(|change| target.tells(change))
            {
                if events
                    .send(Piece::Data(change.event().to_string().into()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            self.told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(target.plural.to_owned(), version);
            length.mark_unchanged();
            if tokio::time::timeout_at(end, length.changed()).await.is_err() {
                return;
            }
        }
    }

    fn told(&self, plural: &str) -> usize {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(plural).copied().unwrap_or(0)
    }

    fn since(&self, version: usize) -> Vec<Change> {
        self.history().iter().skip(version).cloned().collect()
    }

    /// The objects of a collection as they are now.
    fn objects(&self, plural: &str) -> Vec<Value> {
        let mut objects: Vec<Value> = Vec::new();
        for change in self.history().iter().filter(|change| change.plural == plural) {
            objects.retain(|known| !same(known, &change.object));
            if change.kind != "DELETED" {
                objects.push(change.object.clone());
            }
        }
        objects
    }

    fn change(&self, plural: &str, kind: &'static str, mut object: Value) {
        let mut history = self.history();
        let version = history.len() + 1;
        if self.manner == Manner::Faithful {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
        }
        history.push(Change {
            plural: plural.to_owned(),
            kind,
            object,
        });
        self.length.send_replace(version);
    }

    fn history(&self) -> MutexGuard<'_, Vec<Change>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Change ===

impl Change {
    fn event(&self) -> Value {
        json!({"type": self.kind, "object": self.object})
    }
}

// === impl Target ===

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<_> = path.strip_prefix(CORE)?.split('/').collect();
        let (namespace, rest) = match *parts {
            ["namespaces", namespace, ref rest @ ..] if !rest.is_empty() => (Some(namespace), rest.to_vec()),
            _ => (None, parts),
        };
        match *rest {
            [plural] => Some(Self {
                plural,
                namespace,
                name: None,
            }),
            [plural, name] => Some(Self {
                plural,
                namespace,
                name: Some(name),
            }),
            _ => None,
        }
    }

    fn has(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        self.namespace
            .is_none_or(|namespace| metadata["namespace"] == namespace)
            && self.name.is_none_or(|name| metadata["name"] == name)
    }

    fn tells(&self, change: &Change) -> bool {
        change.plural == self.plural && self.has(&change.object)
    }
}

fn same(one: &Value, other: &Value) -> bool {
    ["namespace", "name"]
        .iter()
        .all(|member| one["metadata"][member] == other["metadata"][member])
}

fn not_found(message: &str) -> HttpResponse {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NotFound",
        "code": 404,
    });
    let mut response = HttpResponse::json(&status);
    response.status = 404;
    response
}

fn tls(authority: &Authority, certificate: &Certificate) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.anchors().as_bytes()) {
        roots.add(root?)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}
