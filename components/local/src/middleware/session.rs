//! Sessions of browsers: values that the sidecar keeps, found by a cookie.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use outrigger_svc::BoxError;
use tokio::time::Instant;

/// The sessions of one component, in memory.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

/// What is known of one browser.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// What its requests are authorised by.
    pub(super) authorization: Option<HeaderValue>,
    /// The login that it was sent to.
    pub(super) login: Option<Login>,
    ends: Instant,
}

/// A login that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// What must come back with the browser.
    pub(super) state: String,
    /// Where the browser wanted to go.
    pub(super) url: String,
}

/// The cookie's name.
const NAME: &str = "gosessionsid";
/// Time after which a session ends.
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// Most sessions; the one that ends first makes room.
const MOST: usize = 100_000;

// === impl Sessions ===

impl Sessions {
    /// The session of a request and its id. A cookie that the sidecar has not given out is none.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<(String, Session)> {
        let sessions = self.lock();
        let mut given = headers.get_all(COOKIE).iter().flat_map(cookies);
        given.find_map(|id| {
            let session = sessions.get(id).filter(|session| session.ends > Instant::now())?;
            Some((id.to_owned(), session.clone()))
        })
    }

    /// Begins a session with a login; the result is the `Set-Cookie` header.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn begin(&self, login: Login) -> Result<HeaderValue, BoxError> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| "the system has no random numbers")?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let cookie = format!(
            "{NAME}={id}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax",
            LIFETIME.as_secs()
        );
        let mut sessions = self.lock();
        if sessions.len() >= MOST {
            make_room(&mut sessions);
        }
        let session = Session {
            authorization: None,
            login: Some(login),
            ends: Instant::now() + LIFETIME,
        };
        sessions.insert(id, session);
        Ok(HeaderValue::try_from(cookie)?)
    }

    /// Changes a session that is still there.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.lock().get_mut(id) {
            change(session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ids in a `Cookie` header.
fn cookies(header: &HeaderValue) -> impl Iterator<Item = &str> {
    let pairs = header.to_str().unwrap_or_default().split(';');
    pairs.filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME).then(|| value.trim_matches('"'))
    })
}

fn make_room(sessions: &mut HashMap<String, Session>) {
    let now = Instant::now();
    sessions.retain(|_, session| session.ends > now);
    if sessions.len() >= MOST
        && let Some(first) = sessions
            .iter()
            .min_by_key(|(_, session)| session.ends)
            .map(|(id, _)| id.clone())
    {
        sessions.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            state: "s".to_owned(),
            url: "/u".to_owned(),
        }
    }

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookie.parse().unwrap());
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_found_by_its_cookie_until_it_ends() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(login()).unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(
            cookie.ends_with("; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(pair.len(), "gosessionsid=".len() + 43);
        let (id, session) = sessions.find(&headers(&format!("a=b; {pair}; c"))).unwrap();
        assert_eq!(session.login, Some(login()));
        sessions.change(&id, |session| session.login = None);
        assert_eq!(sessions.find(&headers(pair)).unwrap().1.login, None);
        tokio::time::advance(LIFETIME).await;
        assert!(sessions.find(&headers(pair)).is_none());
    }

    #[test]
    fn a_cookie_of_somebody_elses_making_is_no_session() {
        let sessions = Sessions::default();
        for cookie in [
            "gosessionsid=chosen",
            "gosessionsid=",
            "gosessionsid",
            "=",
            "other=x",
        ] {
            assert!(sessions.find(&headers(cookie)).is_none(), "{cookie}");
        }
    }
}
