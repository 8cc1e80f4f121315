//! Where the sidecar of an instance is.

use std::net::IpAddr;

use tokio::net::lookup_host;

use crate::client::ServiceEntry;

/// Why an instance has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAddress {
    /// Its meta has no port.
    NoPort,
    /// It is at a host that cannot be looked up.
    Unknown(String),
}

/// Host and port of the sidecar of an instance, and whether the host is a name that must be known.
pub(crate) fn of(entry: &ServiceEntry, port_key: &str) -> Result<(String, IsName), NoAddress> {
    let port = entry.service.meta.get(port_key).ok_or(NoAddress::NoPort)?;
    let host = match entry.service.address.as_str() {
        "" => entry.node.address.as_str(),
        address => address,
    };
    match host.parse() {
        Ok(IpAddr::V4(ip)) => Ok((format!("{ip}:{port}"), IsName::No)),
        Ok(IpAddr::V6(ip)) => Ok((format!("[{ip}]:{port}"), IsName::No)),
        Err(_) if host.is_empty() => Err(NoAddress::Unknown(String::new())),
        Err(_) => Ok((format!("{host}:{port}"), IsName::Yes)),
    }
}

/// Whether a host is given by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsName {
    Yes,
    No,
}

/// The addresses of instances that have one.
///
/// # Errors
/// The text for the caller, if none has one: that of the first.
pub(crate) async fn list(
    entries: &[ServiceEntry],
    app_id: &str,
    port_key: &str,
) -> Result<Vec<String>, String> {
    let mut list = Vec::with_capacity(entries.len());
    let mut first = None;
    for entry in entries {
        let found = match of(entry, port_key) {
            Ok((address, IsName::Yes)) if !is_known(&address).await => {
                Err(NoAddress::Unknown(host_of(&address)))
            }
            found => found.map(|(address, _)| address),
        };
        match found {
            Ok(address) => list.push(address),
            Err(reason) => {
                first.get_or_insert(reason);
            }
        }
    }
    match first {
        Some(reason) if list.is_empty() => Err(match reason {
            NoAddress::NoPort => {
                format!("target service AppID '{app_id}' found but {port_key} missing from meta")
            }
            NoAddress::Unknown(host) => format!("invalid ip address or unreachable hostname: {host}"),
        }),
        _ => Ok(list),
    }
}

async fn is_known(address: &str) -> bool {
    lookup_host(address)
        .await
        .is_ok_and(|mut found| found.next().is_some())
}

fn host_of(address: &str) -> String {
    address
        .rsplit_once(':')
        .map_or(address, |(host, _)| host)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(service: &str, node: &str, port: Option<&str>) -> ServiceEntry {
        let meta = port.map_or(json!(null), |port| json!({ "DAPR_PORT": port }));
        serde_json::from_value(json!({
            "Node": { "Node": "n", "Address": node },
            "Service": { "ID": "a", "Address": service, "Port": 80, "Meta": meta },
            "Checks": [],
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn the_address_of_the_service_comes_before_that_of_its_node() {
        let table = [
            (entry("10.0.0.1", "10.0.0.9", Some("7")), Ok("10.0.0.1:7")),
            (entry("", "10.0.0.9", Some("7")), Ok("10.0.0.9:7")),
            (entry("fd00::1", "", Some("7")), Ok("[fd00::1]:7")),
            (entry("localhost", "", Some("7")), Ok("localhost:7")),
            (
                entry("10.0.0.1", "", None),
                Err("target service AppID 'app' found but DAPR_PORT missing from meta"),
            ),
            (
                entry("no host", "", Some("7")),
                Err("invalid ip address or unreachable hostname: no host"),
            ),
            (
                entry("", "", Some("7")),
                Err("invalid ip address or unreachable hostname: "),
            ),
        ];
        for (entry, expected) in table {
            let found = list(&[entry], "app", "DAPR_PORT").await;
            let expected = expected
                .map(|address| vec![address.to_owned()])
                .map_err(str::to_owned);
            assert_eq!(found, expected);
        }
    }

    #[tokio::test]
    async fn instances_without_an_address_are_left_out() {
        let entries = [entry("10.0.0.1", "", None), entry("10.0.0.2", "", Some("7"))];
        assert_eq!(list(&entries, "app", "DAPR_PORT").await.unwrap(), ["10.0.0.2:7"]);
    }
}
