//! The login of the page: whether one is needed, in, out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::app::App;
use crate::extract::Body;
use crate::guard::{Peer, slowed};
use crate::login::{Caller, SESSION};
use crate::problem::{Problem, Problems};
use crate::watch;

/// What the page needs to know at first.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// Whether a login is asked for.
    login: bool,
    /// Whether the one who asks may go on.
    logged_in: bool,
    /// Whether a user and password are taken, besides the token.
    password: bool,
    /// The version of the program; for those who may go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    /// Whether gateways can be added and their keys changed; for those who may go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    keeps_gateways: Option<bool>,
    /// Whether history is kept; for those who may go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<bool>,
    /// The time here; milliseconds since the Unix epoch.
    now: i64,
}

/// Who somebody is: a token, or a user and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The token.
    #[schema(format = Password)]
    token: Option<String>,
    /// The user.
    user: Option<String>,
    /// The password.
    #[schema(format = Password)]
    password: Option<String>,
}

/// Tells whether a login is asked for
#[utoipa::path(
    get, path = "/api/v1/session", operation_id = "read_session", tag = "session",
    responses((status = 200, body = SessionView), Problems),
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> axum::Json<SessionView> {
    let session = app.guard.session(&headers).unwrap_or_default();
    let logged_in = app.login.session(session, seconds()) == Caller::Known;
    axum::Json(SessionView {
        login: app.login.is_required(),
        logged_in,
        password: app.login.has_user(),
        version: logged_in.then_some(app.version),
        keeps_gateways: logged_in.then_some(app.access.adds()),
        history: logged_in.then_some(app.history.is_some()),
        now: watch::now(),
    })
}

/// Logs in: the answer sets a cookie
#[utoipa::path(
    post, path = "/api/v1/session", operation_id = "log_in", tag = "session", request_body = Login,
    responses((status = 204, description = "Logged in"), Problems),
)]
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    if !app.login.is_required() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let from = peer.map_or(IpAddr::from([0, 0, 0, 0]), |Extension(peer)| peer.0);
    let now = Instant::now();
    let caller = match (login.token, login.user, login.password) {
        (Some(token), None, None) => app.login.token(&Zeroizing::new(token), from, now),
        (None, Some(user), Some(password)) => {
            let password = Zeroizing::new(password);
            app.login.user(&user, &password, from, now)
        }
        _ => {
            let detail = "give the `token`, or `user` and `password`";
            return Err(Problem::invalid(detail));
        }
    };
    match caller {
        Ok(Caller::Known) => {}
        Ok(_) => {
            app.metrics.failed_logins.inc();
            tracing::warn!("a login of the page from {from} failed");
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "login",
                "that is not right; the token was shown when the hub was started for the first time, and is kept in \
                 its state folder",
            ));
        }
        Err(refused) => return Err(slowed(&refused)),
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        let detail = format!("the operating system gives no random bytes: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    })?;
    let session = app.login.open(seconds(), random).unwrap_or_default();
    let cookie = app.guard.cookie(&session, SESSION.as_secs());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Logs out
#[utoipa::path(
    delete, path = "/api/v1/session", operation_id = "log_out", tag = "session",
    responses((status = 204, description = "Logged out"), Problems),
)]
pub(crate) async fn close(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if let Some(session) = app.guard.session(&headers) {
        app.login.close(session);
    }
    let cookie = app.guard.cookie("", 0);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

fn seconds() -> u64 {
    u64::try_from(watch::now() / 1000).unwrap_or_default()
}
