//! The kind `MCPServer`.

use std::collections::BTreeMap;

use outrigger_kit::duration::GoDuration;
use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::property::{PairSpec, SecretKeySpec};
use super::{Metadata, Property, Resource, SecretRef};

/// A server of the Model Context Protocol whose tools become workflows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpServer {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Who owns it and what it is; informational.
    pub catalog: McpCatalog,
    /// How it is reached, if by HTTP with streaming.
    pub streamable_http: Option<HttpTransport>,
    /// How it is reached, if by server-sent events.
    pub sse: Option<HttpTransport>,
    /// How it is started, if it is a child process.
    pub stdio: Option<Stdio>,
    /// Workflows around its calls.
    pub middleware: McpMiddleware,
    /// Whether a failed start is only logged.
    pub ignore_errors: bool,
    /// App ids that may load it; empty is all.
    pub scopes: Vec<String>,
}

/// The one way a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport<'a> {
    /// HTTP with streaming.
    StreamableHttp(&'a HttpTransport),
    /// Server-sent events.
    Sse(&'a HttpTransport),
    /// A child process.
    Stdio(&'a Stdio),
}

/// A server that is reached by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpTransport {
    /// Its address.
    pub url: String,
    /// Version of the protocol; may be empty.
    pub protocol_version: String,
    /// Longest call; `None` for the default.
    pub timeout: Option<GoDuration>,
    /// Headers of every request.
    pub headers: Vec<Property>,
    /// How the sidecar proves who it is.
    pub auth: HttpAuth,
}

/// How the sidecar proves to a server who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAuth {
    /// Secret store of all references of the transport; may be empty.
    pub secret_store: String,
    /// By OAuth 2 client credentials.
    pub oauth2: Option<OAuth2>,
    /// By a SPIFFE JWT.
    pub spiffe_jwt: Option<SpiffeJwt>,
}

/// OAuth 2 client credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuth2 {
    /// Address that tokens are asked at.
    pub issuer: String,
    /// Audience; may be empty.
    pub audience: String,
    /// Client id; may be empty.
    pub client_id: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Client secret.
    pub secret: Option<SecretRef>,
}

/// A SPIFFE JWT in a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpiffeJwt {
    /// Name of the header.
    pub header: String,
    /// Text in front of the token.
    pub header_value_prefix: String,
    /// Audience of the token.
    pub audience: String,
}

/// A server that is a child process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to the sidecar's environment.
    pub env: Vec<Property>,
}

/// Workflows around the calls of a server, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct McpMiddleware {
    /// Before a tool is called.
    pub before_call_tool: Vec<McpHook>,
    /// After a tool was called.
    pub after_call_tool: Vec<McpHook>,
    /// Before tools are listed.
    pub before_list_tools: Vec<McpHook>,
    /// After tools were listed.
    pub after_list_tools: Vec<McpHook>,
}

/// A workflow that is run around a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct McpHook {
    /// The workflow.
    pub workflow: HookWorkflow,
    /// Whether its output replaces what it was given.
    pub mutate: bool,
}

/// A workflow of this or another app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HookWorkflow {
    /// Its name.
    pub workflow_name: String,
    /// App it belongs to; empty is this one.
    #[serde(rename = "appID")]
    pub app_id: String,
}

/// Who owns a server and what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct McpCatalog {
    /// Name for people.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Who owns it.
    pub owner: McpOwner,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Addresses of documents about it, by title.
    pub links: BTreeMap<String, String>,
}

/// Who owns a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct McpOwner {
    /// Team.
    pub team: String,
    /// How to reach it.
    pub contact: String,
}

/// Why a server cannot be used. Log as `MCPServer "<name>" failed validation: <text>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum McpServerError {
    /// No transport, or more than one.
    #[error("spec.endpoint: exactly one of streamableHTTP, sse, or stdio must be set")]
    Transport,
    /// A field that may not be empty.
    #[error("{0}: must not be empty")]
    Empty(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerSpec {
    metadata: Metadata,
    spec: Spec,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    catalog: McpCatalog,
    endpoint: EndpointSpec,
    middleware: McpMiddleware,
    ignore_errors: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointSpec {
    #[serde(rename = "streamableHTTP")]
    streamable_http: Option<HttpTransportSpec>,
    sse: Option<HttpTransportSpec>,
    stdio: Option<StdioSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpTransportSpec {
    url: String,
    protocol_version: String,
    #[serde(deserialize_with = "go_duration")]
    timeout: Option<GoDuration>,
    headers: Vec<PairSpec>,
    auth: HttpAuthSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HttpAuthSpec {
    secret_store: String,
    oauth2: Option<OAuth2Spec>,
    spiffe: SpiffeSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OAuth2Spec {
    issuer: String,
    audience: String,
    #[serde(rename = "clientID")]
    client_id: String,
    scopes: Vec<String>,
    secret_key_ref: SecretKeySpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpiffeSpec {
    jwt: Option<SpiffeJwt>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StdioSpec {
    command: String,
    args: Vec<String>,
    env: Vec<PairSpec>,
}

// === impl McpServer ===

impl McpServer {
    /// Checks the resource against the schema of its kind and returns the one way the server is reached.
    ///
    /// # Errors
    /// No transport or several, or a required field that is empty.
    pub fn transport(&self) -> Result<Transport<'_>, McpServerError> {
        let transport = match (&self.streamable_http, &self.sse, &self.stdio) {
            (Some(http), None, None) => Transport::StreamableHttp(http),
            (None, Some(http), None) => Transport::Sse(http),
            (None, None, Some(stdio)) => Transport::Stdio(stdio),
            _ => return Err(McpServerError::Transport),
        };
        match transport {
            Transport::StreamableHttp(http) => http.validate("spec.endpoint.streamableHTTP")?,
            Transport::Sse(http) => http.validate("spec.endpoint.sse")?,
            Transport::Stdio(stdio) => filled(&stdio.command, || "spec.endpoint.stdio.command".to_owned())?,
        }
        self.middleware.validate()?;
        Ok(transport)
    }
}

impl Resource for McpServer {
    const KIND: &'static str = "MCPServer";

    fn from_document(_api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let wire: ServerSpec = from_value_ignoring_case(document)?;
        Ok(Self {
            metadata: wire.metadata,
            catalog: wire.spec.catalog,
            streamable_http: wire.spec.endpoint.streamable_http.map(HttpTransport::from),
            sse: wire.spec.endpoint.sse.map(HttpTransport::from),
            stdio: wire.spec.endpoint.stdio.map(Stdio::from),
            middleware: wire.spec.middleware,
            ignore_errors: wire.spec.ignore_errors,
            scopes: wire.scopes,
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn log_name(&self) -> String {
        match self.streamable_http.as_ref().or(self.sse.as_ref()) {
            Some(http) => format!("{} ({})", self.metadata.name, http.url),
            None => self.metadata.name.clone(),
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        let name_only = |server: &Self| Self {
            metadata: Metadata {
                name: server.metadata.name.clone(),
                ..Metadata::default()
            },
            ..server.clone()
        };
        name_only(self) == name_only(other)
    }
}

// === impl HttpTransport ===

impl HttpTransport {
    fn validate(&self, path: &str) -> Result<(), McpServerError> {
        filled(&self.url, || format!("{path}.url"))?;
        if let Some(oauth2) = &self.auth.oauth2 {
            filled(&oauth2.issuer, || format!("{path}.auth.oauth2.issuer"))?;
        }
        if let Some(jwt) = &self.auth.spiffe_jwt {
            filled(&jwt.header, || format!("{path}.auth.spiffe.jwt.header"))?;
            filled(&jwt.audience, || format!("{path}.auth.spiffe.jwt.audience"))?;
        }
        Ok(())
    }
}

impl From<HttpTransportSpec> for HttpTransport {
    fn from(spec: HttpTransportSpec) -> Self {
        Self {
            url: spec.url,
            protocol_version: spec.protocol_version,
            timeout: spec.timeout,
            headers: spec.headers.into_iter().map(Property::from).collect(),
            auth: HttpAuth {
                secret_store: spec.auth.secret_store,
                oauth2: spec.auth.oauth2.map(OAuth2::from),
                spiffe_jwt: spec.auth.spiffe.jwt,
            },
        }
    }
}

impl From<OAuth2Spec> for OAuth2 {
    fn from(spec: OAuth2Spec) -> Self {
        Self {
            issuer: spec.issuer,
            audience: spec.audience,
            client_id: spec.client_id,
            scopes: spec.scopes,
            secret: spec.secret_key_ref.into(),
        }
    }
}

// === impl Stdio ===

impl From<StdioSpec> for Stdio {
    fn from(spec: StdioSpec) -> Self {
        Self {
            command: spec.command,
            args: spec.args,
            env: spec.env.into_iter().map(Property::from).collect(),
        }
    }
}

// === impl McpMiddleware ===

impl McpMiddleware {
    fn validate(&self) -> Result<(), McpServerError> {
        let lists = [
            ("beforeCallTool", &self.before_call_tool),
            ("afterCallTool", &self.after_call_tool),
            ("beforeListTools", &self.before_list_tools),
            ("afterListTools", &self.after_list_tools),
        ];
        for (list, hooks) in lists {
            for (index, hook) in hooks.iter().enumerate() {
                let path = || format!("spec.middleware.{list}[{index}].workflow.workflowName");
                filled(&hook.workflow.workflow_name, path)?;
            }
        }
        Ok(())
    }
}

fn filled(text: &str, path: impl Fn() -> String) -> Result<(), McpServerError> {
    if text.is_empty() {
        Err(McpServerError::Empty(path()))
    } else {
        Ok(())
    }
}

fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GoDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;
    use crate::resources::PropertyValue;

    fn server(spec: &str) -> McpServer {
        let text = format!("metadata: {{name: m, namespace: n}}\nspec: {spec}\nscopes: [a]");
        McpServer::from_document("dapr.io/v1alpha1", &yaml::to_json(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_server_is_read_with_all_its_fields() {
        let server = server(
            "
  catalog: {displayName: D, owner: {team: t}, tags: [x], links: {doc: u}}
  endpoint:
    streamableHTTP:
      url: http://h/mcp
      timeout: 10s
      headers: [{name: H, envRef: E}]
      auth:
        secretStore: vault
        oauth2: {issuer: i, clientID: c, scopes: [s], secretKeyRef: {name: sec}}
        spiffe: {jwt: {header: Authorization, headerValuePrefix: 'Bearer ', audience: aud}}
  middleware:
    beforeCallTool: [{workflow: {workflowName: w, appID: b}, mutate: true}]
  ignoreErrors: true",
        );
        assert_eq!(server.log_name(), "m (http://h/mcp)");
        let Transport::StreamableHttp(http) = server.transport().unwrap() else {
            panic!("not by HTTP")
        };
        assert_eq!(http.timeout, Some(GoDuration::from_secs(10)));
        assert_eq!(http.headers[0].value, PropertyValue::EnvRef("E".to_owned()));
        let oauth2 = http.auth.oauth2.as_ref().unwrap();
        assert_eq!(oauth2.client_id, "c");
        assert_eq!(oauth2.secret.as_ref().unwrap().key, "sec");
        assert_eq!(
            http.auth.spiffe_jwt.as_ref().unwrap().header_value_prefix,
            "Bearer "
        );
        assert!(server.middleware.before_call_tool[0].mutate);
        assert_eq!(server.catalog.owner.team, "t");
        assert!(server.ignore_errors);
    }

    #[test]
    fn exactly_one_transport_and_the_required_fields_must_be_set() {
        let text = |spec| server(spec).transport().unwrap_err().to_string();
        let one = "spec.endpoint: exactly one of streamableHTTP, sse, or stdio must be set";
        assert_eq!(text("{}"), one);
        assert_eq!(text("{endpoint: {sse: {url: u}, stdio: {command: c}}}"), one);
        assert_eq!(
            text("{endpoint: {sse: {}}}"),
            "spec.endpoint.sse.url: must not be empty"
        );
        assert_eq!(
            text("{endpoint: {stdio: {}}}"),
            "spec.endpoint.stdio.command: must not be empty"
        );
        assert_eq!(
            text("{endpoint: {sse: {url: u, auth: {spiffe: {jwt: {header: h}}}}}}"),
            "spec.endpoint.sse.auth.spiffe.jwt.audience: must not be empty"
        );
        assert_eq!(
            text("{endpoint: {stdio: {command: c}}, middleware: {afterListTools: [{}]}}"),
            "spec.middleware.afterListTools[0].workflow.workflowName: must not be empty"
        );
    }

    #[test]
    fn a_timeout_must_be_a_duration() {
        let value = yaml::to_json("spec: {endpoint: {sse: {url: u, timeout: 5}}}").unwrap();
        let error = McpServer::from_document("", &value).unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.endpoint.sse.timeout: time: missing unit in duration \"5\""
        );
    }

    #[test]
    fn servers_are_compared_without_their_namespace() {
        let one = server("{endpoint: {stdio: {command: c}}}");
        let mut other = one.clone();
        other.metadata.namespace = String::new();
        assert!(one.same_as(&other));
        assert_eq!(one.log_name(), "m");
    }
}
