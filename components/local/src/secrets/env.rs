//! `secretstores.local.env`: environment variables of the sidecar.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use outrigger_component::Init;
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_svc::{BoxError, BoxFuture};

/// Secrets of one value, each a variable whose name begins with a prefix; the secret's name is the rest.
///
/// A variable that is not set is an empty secret. The tokens and settings of the sidecar itself are never given
/// away.
#[derive(Debug)]
pub struct EnvSecrets {
    prefix: String,
    log_name: Arc<str>,
}

const SCOPE: &str = "dapr.contrib";

// === impl EnvSecrets ===

impl EnvSecrets {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
        let prefix = init.properties.fields()?.text("prefix").unwrap_or_default();
        Ok(Arc::new(Self {
            prefix: prefix.to_owned(),
            log_name: Arc::clone(&init.log_name),
        }))
    }

    fn one(&self, name: &str, read: impl FnOnce(&str) -> Option<OsString>) -> Secret {
        let variable = format!("{}{name}", self.prefix);
        let value = if is_own(name) || is_own(&variable) {
            tracing::warn!(target: SCOPE, component = &*self.log_name, "Access to env var {name} is forbidden");
            None
        } else {
            read(&variable)
        };
        Secret::single(name, value.map(text).unwrap_or_default())
    }

    fn all(&self, variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, Secret> {
        let mut secrets = BTreeMap::new();
        for (variable, value) in variables {
            let variable = text(variable);
            let Some(name) = variable
                .strip_prefix(&self.prefix)
                .filter(|name| !name.is_empty())
            else {
                continue;
            };
            if !is_own(name) && !is_own(&variable) {
                secrets.insert(name.to_owned(), Secret::single(name, text(value)));
            }
        }
        secrets
    }
}

impl SecretStore for EnvSecrets {
    fn get<'a>(&'a self, name: &'a str, _: &'a Metadata) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        let secret = self.one(name, |variable| {
            // What cannot be the name of a variable is the name of none.
            let is_name = !variable.is_empty() && !variable.contains(['=', '\0']);
            is_name.then(|| std::env::var_os(variable)).flatten()
        });
        Box::pin(std::future::ready(Ok(Some(secret))))
    }

    fn bulk<'a>(&'a self, _: &'a Metadata) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(std::future::ready(Ok(self.all(std::env::vars_os()))))
    }
}

/// Whether a variable is one of the sidecar's own.
fn is_own(name: &str) -> bool {
    let name = name.to_uppercase();
    name == "APP_API_TOKEN" || name.starts_with("DAPR_")
}

fn text(value: OsString) -> String {
    match value.into_string() {
        Ok(text) => text,
        Err(value) => value.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLES: [(&str, &str); 8] = [
        ("HOME", "/root"),
        ("SHOP_KEY", "k"),
        ("SHOP_", "no name"),
        ("SHOP_DAPR_X", "own by its name"),
        ("DAPR_API_TOKEN", "token"),
        ("dapr_api", "token"),
        ("App_Api_Token", "token"),
        ("EMPTY", ""),
    ];

    fn store(prefix: &str) -> EnvSecrets {
        EnvSecrets {
            prefix: prefix.to_owned(),
            log_name: "env (secretstores.local.env/v1)".into(),
        }
    }

    fn read(variable: &str) -> Option<OsString> {
        let found = VARIABLES.iter().find(|(name, _)| *name == variable);
        found.map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn a_secret_is_a_variable_and_the_sidecars_own_are_empty() {
        let table = [
            ("", "HOME", "/root"),
            ("", "home", ""),
            ("", "UNSET", ""),
            ("", "DAPR_API_TOKEN", ""),
            ("", "dapr_api", ""),
            ("", "App_Api_Token", ""),
            ("", "APP_API_TOKEN", ""),
            ("SHOP_", "KEY", "k"),
            ("SHOP_", "", "no name"),
            ("SHOP_", "HOME", ""),
            ("SHOP_", "DAPR_X", ""),
            // A prefix is no way around.
            ("DAPR_", "API_TOKEN", ""),
            ("dapr", "_api", ""),
        ];
        for (prefix, name, expected) in table {
            let secret = store(prefix).one(name, read);
            assert_eq!(secret, Secret::single(name, expected), "{prefix} {name}");
        }
    }

    #[test]
    fn all_secrets_are_the_variables_with_the_prefix() {
        let names = |prefix: &str| {
            let variables = VARIABLES.map(|(name, value)| (OsString::from(name), OsString::from(value)));
            let secrets = store(prefix).all(variables.into_iter());
            for (name, secret) in &secrets {
                assert_eq!(
                    secret.get(name),
                    read(&format!("{prefix}{name}")).unwrap().to_str()
                );
            }
            secrets.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["EMPTY", "HOME", "SHOP_", "SHOP_DAPR_X", "SHOP_KEY"]);
        assert_eq!(names("SHOP_"), ["KEY"]);
        assert_eq!(names("DAPR_"), [""; 0]);
    }

    #[tokio::test]
    async fn names_that_no_variable_can_have_are_unset() {
        for name in ["a=b", "a\0b", ""] {
            let secret = store("").get(name, &Metadata::new()).await.unwrap();
            assert_eq!(secret, Some(Secret::single(name, "")));
        }
        let secrets = store("").bulk(&Metadata::new()).await.unwrap();
        assert!(secrets.contains_key("PATH"));
    }
}
