//! The own sidecar as a service of the agent.

use outrigger_component::name_resolution::Instance;
use serde_json::{Map, Value, json};

use crate::config::Config;

/// What is registered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registration {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) service: Value,
}

/// Names of the fields of a registration as the agent spells them, by their lower case.
const SERVICE: &[&str] = &[
    "Kind",
    "ID",
    "Name",
    "Tags",
    "Port",
    "Address",
    "TaggedAddresses",
    "EnableTagOverride",
    "Meta",
    "Weights",
    "Check",
    "Checks",
    "Proxy",
    "Connect",
];

/// The same of a check.
const CHECK: &[&str] = &[
    "CheckID",
    "Name",
    "Args",
    "DockerContainerID",
    "Shell",
    "Interval",
    "Timeout",
    "TTL",
    "HTTP",
    "Header",
    "Method",
    "TCP",
    "Status",
    "Notes",
    "TLSSkipVerify",
    "GRPC",
    "GRPCUseTLS",
    "AliasNode",
    "AliasService",
    "DeregisterCriticalServiceAfter",
];

// === impl Registration ===

impl Registration {
    /// The registration that the configuration asks for, if any.
    ///
    /// # Errors
    /// The text of the init error: something that it needs is missing.
    pub(crate) fn of(config: &Config, instance: &Instance) -> Result<Option<Self>, String> {
        if let Some(service) = &config.advanced_registration {
            return Self::advanced(service, config, instance).map(Some);
        }
        if !config.self_register {
            return Ok(None);
        }
        let missing = |name: &str| format!("metadata property missing: {name}");
        let Instance {
            app_id,
            host_address,
            http_port,
            ..
        } = instance;
        if app_id.is_empty() {
            return Err(missing("APP_ID"));
        }
        let app_port = instance.app_port.ok_or_else(|| missing("APP_PORT"))?;
        if host_address.is_empty() {
            return Err(missing("HOST_ADDRESS"));
        }
        if *http_port == 0 {
            return Err(missing("DAPR_HTTP_PORT"));
        }
        let id = format!("{app_id}-{host_address}-{http_port}");
        let checks = match config.checks.as_deref() {
            None | Some([]) => vec![json!({
                "Name": "Dapr Health Status",
                "CheckID": format!("daprHealth:{id}"),
                "Interval": "15s",
                "HTTP": format!("http://{host_address}:{http_port}/v1.0/healthz?appid={app_id}"),
            })],
            Some(checks) => checks.iter().map(|check| respelled(check, CHECK)).collect(),
        };
        let mut meta = config.meta.clone().unwrap_or_default();
        meta.insert(config.port_key().to_owned(), instance.internal_port.to_string());
        let service = json!({
            "ID": id,
            "Name": app_id,
            "Tags": config.tags.clone().unwrap_or_default(),
            "Port": app_port,
            "Address": host_address,
            "Meta": meta,
            "Checks": checks,
        });
        Ok(Some(Self {
            id,
            name: app_id.clone(),
            service,
        }))
    }

    /// A registration that the configuration spells out. Without the port in its meta nobody could call.
    fn advanced(service: &Value, config: &Config, instance: &Instance) -> Result<Self, String> {
        let mut service = respelled(service, SERVICE);
        let Some(fields) = service.as_object_mut() else {
            return Err(
                "error deserializing to configSpec: advancedRegistration: a map is wanted".to_owned(),
            );
        };
        if let Some(check) = fields.get_mut("Check") {
            *check = respelled(check, CHECK);
        }
        if let Some(Value::Array(checks)) = fields.get_mut("Checks") {
            for check in checks {
                *check = respelled(check, CHECK);
            }
        }
        let meta = fields.entry("Meta").or_insert(Value::Null);
        if meta.is_null() {
            *meta = Value::Object(Map::new());
        }
        if let Some(meta) = meta.as_object_mut() {
            meta.entry(config.port_key())
                .or_insert_with(|| instance.internal_port.to_string().into());
        }
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let name = text("Name");
        let id = match text("ID") {
            id if id.is_empty() => name.clone(),
            id => id,
        };
        Ok(Self { id, name, service })
    }
}

/// The fields of a map under the names in `names` that differ from theirs in case only.
fn respelled(map: &Value, names: &[&str]) -> Value {
    let Some(fields) = map.as_object() else {
        return map.clone();
    };
    let respelled = fields.iter().map(|(name, value)| {
        let known = names.iter().find(|known| known.eq_ignore_ascii_case(name));
        (
            known.map_or_else(|| name.clone(), |known| (*known).to_owned()),
            value.clone(),
        )
    });
    Value::Object(respelled.collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn instance() -> Instance {
        Instance {
            app_id: "orders".to_owned(),
            namespace: "default".to_owned(),
            host_address: "10.0.0.1".to_owned(),
            http_port: 3500,
            internal_port: 50002,
            app_port: Some(6001),
        }
    }

    fn registration(config: &Value, instance: &Instance) -> Result<Option<Registration>, String> {
        Registration::of(&Config::parse(config).unwrap(), instance)
    }

    #[test]
    fn nothing_is_registered_unless_it_is_asked_for() {
        assert_eq!(registration(&json!({}), &instance()), Ok(None));
    }

    #[test]
    fn the_default_registration_has_a_check_of_the_sidecars_health() {
        let config = json!({ "selfRegister": true, "tags": ["v1"], "meta": { "zone": "a" } });
        let registration = registration(&config, &instance()).unwrap().unwrap();
        assert_eq!(
            (registration.id.as_str(), registration.name.as_str()),
            ("orders-10.0.0.1-3500", "orders")
        );
        assert_eq!(
            registration.service,
            json!({
                "ID": "orders-10.0.0.1-3500",
                "Name": "orders",
                "Tags": ["v1"],
                "Port": 6001,
                "Address": "10.0.0.1",
                "Meta": { "DAPR_PORT": "50002", "zone": "a" },
                "Checks": [{
                    "Name": "Dapr Health Status",
                    "CheckID": "daprHealth:orders-10.0.0.1-3500",
                    "Interval": "15s",
                    "HTTP": "http://10.0.0.1:3500/v1.0/healthz?appid=orders",
                }],
            })
        );
    }

    #[test]
    fn own_checks_and_an_own_key_take_the_place_of_the_default_ones() {
        let config = json!({
            "selfRegister": true,
            "daprPortMetaKey": "PORT",
            "checks": [{ "name": "mine", "checkID": "c1", "tcp": "10.0.0.1:1", "interval": "5s", "tlsSkipVerify": true }],
        });
        let service = registration(&config, &instance()).unwrap().unwrap().service;
        assert_eq!(service["Meta"], json!({ "PORT": "50002" }));
        assert_eq!(
            service["Checks"],
            json!([{ "Name": "mine", "CheckID": "c1", "TCP": "10.0.0.1:1", "Interval": "5s", "TLSSkipVerify": true }])
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let table = [
            (
                Instance {
                    app_id: String::new(),
                    ..instance()
                },
                "APP_ID",
            ),
            (
                Instance {
                    app_port: None,
                    ..instance()
                },
                "APP_PORT",
            ),
            (
                Instance {
                    host_address: String::new(),
                    ..instance()
                },
                "HOST_ADDRESS",
            ),
            (
                Instance {
                    http_port: 0,
                    ..instance()
                },
                "DAPR_HTTP_PORT",
            ),
        ];
        for (instance, name) in table {
            let error = registration(&json!({ "selfRegister": true }), &instance).unwrap_err();
            assert_eq!(error, format!("metadata property missing: {name}"));
        }
    }

    #[test]
    fn an_advanced_registration_is_passed_on_as_it_is() {
        let config = json!({
            "advancedRegistration": {
                "id": "x1", "name": "x", "port": 7, "weights": { "Passing": 3 },
                "check": { "http": "http://x", "interval": "1s" },
            },
        });
        let registration = registration(&config, &instance()).unwrap().unwrap();
        assert_eq!(
            registration.service,
            json!({
                "ID": "x1", "Name": "x", "Port": 7, "Weights": { "Passing": 3 },
                "Check": { "HTTP": "http://x", "Interval": "1s" },
                "Meta": { "DAPR_PORT": "50002" },
            })
        );
        assert_eq!(registration.id, "x1");
    }
}
