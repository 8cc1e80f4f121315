use std::collections::VecDeque;
use std::sync::Mutex;

use http::{Method, StatusCode};
use outrigger_component::SendHttp;
use outrigger_svc::{Body, Request, Response, collect_limited};
use serde_json::{Value, json};

use super::*;
use crate::registration::tests::instance;

/// An agent that answers by a script and writes down what it is asked.
#[derive(Clone, Debug, Default)]
struct Agent(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    asked: Vec<String>,
    /// Answers by the beginning of the target; the last is repeated.
    answers: Vec<(String, VecDeque<Answer>)>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    index: u64,
    body: Value,
}

impl Agent {
    fn answers(&self, target: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.0.lock().unwrap().answers.push((target.to_owned(), answers));
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    async fn resolver(&self, config: Value) -> Result<ConsulResolver, String> {
        let config = Config::parse(&config)?;
        ConsulResolver::start(
            config,
            &instance(),
            HttpClient::new(Arc::new(self.clone())),
            |_| None,
        )
        .await
    }
}

impl SendHttp for Agent {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = collect_limited(body, 1 << 20).await?;
            let target = head.uri.path_and_query().unwrap().to_string();
            let answer = {
                let mut script = self.0.lock().unwrap();
                let is_get = head.method == Method::GET;
                let body = String::from_utf8_lossy(&body);
                script.asked.push(if is_get {
                    target.clone()
                } else {
                    format!("{} {target} {body}", head.method)
                });
                let found = script
                    .answers
                    .iter_mut()
                    .find(|(start, _)| target.starts_with(start.as_str()));
                match found {
                    None => None,
                    Some((_, answers)) if answers.len() > 1 => answers.pop_front(),
                    Some((_, answers)) => answers.front().cloned(),
                }
            };
            let Some(answer) = answer else {
                // A query that waits.
                return std::future::pending().await;
            };
            let response = http::Response::builder()
                .status(StatusCode::from_u16(answer.status)?)
                .header("x-consul-index", answer.index);
            Ok(response.body(Body::from(answer.body.to_string()))?)
        })
    }
}

fn ok(index: u64, body: Value) -> Answer {
    Answer {
        status: 200,
        index,
        body,
    }
}

fn entry(address: &str, port: &str) -> Value {
    json!({ "Node": { "Address": "10.9.9.9" }, "Service": { "Address": address, "Meta": { "DAPR_PORT": port } } })
}

fn check(service: &str, id: &str, status: &str) -> Value {
    json!({ "Node": "n", "CheckID": "c", "Status": status, "ServiceID": id, "ServiceName": service })
}

async fn found(resolver: &ConsulResolver, app_id: &str) -> Result<Vec<String>, String> {
    let lookup = Lookup {
        app_id,
        namespace: "default",
        port: 1,
    };
    Ok(resolver.resolve(lookup).await?.list)
}

#[tokio::test]
async fn without_registration_the_agent_is_asked_whether_it_is_there() {
    let agent = Agent::default();
    agent.answers(
        "/v1/agent/self",
        [
            ok(0, json!({})),
            Answer {
                status: 403,
                ..ok(0, json!("no"))
            },
        ],
    );
    assert!(agent.resolver(json!({})).await.is_ok());
    let error = agent.resolver(json!({})).await.unwrap_err();
    assert_eq!(
        error,
        "failed check on consul agent: Unexpected response code: 403 (\"no\")"
    );
}

#[tokio::test]
async fn the_own_service_is_registered_and_taken_away() {
    let agent = Agent::default();
    agent.answers("/v1/agent/service", [ok(0, json!(null))]);
    let config = json!({ "selfRegister": true, "selfDeregister": true, "client": { "datacenter": "d1" } });
    let resolver = agent.resolver(config).await.unwrap();
    resolver.close().await;
    let asked = agent.asked();
    assert!(
        asked[0].starts_with("PUT /v1/agent/service/register?dc=d1 {\"ID\":\"orders-10.0.0.1-3500\","),
        "{asked:?}"
    );
    assert_eq!(
        asked[1],
        "PUT /v1/agent/service/deregister/orders%2D10%2E0%2E0%2E1%2D3500?dc=d1 "
    );

    let refusing = Agent::default();
    refusing.answers(
        "/v1/agent/service",
        [Answer {
            status: 500,
            ..ok(0, json!("down"))
        }],
    );
    let error = refusing
        .resolver(json!({ "selfRegister": true }))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        "failed to register consul service: Unexpected response code: 500 (\"down\")"
    );
}

#[tokio::test]
async fn healthy_instances_are_asked_for_with_the_options_of_the_configuration() {
    let agent = Agent::default();
    agent.answers("/v1/agent/self", [ok(0, json!({}))]);
    agent.answers(
        "/v1/health/service/app",
        [ok(1, json!([entry("10.0.0.1", "7"), entry("", "8")]))],
    );
    agent.answers("/v1/health/service/none", [ok(1, json!([]))]);
    agent.answers(
        "/v1/health/service/ill",
        [Answer {
            status: 500,
            ..ok(1, json!("x"))
        }],
    );
    let resolver = agent.resolver(json!({})).await.unwrap();
    assert_eq!(
        found(&resolver, "app").await.unwrap(),
        ["10.0.0.1:7", "10.9.9.9:8"]
    );
    assert_eq!(
        found(&resolver, "none").await.unwrap_err(),
        "no healthy services found with AppID 'none'"
    );
    assert_eq!(
        found(&resolver, "ill").await.unwrap_err(),
        "failed to query healthy consul services: Unexpected response code: 500 (\"x\")"
    );
    assert_eq!(agent.asked()[1], "/v1/health/service/app?passing=1&cached");

    let options = json!({ "queryOptions": {
        "datacenter": "d2", "allowStale": true, "near": "_agent", "nodeMeta": { "k": "v" }, "waitTime": 2_000_000_000,
        "filter": "Service.Tags contains \"v1\"", "namespace": "not sent",
    } });
    let resolver = agent.resolver(options).await.unwrap();
    found(&resolver, "app").await.unwrap();
    assert_eq!(
        agent.asked().last().unwrap(),
        "/v1/health/service/app?passing=1&dc=d2&near=%5Fagent&filter=Service%2ETags%20contains%20%22v1%22&\
         node-meta=k%3Av&stale&wait=2000ms"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watched_app_is_answered_from_memory_that_follows_its_health() {
    let agent = Agent::default();
    agent.answers("/v1/agent/self", [ok(0, json!({}))]);
    agent.answers(
        "/v1/health/service/app",
        [
            ok(1, json!([entry("10.0.0.1", "7")])),
            ok(2, json!([entry("10.0.0.1", "7")])),
            ok(3, json!([entry("10.0.0.2", "7")])),
        ],
    );
    agent.answers(
        "/v1/health/state/any?filter=ServiceName%3D%3D%22app%22&wait",
        [ok(5, json!([check("app", "a1", "passing")]))],
    );
    let resolver = agent.resolver(json!({ "useCache": true })).await.unwrap();
    assert_eq!(found(&resolver, "app").await.unwrap(), ["10.0.0.1:7"]);
    let until = async |expected: &str, asked: usize| {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let queries = agent
                .asked()
                .iter()
                .filter(|target| target.contains("service/app"))
                .count();
            if queries == asked && found(&resolver, "app").await.unwrap() == [expected] {
                return;
            }
        }
    };
    until("10.0.0.1:7", 2).await;
    // From now on the blocking query tells.
    agent.answers(
        "/v1/health/state/any?filter=ServiceName%3D%3D%22app%22&index=5",
        [ok(
            6,
            json!([check("app", "a1", "critical"), check("app", "a2", "passing")]),
        )],
    );
    resolver.watcher().known("other");
    agent.answers(
        "/v1/health/state/any",
        [ok(6, json!([check("app", "a2", "passing")]))],
    );
    agent.answers("/v1/health/service/other", [ok(3, json!([]))]);
    until("10.0.0.2:7", 3).await;
    resolver.close().await;
}

#[tokio::test]
async fn an_internal_port_is_needed() {
    let config = Config::parse(&json!({})).unwrap();
    let instance = Instance {
        internal_port: 0,
        ..instance()
    };
    let http = HttpClient::new(Arc::new(Agent::default()));
    let error = ConsulResolver::start(config, &instance, http, |_| None)
        .await
        .unwrap_err();
    assert_eq!(error, "metadata property missing: DAPR_PORT");
}

#[tokio::test]
async fn the_environment_tells_what_the_configuration_does_not() {
    let agent = Agent::default();
    agent.answers("/v1/agent/self", [ok(0, json!({}))]);
    let environment = |name: &str| match name {
        "CONSUL_HTTP_ADDR" => Some("https://consul.example".to_owned()),
        "CONSUL_HTTP_AUTH" => Some("user:pass".to_owned()),
        _ => None,
    };
    let config = Config::parse(&json!({ "client": { "token": "t" } })).unwrap();
    let http = HttpClient::new(Arc::new(agent.clone()));
    let resolver = ConsulResolver::start(config, &instance(), http, environment)
        .await
        .unwrap();
    let shown = format!("{:?}", resolver.client);
    assert!(shown.contains("https://consul.example"), "{shown}");
    assert!(
        !shown.contains("pass") && !shown.contains("dXNlcjpwYXNz"),
        "{shown}"
    );
}
