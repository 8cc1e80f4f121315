//! A fake of Consul's agent: the parts of its HTTP API that name resolution uses.
//!
//! It is **not** Consul: one node, no gossip, no access control, checks whose state the test sets. What it does it does
//! as the documentation of the API says: paths, parameters, spelling of the fields, `X-Consul-Index`, queries that
//! wait for a newer index.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{HttpApp, HttpRequest, HttpResponse, Result};

/// A fake agent on a free port.
#[derive(Debug)]
pub struct Consul {
    app: HttpApp,
    catalog: Arc<Catalog>,
}

/// A registered service and whether its checks pass.
#[derive(Clone, Debug)]
struct Service {
    registration: Value,
    status: String,
}

#[derive(Debug)]
struct Catalog {
    services: Mutex<BTreeMap<String, Service>>,
    index: watch::Sender<u64>,
}

/// Name of the only node.
const NODE: &str = "fake";

// === impl Consul ===

impl Consul {
    /// Starts an agent that knows of no service.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> Result<Self> {
        let catalog = Arc::new(Catalog {
            services: Mutex::default(),
            index: watch::Sender::new(1),
        });
        let serving = Arc::clone(&catalog);
        let app = HttpApp::start(move |request| {
            let catalog = Arc::clone(&serving);
            async move { catalog.answer(&request).await }
        })
        .await?;
        Ok(Self { app, catalog })
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.app.port())
    }

    /// The registration of a service as it was sent; none if there is no such id.
    #[must_use]
    pub fn registration(&self, id: &str) -> Option<Value> {
        self.catalog
            .services()
            .get(id)
            .map(|service| service.registration.clone())
    }

    /// Ids of all services.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.catalog.services().keys().cloned().collect()
    }

    /// Sets the state of the checks of a service: `passing`, `warning` or `critical`.
    pub fn set_status(&self, id: &str, status: &str) {
        if let Some(service) = self.catalog.services().get_mut(id) {
            status.clone_into(&mut service.status);
        }
        self.catalog.change();
    }

    /// The targets of all requests whose path begins so.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<String> {
        let requests = self.app.requests().into_iter();
        requests
            .map(|request| request.target)
            .filter(|target| target.starts_with(path))
            .collect()
    }
}

// === impl Catalog ===

impl Catalog {
    async fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let path = request.path();
        match (request.method.as_str(), path) {
            ("GET", "/v1/agent/self") => self.json(&json!({ "Config": { "NodeName": NODE } })),
            ("PUT", "/v1/agent/service/register") => match serde_json::from_slice::<Value>(&request.body) {
                Ok(registration) => self.register(registration),
                Err(error) => HttpResponse::new(400, format!("Request decode failed: {error}")),
            },
            ("PUT", _) if path.starts_with("/v1/agent/service/deregister/") => {
                let id = decoded(path.trim_start_matches("/v1/agent/service/deregister/"));
                let known = self.services().remove(&id).is_some();
                self.change();
                match known {
                    true => HttpResponse::ok(""),
                    false => HttpResponse::new(404, format!("Unknown service ID {id:?}")),
                }
            }
            ("GET", "/v1/health/state/any") => {
                self.wait(request).await;
                let services = self.services();
                let filter = parameter(request, "filter").unwrap_or_default();
                let checks: Vec<_> = services
                    .iter()
                    .filter(|(_, service)| {
                        filter.is_empty() || filter.contains(&format!("ServiceName==\"{}\"", name(service)))
                    })
                    .map(|(id, service)| check(id, service))
                    .collect();
                drop(services);
                self.json(&json!(checks))
            }
            ("GET", _) if path.starts_with("/v1/health/service/") => {
                self.wait(request).await;
                let wanted = decoded(path.trim_start_matches("/v1/health/service/"));
                let passing = parameter(request, "passing").is_some();
                let services = self.services();
                let entries: Vec<_> = services
                    .iter()
                    .filter(|(_, service)| {
                        name(service) == wanted && (!passing || service.status == "passing")
                    })
                    .map(|(id, service)| entry(id, service))
                    .collect();
                drop(services);
                self.json(&json!(entries))
            }
            _ => HttpResponse::new(404, "Invalid URL path: not a recognized HTTP API endpoint"),
        }
    }

    fn register(&self, registration: Value) -> HttpResponse {
        let text = |name: &str| registration[name].as_str().unwrap_or_default().to_owned();
        if text("Name").is_empty() {
            return HttpResponse::new(400, "Missing service name");
        }
        let id = match text("ID") {
            id if id.is_empty() => text("Name"),
            id => id,
        };
        // Checks of the real one begin as critical and pass with their first run.
        let service = Service {
            registration,
            status: "passing".to_owned(),
        };
        self.services().insert(id, service);
        self.change();
        HttpResponse::ok("")
    }

    /// Waits as a blocking query does: until the index is beyond that of the request, or its time is over.
    async fn wait(&self, request: &HttpRequest) {
        let index = parameter(request, "index").and_then(|index| index.parse::<u64>().ok());
        let Some(index) = index.filter(|&index| index > 0) else {
            return;
        };
        let limit = parameter(request, "wait").and_then(|wait| wait.trim_end_matches("ms").parse().ok());
        let limit = Duration::from_millis(limit.unwrap_or(300_000));
        let mut changes = self.index.subscribe();
        tokio::time::timeout(limit, changes.wait_for(|now| *now > index))
            .await
            .ok();
    }

    fn json(&self, value: &Value) -> HttpResponse {
        let index = self.index.borrow().to_string();
        HttpResponse::json(value).header("X-Consul-Index", index)
    }

    fn change(&self) {
        self.index.send_modify(|index| *index += 1);
    }

    fn services(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(service: &Service) -> &str {
    service.registration["Name"].as_str().unwrap_or_default()
}

fn check(id: &str, service: &Service) -> Value {
    json!({
        "Node": NODE,
        "CheckID": format!("service:{id}"),
        "Status": service.status,
        "ServiceID": id,
        "ServiceName": name(service),
    })
}

fn entry(id: &str, service: &Service) -> Value {
    let field = |name: &str| service.registration.get(name).cloned().unwrap_or(Value::Null);
    json!({
        "Node": { "Node": NODE, "Address": "127.0.0.1" },
        "Service": {
            "ID": id,
            "Service": name(service),
            "Address": field("Address"),
            "Port": field("Port"),
            "Meta": field("Meta"),
            "Tags": field("Tags"),
        },
        "Checks": [check(id, service)],
    })
}

/// A parameter of the query, decoded.
fn parameter(request: &HttpRequest, name: &str) -> Option<String> {
    request.query()?.split('&').find_map(|pair| {
        let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
        (known == name).then(|| decoded(value))
    })
}

/// A text with its percent signs resolved.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let pair: Option<[u8; 2]> =
            (byte == b'%').then(|| [rest.next(), rest.next()].map(|byte| byte.unwrap_or(b'0')));
        let number = pair.and_then(|pair| u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok());
        bytes.push(number.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
