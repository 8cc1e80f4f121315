//! The kind `HTTPEndpoint`.

use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use serde::Deserialize;
use serde_json::Value;

use super::component::AuthSpec;
use super::property::{PairSpec, ValueSpec};
use super::{Metadata, Property, PropertyValue, Resource};

/// A service outside that is called by the name of this resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What paths are put behind, unchanged.
    pub base_url: String,
    /// Headers of every request; they replace those of the client.
    pub headers: Vec<Property>,
    /// Its TLS, when the resource speaks of it.
    pub client_tls: Option<ClientTls>,
    /// Secret store of its references; may be empty.
    pub secret_store: String,
    /// App ids that may call it; empty is all.
    pub scopes: Vec<String>,
}

/// TLS towards an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Roots to trust in place of the system's, PEM; `None` keeps the system's.
    pub root_ca: Option<PropertyValue>,
    /// Own certificate, PEM.
    pub certificate: Option<PropertyValue>,
    /// Own key, PEM.
    pub private_key: Option<PropertyValue>,
    /// Whether the server may renegotiate, as written: `Never`, `OnceAsClient`, `FreelyAsClient`, or the same
    /// with `Renegotiate` in front.
    pub renegotiation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HttpEndpointSpec {
    metadata: Metadata,
    spec: Spec,
    auth: AuthSpec,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    base_url: String,
    headers: Vec<PairSpec>,
    #[serde(rename = "clientTLS")]
    client_tls: Option<ClientTlsSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientTlsSpec {
    #[serde(rename = "rootCA")]
    root_ca: Option<ValueSpec>,
    certificate: Option<ValueSpec>,
    private_key: Option<ValueSpec>,
    renegotiation: String,
}

// === impl HttpEndpoint ===

impl Resource for HttpEndpoint {
    const KIND: &'static str = "HTTPEndpoint";

    fn from_document(_api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let wire: HttpEndpointSpec = from_value_ignoring_case(document)?;
        Ok(Self {
            metadata: wire.metadata,
            base_url: wire.spec.base_url,
            headers: wire.spec.headers.into_iter().map(Property::from).collect(),
            client_tls: wire.spec.client_tls.map(ClientTls::from),
            secret_store: wire.auth.secret_store,
            scopes: wire.scopes,
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn same_as(&self, other: &Self) -> bool {
        let Self {
            metadata,
            base_url,
            headers,
            client_tls,
            secret_store,
            scopes,
        } = self;
        metadata.name == other.metadata.name
            && *base_url == other.base_url
            && *headers == other.headers
            && *client_tls == other.client_tls
            && *secret_store == other.secret_store
            && *scopes == other.scopes
    }
}

// === impl ClientTls ===

impl From<ClientTlsSpec> for ClientTls {
    fn from(spec: ClientTlsSpec) -> Self {
        Self {
            root_ca: filled(spec.root_ca),
            certificate: filled(spec.certificate),
            private_key: filled(spec.private_key),
            renegotiation: spec.renegotiation,
        }
    }
}

/// A document of nothing counts as none.
fn filled(spec: Option<ValueSpec>) -> Option<PropertyValue> {
    spec.map(PropertyValue::from)
        .filter(|value| *value != PropertyValue::default())
}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;

    #[test]
    fn an_endpoint_is_read_with_all_its_fields() {
        let document = yaml::to_json(
            "metadata: {name: github}
spec:
  baseUrl: https://api.github.com
  headers:
  - {name: Accept, value: text/plain}
  - {name: Authorization, secretKeyRef: {name: token}}
  clientTLS:
    rootCA: {secretKeyRef: {name: ca, key: pem}}
    certificate: {value: PEM}
    privateKey: {}
    renegotiation: RenegotiateNever
auth: {secretStore: vault}
scopes: [a]",
        )
        .unwrap();
        let endpoint = HttpEndpoint::from_document("dapr.io/v1alpha1", &document).unwrap();
        assert_eq!(endpoint.base_url, "https://api.github.com");
        assert_eq!(endpoint.headers[0].value.text(), "text/plain");
        assert!(matches!(endpoint.headers[1].value, PropertyValue::SecretRef(_)));
        let tls = endpoint.client_tls.clone().unwrap();
        assert!(matches!(tls.root_ca, Some(PropertyValue::SecretRef(_))));
        assert_eq!(tls.certificate, Some(PropertyValue::Text("PEM".to_owned())));
        assert_eq!(tls.private_key, None);
        assert_eq!(endpoint.log_name(), "github");
        assert!(endpoint.same_as(&endpoint.clone()));
    }
}
