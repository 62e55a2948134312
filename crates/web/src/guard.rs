//! Stands before every request: host, login, writes from other sites; and puts the headers on every answer.
//!
//! Input is the request as it came; output is the same for `api` and `assets`, or a refusal.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use crate::app::App;
use crate::login::{Caller, Refused};
use crate::problem::Problem;
use crate::watch;

/// Nothing from elsewhere, nothing inline, nothing around us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// By what is guarded.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Names under which it is reached besides.
    pub(crate) hosts: Vec<String>,
    /// Whether the way here is encrypted.
    pub(crate) tls: bool,
}

/// The address from which a connection comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Guard {
    /// Names the cookie: ports of one host share their cookies.
    pub(crate) fn cookie_name(&self) -> String {
        format!("hearthgate_{}", self.address.port())
    }

    /// Makes the header that sets the cookie, or that takes it away.
    pub(crate) fn cookie(&self, session: &str, seconds: u64) -> String {
        let secure = if self.tls { "; Secure" } else { "" };
        let name = self.cookie_name();
        format!("{name}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Returns the session that a request brings along.
    pub(crate) fn session<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.cookie_name();
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(given, _)| *given == name)
            .map(|(_, session)| session)
    }

    /// Tells whether a host is one under which this server is meant. On loopback the name alone tells a page of
    /// this server from one of a stranger whose name was made to point here (DNS rebinding).
    fn is_own_host(&self, host: &str) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let name = without_port(host).to_ascii_lowercase();
        let named = self.hosts.iter().any(|own| own.eq_ignore_ascii_case(&name));
        let address = name.trim_start_matches('[').trim_end_matches(']');
        named
            || name == "localhost"
            || name.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// Checks a request, lets it through, and puts the headers on the answer.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_name(request.method());
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "other".to_owned(),
    };
    let mut response = match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => *refusal,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let status = response.status().as_u16();
    app.metrics
        .request(method, &route, status, started.elapsed());
    response
}

fn check(app: &App, request: &Request) -> Result<(), Box<Response>> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    let host = authority.or(text("host")).unwrap_or_default();
    if !app.guard.is_own_host(host) {
        return refuse(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown_host",
            "this server is not known under that name; use 127.0.0.1 or localhost, or name it with --web-host",
        ));
    }
    if !request.method().is_safe() && is_from_elsewhere(headers, host) {
        return refuse(Problem::new(
            StatusCode::FORBIDDEN,
            "other_site",
            "a page of another site asked for this: refused",
        ));
    }
    let path = request.uri().path();
    if !needs_login(path) {
        return Ok(());
    }
    let from = request
        .extensions()
        .get::<Peer>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let caller = match text("authorization") {
        Some(header) if app.login.is_required() => {
            app.login.authorization(header, from, Instant::now())
        }
        _ => {
            let now = u64::try_from(watch::now() / 1000).unwrap_or_default();
            Ok(app
                .login
                .session(app.guard.session(headers).unwrap_or_default(), now))
        }
    };
    match caller {
        Ok(Caller::Known) => Ok(()),
        Ok(Caller::Unknown) if path == "/" => Err(Box::new(Redirect::to("/login").into_response())),
        Ok(unknown) => {
            if unknown == Caller::Wrong {
                app.metrics.failed_logins.inc();
            }
            let mut response = no_login().into_response();
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"hearthgate\""),
            );
            Err(Box::new(response))
        }
        Err(refused) => refuse(slowed(&refused)),
    }
}

fn refuse(problem: Problem) -> Result<(), Box<Response>> {
    Err(Box::new(problem.into_response()))
}

fn no_login() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "login",
        "log in at /login, or send the token: `Authorization: Bearer TOKEN`",
    )
}

/// Says that somebody has to wait.
pub(crate) fn slowed(refused: &Refused) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "slow_down",
        "there were too many failed logins from this address; wait, then try again",
    )
    .after(refused.wait)
}

/// Tells what is for everybody: the files of the page, which hold nothing, the login and the health.
fn needs_login(path: &str) -> bool {
    let is_api = path.starts_with("/api/") && path != "/api/v1/session";
    is_api || path == "/" || path == "/metrics"
}

/// Tells whether a page of another site caused the request. Programs send neither header.
fn is_from_elsewhere(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    text("origin").is_some_and(|origin| {
        let own = origin.split_once("://").map(|(_, own)| own);
        !own.is_some_and(|own| own.eq_ignore_ascii_case(host))
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Names a method, so that there are few names.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard_at(address: &str) -> Guard {
        Guard {
            address: address.parse().unwrap(),
            hosts: vec!["hub.example".to_owned()],
            tls: false,
        }
    }

    #[test]
    fn on_loopback_only_own_names_are_taken() {
        let guard = guard_at("127.0.0.1:8480");
        for own in [
            "127.0.0.1:8480",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8480",
            "a.localhost:8480",
            "hub.example",
        ] {
            assert!(guard.is_own_host(own), "{own}");
        }
        for other in [
            "",
            "evil.example",
            "127.0.0.1.evil.example:8480",
            "192.0.2.1",
        ] {
            assert!(!guard.is_own_host(other), "{other}");
        }
        assert!(guard_at("192.0.2.1:1").is_own_host("anything"));
    }

    #[test]
    fn a_write_of_another_site_is_recognised() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            is_from_elsewhere(&headers, "localhost:8480")
        };
        assert!(!of(&[]));
        assert!(!of(&[("origin", "http://localhost:8480")]));
        assert!(of(&[("origin", "http://localhost:9000")]));
        assert!(of(&[("origin", "null")]));
        assert!(of(&[("sec-fetch-site", "cross-site")]));
        assert!(of(&[("sec-fetch-site", "same-site")]));
        assert!(!of(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:8480")
        ]));
    }

    #[test]
    fn the_cookie_is_safe() {
        let mut guard = guard_at("127.0.0.1:8480");
        let cookie = guard.cookie("s", 9);
        assert_eq!(
            cookie,
            "hearthgate_8480=s; Path=/; Max-Age=9; HttpOnly; SameSite=Strict"
        );
        guard.tls = true;
        assert!(guard.cookie("s", 9).ends_with("; Secure"));
        let mut headers = HeaderMap::new();
        headers.insert(
            "cookie",
            HeaderValue::from_static("a=b; hearthgate_8480=x.y.z"),
        );
        assert_eq!(guard.session(&headers), Some("x.y.z"));
    }
}
