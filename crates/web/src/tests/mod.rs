//! The outlet over a real hub and a real gateway, asked without a socket in between.

mod api;
mod events;
mod security;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Extension;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use hearthgate_hub::{GatewaySpec, Hub, HubOptions};
use hearthgate_protocol::model::Device;
use hearthgate_testkit::{TestHome, eventually, test_key};
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::guard::Peer;
use crate::{Credentials, LoginMode, Token, User, Web, WebOptions};

pub(super) const TOKEN: &str = "a-token-for-tests-of-24-chars";
const PATIENCE: Duration = Duration::from_secs(20);

/// An outlet and what stands behind it.
pub(super) struct Outlet {
    pub(super) home: TestHome,
    pub(super) hub: Hub,
    router: axum::Router,
    stop: CancellationToken,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem with this status and code.
    pub(super) fn must_be(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json()["code"], code, "{self:?}");
        assert_eq!(self.json()["status"], status);
    }
}

impl Outlet {
    /// Serves devices through a gateway called `g`; `adjust` changes the options of the outlet.
    pub(super) async fn start(devices: Vec<Device>, adjust: impl FnOnce(&mut WebOptions)) -> Self {
        let home = TestHome::start(devices).await.unwrap();
        let hub = Hub::start(HubOptions {
            discovery: None,
            ..HubOptions::default()
        });
        hub.set(GatewaySpec::fixed("g", home.endpoint(), test_key()));
        eventually("the gateway to be in sync", || {
            hub.gateways().iter().any(|info| info.synced)
        })
        .await;
        let mut options = WebOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        adjust(&mut options);
        let web = Web::bind(hub.clone(), options).await.unwrap();
        let router = web.router.clone();
        let stop = CancellationToken::new();
        tokio::spawn(web.run(stop.clone()));
        Self {
            home,
            hub,
            router,
            stop,
        }
    }

    /// The same, with a login.
    pub(super) async fn locked(devices: Vec<Device>) -> Self {
        Self::start(devices, |options| {
            options.login = LoginMode::Always;
            options.credentials = Some(Credentials {
                token: Token::from_text(TOKEN),
                user: Some(User::new("anna", "her password")),
            });
        })
        .await
    }

    /// Sends a request from an address and returns the head of its answer.
    pub(super) async fn send_from(&self, from: [u8; 4], mut request: Request<Body>) -> Response {
        let headers = request.headers_mut();
        if !headers.contains_key("host") {
            headers.insert("host", "localhost".parse().unwrap());
        }
        let router = self.router.clone().layer(Extension(Peer(from.into())));
        let answer = tokio::time::timeout(PATIENCE, router.oneshot(request)).await;
        answer.expect("no answer in time").unwrap()
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        whole(self.send_from([127, 0, 0, 1], request).await).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, &[], "")).await
    }

    pub(super) async fn put(&self, path: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(request("PUT", path, &json, body)).await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(request("POST", path, &json, body)).await
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.hub.close().await;
        self.home.stop().await;
    }
}

pub(super) async fn whole(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, to_bytes(body, usize::MAX)).await;
    let body = body.expect("no end of the answer in time").unwrap();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

pub(super) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}
