//! `crypto.dapr.jwks`: a set of web keys, from a URL, a file, or the settings themselves.
//!
//! A set at a URL is fetched again as often as its server says, but no more often than `minRefreshInterval`. A file
//! is read again when it has changed. Where that fails the keys stay, and the component says that it is degraded.
//!
//! Source: specification, cryptography 3.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outrigger_component::crypto::CryptoProvider;
use outrigger_component::{Condition, Fields, HttpClient, Init};
use outrigger_component_keys::{Key, KeySource, Provider, parse_set};
use outrigger_kit::duration::GoDuration;
use outrigger_kit::system;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::fs;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::NOT_FOUND;
use crate::key_document::{fetch, pause};

/// Keys that do not change.
#[derive(Debug)]
struct Fixed(Keys);

/// Keys of a file.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    condition: Condition,
    /// When the file was read last, and what was in it.
    current: Mutex<(Option<Stamp>, Keys)>,
}

/// Keys of a server. The task that refreshes them ends when they are dropped.
#[derive(Debug)]
struct Remote(Arc<Fetched>);

#[derive(Debug)]
struct Fetched {
    url: String,
    http: HttpClient,
    timeout: Duration,
    at_least: Duration,
    condition: Condition,
    current: ArcSwap<Keys>,
}

type Keys = BTreeMap<String, Arc<Key>>;

/// What of a file tells that it has changed.
type Stamp = (Option<SystemTime>, u64);

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const MIN_REFRESH: Duration = Duration::from_secs(600);

/// Makes the provider.
///
/// # Errors
/// If there is no set of keys where `jwks` points to.
pub(super) async fn make(init: Init) -> Result<Arc<dyn CryptoProvider>, BoxError> {
    let fields = init.properties.fields()?;
    let source = fields.text("jwks").unwrap_or_default().trim();
    if source.is_empty() {
        return Err("metadata property jwks is required".into());
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        let fetched = Fetched {
            url: source.to_owned(),
            http: init.http.clone(),
            timeout: positive(&fields, "requestTimeout", REQUEST_TIMEOUT)?,
            at_least: positive(&fields, "minRefreshInterval", MIN_REFRESH)?,
            condition: init.condition.clone(),
            current: ArcSwap::default(),
        };
        return Ok(Arc::new(Provider::new(
            Remote::start(fetched, init.deadline).await?,
        )));
    }
    if fs::metadata(source).await.is_ok() {
        let watched = Watched::read(source.into(), init.condition.clone()).await?;
        return Ok(Arc::new(Provider::new(watched)));
    }
    Ok(Arc::new(Provider::new(Fixed(inline(source)?))))
}

/// A set that is written in the settings, perhaps in base64.
fn inline(text: &str) -> Result<Keys, BoxError> {
    if text.starts_with('{') {
        return keys(text.as_bytes());
    }
    let text = STANDARD
        .decode(text)
        .map_err(|_| "metadata property jwks is neither a URL, nor a file, nor a JSON Web Key Set")?;
    keys(&text)
}

fn keys(text: &[u8]) -> Result<Keys, BoxError> {
    let keys = parse_set(text)?.into_iter();
    Ok(keys.map(|(id, key)| (id, Arc::new(key))).collect())
}

fn find(keys: &Keys, id: &str) -> Result<Arc<Key>, BoxError> {
    keys.get(id).cloned().ok_or_else(|| NOT_FOUND.into())
}

fn positive(fields: &Fields<'_>, name: &str, default: Duration) -> Result<Duration, BoxError> {
    let given = fields.duration(name)?.map(GoDuration::to_std);
    Ok(given.filter(|duration| !duration.is_zero()).unwrap_or(default))
}

// === impl Fixed ===

impl KeySource for Fixed {
    fn key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Arc<Key>, BoxError>> {
        Box::pin(std::future::ready(find(&self.0, id)))
    }
}

// === impl Watched ===

impl Watched {
    async fn read(path: PathBuf, condition: Condition) -> Result<Self, BoxError> {
        let current = load(&path, None).await?.unwrap_or_default();
        Ok(Self {
            path,
            condition,
            current: Mutex::new(current),
        })
    }

    async fn find(&self, id: &str) -> Result<Arc<Key>, BoxError> {
        let mut current = self.current.lock().await;
        match load(&self.path, current.0).await {
            Ok(Some(changed)) => {
                *current = changed;
                self.condition.well();
            }
            Ok(None) => {}
            Err(error) => {
                let reason = format!("failed to read JWKS again, keeping the last: {error}");
                self.condition.degraded(&reason);
            }
        }
        find(&current.1, id)
    }
}

impl KeySource for Watched {
    fn key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Arc<Key>, BoxError>> {
        Box::pin(self.find(id))
    }
}

/// The keys of a file, if it is not the one that was seen.
async fn load(path: &Path, seen: Option<Stamp>) -> Result<Option<(Option<Stamp>, Keys)>, BoxError> {
    let failed = |error| format!("failed to read JWKS file: {}", system::text(&error));
    let metadata = fs::metadata(path).await.map_err(failed)?;
    let stamp = Some((metadata.modified().ok(), metadata.len()));
    if stamp == seen {
        return Ok(None);
    }
    let text = fs::read(path).await.map_err(failed)?;
    Ok(Some((stamp, keys(&text)?)))
}

// === impl Remote ===

impl Remote {
    async fn start(fetched: Fetched, deadline: Instant) -> Result<Self, BoxError> {
        let fetched = Arc::new(fetched);
        let pause = fetched.refresh(deadline).await?;
        tokio::spawn(keep_fresh(Arc::downgrade(&fetched), pause));
        Ok(Self(fetched))
    }
}

impl KeySource for Remote {
    fn key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Arc<Key>, BoxError>> {
        Box::pin(std::future::ready(find(&self.0.current.load(), id)))
    }
}

// === impl Fetched ===

impl Fetched {
    /// Fetches the set, and gives the pause until the next time.
    async fn refresh(&self, deadline: Instant) -> Result<Duration, BoxError> {
        let deadline = deadline.min(Instant::now() + self.timeout);
        let failed = |error| format!("failed to fetch JWKS: {error}");
        let (text, headers) = fetch(&self.http, &self.url, deadline).await.map_err(failed)?;
        self.current.store(Arc::new(keys(&text)?));
        Ok(pause(&headers, self.at_least))
    }
}

/// Refreshes the keys as long as somebody needs them; those in force stay until there are others.
async fn keep_fresh(keys: Weak<Fetched>, mut pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(keys) = keys.upgrade() else { return };
        match keys.refresh(Instant::now() + keys.timeout).await {
            Ok(next) => {
                keys.condition.well();
                pause = next;
            }
            Err(error) => {
                keys.condition.degraded(&format!("{error}, keeping the last"));
                pause = keys.at_least;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::crypto::KeyUse;
    use outrigger_test_kit::Directory;

    use super::*;
    use crate::testing::{Server, init};

    const ONE: &str = r#"{"keys":[{"kty":"oct","kid":"a","k":"AAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    const TWO: &str = r#"{"keys":[{"kty":"oct","kid":"b","k":"AAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    const URL: &str = "https://keys.test/set";

    async fn provider(
        server: &Arc<Server>,
        settings: &[(&str, &str)],
    ) -> Result<Arc<dyn CryptoProvider>, String> {
        make(init(server, settings))
            .await
            .map_err(|error| error.to_string())
    }

    async fn has(provider: &Arc<dyn CryptoProvider>, id: &str) -> bool {
        let with = KeyUse {
            name: id,
            algorithm: "A128KW",
            nonce: &[],
            tag: &[],
            associated_data: &[],
        };
        provider.wrap_key(&[1; 16], with).await.is_ok()
    }

    #[tokio::test]
    async fn keys_stand_in_the_settings_as_they_are_or_in_base64() {
        for text in [ONE.to_owned(), STANDARD.encode(ONE)] {
            let provider = provider(&Server::new(), &[("jwks", &text)]).await.unwrap();
            assert!(has(&provider, "a").await && !has(&provider, "b").await);
        }
        for (text, expected) in [
            ("", "metadata property jwks is required"),
            ("{}", "failed to parse JSON Web Key: invalid key set"),
            (
                "/no/such/file",
                "metadata property jwks is neither a URL, nor a file, nor a JSON Web Key Set",
            ),
        ] {
            assert_eq!(
                provider(&Server::new(), &[("jwks", text)]).await.unwrap_err(),
                expected
            );
        }
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_kept_while_it_is_broken() {
        let folder = Directory::new().unwrap();
        let path = folder.write("set.json", ONE).unwrap();
        let provider = provider(&Server::new(), &[("jwks", path.to_str().unwrap())])
            .await
            .unwrap();
        assert!(has(&provider, "a").await);
        folder.write("set.json", "{").unwrap();
        assert!(has(&provider, "a").await);
        folder.write("next", format!("{TWO}\n")).unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
        assert!(has(&provider, "b").await && !has(&provider, "a").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_of_a_server_is_refreshed_but_not_too_often() {
        let server = Server::new();
        server.document(URL, 200, ONE);
        let provider = provider(&server, &[("jwks", URL), ("minRefreshInterval", "2m")])
            .await
            .unwrap();
        assert!(has(&provider, "a").await);
        server.document(URL, 200, TWO);
        tokio::time::sleep(Duration::from_secs(119)).await;
        assert_eq!(server.count(URL), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(server.count(URL), 2);
        assert!(has(&provider, "b").await);
        server.document(URL, 500, "");
        tokio::time::sleep(Duration::from_secs(121)).await;
        assert_eq!(server.count(URL), 3);
        assert!(has(&provider, "b").await, "the last keys stay");
        drop(provider);
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(server.count(URL), 3, "nobody needs them any more");
    }

    #[tokio::test]
    async fn a_server_without_a_set_is_an_error() {
        let server = Server::new();
        let missing = provider(&server, &[("jwks", URL)]).await.unwrap_err();
        assert_eq!(missing, "failed to fetch JWKS: invalid response status code: 404");
    }
}
