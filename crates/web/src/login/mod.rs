//! Who may look and change: a token or a user's password, and sessions of the page.
//!
//! Input are what a request brings along; output is yes, no, or not so fast. A session is a cookie that holds its
//! end and a proof by the token, so that it outlives a restart and no list of sessions has to be kept; logging out
//! forgets it here as well, until the next start.

mod throttle;
mod token;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(crate) use throttle::{Refused, Throttle};
pub use token::{Token, TokenError};

/// How long a session lasts.
pub(crate) const SESSION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most sessions that are remembered as logged out; one more, and all sessions end.
const LOGGED_OUT_MAX: usize = 10_000;

/// When a login is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginMode {
    /// On any address but loopback.
    #[default]
    Auto,
    /// Also on loopback.
    Always,
}

/// What opens the door. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The token, which also signs the sessions of the page.
    pub token: Token,
    /// A user and the password, besides.
    pub user: Option<User>,
}

/// A user with a password. `Debug` shows no secret.
#[derive(Clone)]
pub struct User {
    name: String,
    password: [u8; 32],
}

/// The login of one server.
pub(crate) struct Login {
    /// None: nobody is asked.
    required: Option<Required>,
}

struct Required {
    credentials: Credentials,
    throttle: Throttle,
    signing: Mutex<Signing>,
}

struct Signing {
    key: Zeroizing<[u8; 32]>,
    logged_out: HashSet<String>,
}

/// Whom a request comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who may.
    Known,
    /// Nobody who has said who he is.
    Unknown,
    /// Somebody who has said something wrong.
    Wrong,
}

impl User {
    /// Makes one.
    pub fn new(name: impl Into<String>, password: &str) -> Self {
        Self {
            name: name.into(),
            password: Sha256::digest(password).into(),
        }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Asks nobody.
    pub(crate) fn none() -> Self {
        Self { required: None }
    }

    /// Asks everybody.
    pub(crate) fn with(credentials: Credentials) -> Self {
        let key = Zeroizing::new(proof(credentials.token.text().as_bytes(), b"page sessions"));
        Self {
            required: Some(Required {
                credentials,
                throttle: Throttle::default(),
                signing: Mutex::new(Signing {
                    key,
                    logged_out: HashSet::new(),
                }),
            }),
        }
    }

    /// Tells whether anybody is asked.
    pub(crate) fn is_required(&self) -> bool {
        self.required.is_some()
    }

    /// Tells whether a user and password are taken, besides the token.
    pub(crate) fn has_user(&self) -> bool {
        let required = self.required.as_ref();
        required.is_some_and(|required| required.credentials.user.is_some())
    }

    /// Looks at a session of the page. `now` is in seconds since the Unix epoch.
    pub(crate) fn session(&self, cookie: &str, now: u64) -> Caller {
        let Some(required) = &self.required else {
            return Caller::Known;
        };
        let signing = required.signing.lock();
        match ends(&signing.key, cookie) {
            Some(end) if end > now && !signing.logged_out.contains(cookie) => Caller::Known,
            // An old cookie is no attack.
            _ => Caller::Unknown,
        }
    }

    /// Looks at an `Authorization` header. The right token always opens; what is wrong counts as a failure of
    /// its address.
    ///
    /// # Errors
    /// Where too many failures of this address make it wait.
    pub(crate) fn authorization(
        &self,
        header: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<Caller, Refused> {
        let Some(required) = &self.required else {
            return Ok(Caller::Known);
        };
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return required.token(rest, from, now);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return required.wrong(from, now);
        }
        let decoded = STANDARD.decode(rest).ok().map(Zeroizing::new);
        let text = decoded
            .as_ref()
            .and_then(|text| std::str::from_utf8(text).ok());
        match text.and_then(|text| text.split_once(':')) {
            // Programs that know Basic alone may give the token as a password.
            Some((_, password)) if required.credentials.token.is(password) => {
                required.throttle.success(from);
                Ok(Caller::Known)
            }
            Some((user, password)) => required.user(user, password, from, now),
            None => required.wrong(from, now),
        }
    }

    /// Looks at a token that somebody typed in.
    ///
    /// # Errors
    /// As [`Login::authorization`].
    pub(crate) fn token(&self, token: &str, from: IpAddr, now: Instant) -> Result<Caller, Refused> {
        match &self.required {
            Some(required) => required.token(token.trim(), from, now),
            None => Ok(Caller::Known),
        }
    }

    /// Looks at a user and password that somebody typed in.
    ///
    /// # Errors
    /// As [`Login::authorization`].
    pub(crate) fn user(
        &self,
        user: &str,
        password: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<Caller, Refused> {
        match &self.required {
            Some(required) => required.user(user, password, from, now),
            None => Ok(Caller::Known),
        }
    }

    /// Makes a session that begins now; `random` tells it from others.
    pub(crate) fn open(&self, now: u64, random: [u8; 16]) -> Option<String> {
        let required = self.required.as_ref()?;
        let end = now + SESSION.as_secs();
        let head = format!("{end}.{}", URL_SAFE_NO_PAD.encode(random));
        let signing = required.signing.lock();
        let proof = URL_SAFE_NO_PAD.encode(proof(&*signing.key, head.as_bytes()));
        Some(format!("{head}.{proof}"))
    }

    /// Ends a session.
    pub(crate) fn close(&self, cookie: &str) {
        let Some(required) = &self.required else {
            return;
        };
        let mut signing = required.signing.lock();
        // Only what is a session is remembered, so that nobody can fill this.
        if ends(&signing.key, cookie).is_none() {
            return;
        }
        if signing.logged_out.len() >= LOGGED_OUT_MAX {
            let key = proof(&*signing.key, b"next");
            signing.key = Zeroizing::new(key);
            signing.logged_out.clear();
        } else {
            signing.logged_out.insert(cookie.to_owned());
        }
    }
}

impl Required {
    fn token(&self, token: &str, from: IpAddr, now: Instant) -> Result<Caller, Refused> {
        if self.credentials.token.is(token) {
            self.throttle.success(from);
            return Ok(Caller::Known);
        }
        self.wrong(from, now)
    }

    fn user(
        &self,
        user: &str,
        password: &str,
        from: IpAddr,
        now: Instant,
    ) -> Result<Caller, Refused> {
        self.throttle.admit(from, now)?;
        let given: [u8; 32] = Sha256::digest(password).into();
        let known = self.credentials.user.as_ref().is_some_and(|known| {
            let name = known.name.as_bytes().ct_eq(user.as_bytes());
            bool::from(name & known.password.ct_eq(&given))
        });
        if known {
            self.throttle.success(from);
            return Ok(Caller::Known);
        }
        self.wrong(from, now)
    }

    fn wrong(&self, from: IpAddr, now: Instant) -> Result<Caller, Refused> {
        self.throttle.admit(from, now)?;
        self.throttle.failure(from, now);
        Ok(Caller::Wrong)
    }
}

/// Returns when a session ends, if it is one that was made here.
fn ends(key: &[u8; 32], cookie: &str) -> Option<u64> {
    let (head, given) = cookie.rsplit_once('.')?;
    let given = URL_SAFE_NO_PAD.decode(given).ok()?;
    let right = proof(key, head.as_bytes());
    if !bool::from(right.ct_eq(given.as_slice())) {
        return None;
    }
    head.split_once('.')?.0.parse().ok()
}

fn proof(key: &[u8], text: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn login() -> Login {
        Login::with(Credentials {
            token: Token::from_text("a-token-for-tests-of-24-chars"),
            user: Some(User::new("anna", "pa:ss wörd")),
        })
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn token_and_password_open_and_nothing_else_does() {
        let login = login();
        let now = Instant::now();
        let look = |header: &str| login.authorization(header, HERE, now).unwrap();
        assert_eq!(look("Bearer a-token-for-tests-of-24-chars"), Caller::Known);
        assert_eq!(look(&basic("anna:pa:ss wörd")), Caller::Known);
        assert_eq!(
            look(&basic("x:a-token-for-tests-of-24-chars")),
            Caller::Known
        );
        for wrong in ["Bearer ", "Bearer x", "Digest x", "x", "Basic §"] {
            assert_eq!(look(wrong), Caller::Wrong, "{wrong}");
            login
                .token("a-token-for-tests-of-24-chars", HERE, now)
                .unwrap();
        }
        assert_eq!(look(&basic("anna:x")), Caller::Wrong);
        assert_eq!(look(&basic("bert:pa:ss wörd")), Caller::Wrong);
    }

    #[test]
    fn a_session_lasts_until_its_end_or_until_it_is_closed() {
        let login = login();
        let cookie = login.open(1000, [7; 16]).unwrap();
        let last = 1000 + SESSION.as_secs() - 1;
        assert_eq!(login.session(&cookie, last), Caller::Known);
        assert_eq!(login.session(&cookie, last + 1), Caller::Unknown);
        let longer = cookie.replacen(&(last + 1).to_string(), &(last + 9).to_string(), 1);
        assert_eq!(login.session(&longer, last), Caller::Unknown);
        assert_eq!(login.session("", 0), Caller::Unknown);
        login.close(&cookie);
        assert_eq!(login.session(&cookie, last), Caller::Unknown);
    }

    #[test]
    fn a_session_outlives_a_restart_and_not_another_token() {
        let cookie = login().open(1000, [7; 16]).unwrap();
        assert_eq!(login().session(&cookie, 1001), Caller::Known);
        let other = Login::with(Credentials {
            token: Token::from_text("another-token-for-tests-x"),
            user: None,
        });
        assert_eq!(other.session(&cookie, 1001), Caller::Unknown);
    }

    #[test]
    fn guessing_is_slowed_and_the_right_token_opens_meanwhile() {
        let login = login();
        let now = Instant::now();
        let refused = (0..100).find_map(|_| login.user("anna", "guess", HERE, now).err());
        assert!(refused.is_some());
        assert!(login.user("anna", "pa:ss wörd", HERE, now).is_err());
        let token = "a-token-for-tests-of-24-chars";
        assert_eq!(login.token(token, HERE, now).unwrap(), Caller::Known);
        assert!(login.user("anna", "pa:ss wörd", HERE, now).is_ok());
    }

    #[test]
    fn nothing_prints_a_secret() {
        let credentials = Credentials {
            token: Token::from_text("a-token-for-tests-of-24-chars"),
            user: Some(User::new("anna", "secret")),
        };
        let text = format!("{credentials:?}");
        assert!(
            !text.contains("a-token") && !text.contains("secret"),
            "{text}"
        );
    }
}
