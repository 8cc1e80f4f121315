//! Addresses made from a fixed pattern.

use std::sync::Arc;

use outrigger_svc::BoxFuture;
use serde_json::Value;

use crate::endpoint::{Endpoint, Endpoints, Request};
use crate::error::ResolveError;
use crate::resolver::{Answer, Keep, NameResolver};

const PLACEHOLDER: &str = "{appid}";

/// Puts the app id into a pattern such as `{appid}-sidecar.mesh.internal:50002`.
#[derive(Clone, Debug)]
pub struct NameFormatResolver {
    format: String,
}

// === impl NameFormatResolver ===

impl NameFormatResolver {
    /// Reads `format` out of the component's configuration.
    ///
    /// # Errors
    /// The text of the init error, if the format is missing or has no place for the app id.
    pub fn new(configuration: &Value) -> Result<Self, String> {
        let format = crate::component::text(configuration, "format").unwrap_or_default();
        if format.is_empty() {
            return Err("format is required in metadata".to_owned());
        }
        if !format.contains(PLACEHOLDER) {
            return Err(format!("format must contain {PLACEHOLDER} placeholder"));
        }
        Ok(Self {
            format: format.to_owned(),
        })
    }
}

impl NameResolver for NameFormatResolver {
    fn resolve<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        let answer = match request.app_id {
            "" => Err(ResolveError::EmptyId),
            app_id => {
                let endpoint = Endpoint::new(self.format.replace(PLACEHOLDER, app_id));
                Ok(Answer {
                    endpoints: Arc::new(Endpoints::new(vec![endpoint])),
                    keep: Keep::Live,
                })
            }
        };
        Box::pin(std::future::ready(answer))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_placeholder_is_replaced() {
        let format = json!({ "format": "{appid}.{appid}.mesh:50002" });
        let resolver = NameFormatResolver::new(&format).unwrap();
        let request = Request {
            app_id: "a",
            namespace: "default",
            port: 1,
        };
        let answer = resolver.resolve(request).await.unwrap();
        assert_eq!(&*answer.endpoints.members()[0].address, "a.a.mesh:50002");
        let empty = resolver
            .resolve(Request {
                app_id: "",
                ..request
            })
            .await
            .unwrap_err();
        assert_eq!(empty.to_string(), "empty ID not allowed");
    }

    #[test]
    fn a_format_without_placeholder_is_refused() {
        let refusal = |configuration| NameFormatResolver::new(&configuration).unwrap_err();
        assert_eq!(refusal(json!(null)), "format is required in metadata");
        assert_eq!(refusal(json!({ "format": "" })), "format is required in metadata");
        assert_eq!(
            refusal(json!({ "format": "host:1" })),
            "format must contain {appid} placeholder"
        );
    }
}
