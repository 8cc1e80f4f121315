//! Who asks: tokens of Microsoft Entra.
//!
//! ```text
//! client secret ─▶ workload identity ─▶ managed identity ─▶ Azure CLI      the first that gives a token is kept
//! ```
//!
//! Source: specification, state stores 14.

mod settings;
mod source;

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use outrigger_component::HttpClient;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(crate) use self::settings::LoginSettings;
use self::source::Source;

/// Gives tokens, and keeps them for as long as they are good.
#[derive(Debug)]
pub(crate) struct Login {
    http: HttpClient,
    authority: String,
    state: Mutex<State>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    /// A cloud that is none.
    #[error("invalid Azure cloud: {0}")]
    Cloud(String),
    /// A way of authentication that is none.
    #[error("invalid Azure auth method: {0}")]
    Method(String),
    /// All ways are forbidden.
    #[error("all Azure auth methods have been disabled with auth method 'None'")]
    Disabled,
    /// A way that this build does not go.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No way is configured.
    #[error("no Azure credentials are configured")]
    Nothing,
    /// No way gave a token.
    #[error("failed to get an Azure token: {0}")]
    Refused(String),
}

#[derive(Debug)]
struct State {
    sources: Vec<Source>,
    /// Tokens by what they are for.
    tokens: HashMap<String, Cached>,
}

/// A token and its end.
#[derive(Clone)]
struct Cached {
    token: String,
    end: Instant,
}

/// A token as it was given.
struct Granted {
    token: String,
    lifetime: Duration,
}

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(300);

// === impl Login ===

impl Login {
    /// Tokens by the ways that settings name.
    pub(crate) fn new(settings: LoginSettings, http: HttpClient) -> Self {
        Self {
            http,
            authority: settings.authority,
            state: Mutex::new(State {
                sources: settings.sources,
                tokens: HashMap::new(),
            }),
        }
    }

    /// A token for `scope`, such as `https://storage.azure.com/.default`.
    ///
    /// # Errors
    /// If no way gives one.
    pub(crate) async fn token(&self, scope: &str) -> Result<String, LoginError> {
        let mut state = self.state.lock().await;
        let known = state.tokens.get(scope);
        if let Some(known) = known.filter(|known| Instant::now() + MARGIN < known.end) {
            return Ok(known.token.clone());
        }
        let mut reasons = Vec::new();
        for place in 0..state.sources.len() {
            match state.sources[place]
                .grant(&self.http, &self.authority, scope)
                .await
            {
                Ok(granted) => {
                    // What has worked is what there is; the others are not asked again.
                    state.sources = vec![state.sources.swap_remove(place)];
                    let token = granted.token.clone();
                    let end = Instant::now() + granted.lifetime;
                    let cached = Cached {
                        token: granted.token,
                        end,
                    };
                    state.tokens.insert(scope.to_owned(), cached);
                    return Ok(token);
                }
                Err(reason) => reasons.push(format!("{}: {reason}", state.sources[place].name())),
            }
        }
        match reasons.is_empty() {
            true => Err(LoginError::Nothing),
            false => Err(LoginError::Refused(reasons.join("; "))),
        }
    }

    /// `Bearer <token>` as a header that is not shown.
    ///
    /// # Errors
    /// If no way gives a token.
    pub(crate) async fn bearer(&self, scope: &str) -> Result<HeaderValue, LoginError> {
        secret_header(&format!("Bearer {}", self.token(scope).await?))
    }
}

impl std::fmt::Debug for Cached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// A header that is not shown.
pub(crate) fn secret_header(text: &str) -> Result<HeaderValue, LoginError> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| LoginError::Unsupported("a token or key cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a token; for fuzzing.
pub(crate) fn read_token(bytes: &[u8]) {
    drop(source::granted(bytes));
}

#[cfg(test)]
mod tests;
