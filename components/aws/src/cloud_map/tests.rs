use outrigger_component::name_resolution::{Fatal, Instance};
use outrigger_component::{HttpClient, SendHttp, testing};
use outrigger_svc::{Request, Response};
use outrigger_test_kit::servers::Moto;
use serde_json::{Value, json};

use super::*;

/// The way to the double, which has no name of its own for each kind of request: the client asks `data-<host>` for
/// instances.
#[derive(Debug)]
struct WithoutPrefix(HttpClient);

impl SendHttp for WithoutPrefix {
    fn send(&self, mut request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async move {
            let url = request.uri().to_string().replace("http://data-", "http://");
            *request.uri_mut() = url.parse()?;
            self.0.send(request).await
        })
    }
}

fn init(configuration: Value) -> NameResolutionInit {
    NameResolutionInit {
        configuration,
        instance: Instance {
            app_id: "own".to_owned(),
            namespace: "default".to_owned(),
            host_address: "127.0.0.1".to_owned(),
            http_port: 3500,
            internal_port: 50002,
            app_port: None,
        },
        http: HttpClient::new(Arc::new(WithoutPrefix(testing::http_client()))),
        fatal: Fatal::new(|_| {}),
    }
}

fn configuration(server: &Moto, own: &Value) -> Value {
    let mut configuration = json!({
        "region": "eu-west-1", "endpoint": server.endpoint(), "accessKey": "key", "secretKey": "secret",
    });
    for (name, value) in own.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    configuration
}

/// A namespace `apps` with the services of these instances; its id.
async fn namespace(server: &Moto, instances: &[(&str, &[(&str, &str)])]) -> String {
    let properties = init(configuration(server, &json!({}))).properties();
    let access = Access::read(&properties.fields().unwrap()).unwrap();
    let client = Client::new(&access.config(testing::http_client()).await);
    client.create_http_namespace().name("apps").send().await.unwrap();
    let namespaces = client.list_namespaces().send().await.unwrap();
    let id = namespaces.namespaces()[0].id().unwrap().to_owned();
    let mut services: HashMap<&str, String> = HashMap::new();
    for (number, (app_id, attributes)) in instances.iter().enumerate() {
        if !services.contains_key(app_id) {
            let create = client
                .create_service()
                .name(*app_id)
                .namespace_id(&id)
                .send()
                .await
                .unwrap();
            services.insert(app_id, create.service.unwrap().id.unwrap());
        }
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let register = client
            .register_instance()
            .service_id(&services[app_id])
            .instance_id(format!("i{number}"))
            .set_attributes(Some(attributes.collect()));
        register.send().await.unwrap();
    }
    id
}

async fn resolve(resolver: &CloudMap, app_id: &str) -> Result<Vec<String>, String> {
    let lookup = Lookup {
        app_id,
        namespace: "default",
        port: 1,
    };
    Ok(resolver.resolve(lookup).await?.list)
}

#[tokio::test]
async fn healthy_instances_are_found_in_the_namespace() {
    let Some(server) = Moto::start().await.unwrap() else {
        return;
    };
    let instances: [(&str, &[(&str, &str)]); 2] = [
        (
            "orders",
            &[("AWS_INSTANCE_IPV4", "10.0.0.1"), ("DAPR_PORT", "4000")],
        ),
        ("orders", &[("AWS_INSTANCE_IPV6", "fd00::1")]),
    ];
    let id = namespace(&server, &instances).await;
    for own in [
        json!({ "namespaceName": "apps" }),
        json!({ "namespaceId": id, "namespaceName": "other" }),
    ] {
        let resolver = CloudMap::connect(&init(configuration(&server, &own)))
            .await
            .unwrap();
        let mut found = resolve(&resolver, "orders").await.unwrap();
        found.sort();
        assert_eq!(found, ["10.0.0.1:4000", "[fd00::1]:50002"]);
        assert!(resolve(&resolver, "nobody").await.is_err());
    }
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_an_init_error() {
    let Some(server) = Moto::start().await.unwrap() else {
        return;
    };
    let own = configuration(&server, &json!({ "namespaceName": "nowhere" }));
    let error = make(init(own)).await.unwrap_err().to_string();
    assert_eq!(error, "namespace not found: nowhere");
    let own = configuration(&server, &json!({ "namespaceId": "ns-nowhere" }));
    let error = make(init(own)).await.unwrap_err().to_string();
    assert!(error.contains("NamespaceNotFound"), "{error}");
    let error = make(init(json!({}))).await.unwrap_err().to_string();
    assert_eq!(error, "either namespaceName or namespaceId must be provided");
}

#[test]
fn an_address_is_the_first_attribute_that_says_one() {
    let found = |pairs: &[(&str, &str)]| {
        let attributes = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        address(&attributes.collect(), 50002)
    };
    let all = [
        ("AWS_INSTANCE_CNAME", "c"),
        ("AWS_INSTANCE_IPV6", "::1"),
        ("AWS_INSTANCE_IPV4", "1.2.3.4"),
    ];
    assert_eq!(found(&all).as_deref(), Some("1.2.3.4:50002"));
    assert_eq!(found(&all[..2]).as_deref(), Some("[::1]:50002"));
    let named = [("AWS_INSTANCE_CNAME", "c"), ("DAPR_PORT", "7")];
    assert_eq!(found(&named).as_deref(), Some("c:7"));
    let odd = [("AWS_INSTANCE_CNAME", "c"), ("DAPR_PORT", "many")];
    assert_eq!(found(&odd).as_deref(), Some("c:50002"));
    assert_eq!(found(&[("DAPR_PORT", "7")]), None);
}
