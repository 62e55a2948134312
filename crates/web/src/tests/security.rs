//! What the page promises about security, each promise by itself.

use hearthgate_testkit::switches;

use super::{Outlet, TOKEN, request};
use crate::GatewayAccess;

const JSON: (&str, &str) = ("content-type", "application/json");
const VALUES: &str = "/api/v1/devices/g/switch-00000/values";

fn bearer() -> (&'static str, String) {
    ("authorization", format!("Bearer {TOKEN}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_login_nothing_is_seen_and_nothing_is_done() {
    let outlet = Outlet::locked(switches(1)).await;
    for (method, path) in [
        ("GET", "/api/v1/gateways"),
        ("GET", "/api/v1/devices"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/log"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/no-such-thing"),
        ("GET", "/metrics"),
        ("HEAD", "/metrics"),
        ("PUT", VALUES),
        ("POST", "/api/v1/gateways"),
        ("POST", "/api/v1/gateways/g/doctor"),
        ("DELETE", "/api/v1/gateways/g"),
    ] {
        let answer = outlet
            .send(request(method, path, &[JSON], "{\"switch_1\":true}"))
            .await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    let page = outlet.get("/").await;
    assert_eq!(
        (page.status.as_u16(), page.header("location")),
        (303, "/login")
    );
    assert_eq!(outlet.get("/login").await.status, 200);
    // The health says that the program is alive, and no more.
    assert_eq!(outlet.get("/healthz").await.text, r#"{"status":"ok"}"#);
    let session = outlet.get("/api/v1/session").await.json();
    assert_eq!(
        (&session["login"], &session["logged_in"]),
        (&true.into(), &false.into())
    );
    assert!(session.get("version").is_none());
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_and_the_password_open_for_programs() {
    let outlet = Outlet::locked(switches(1)).await;
    let (name, value) = bearer();
    for path in ["/api/v1/devices", "/metrics", "/"] {
        let answer = outlet
            .send(request("GET", path, &[(name, &value)], ""))
            .await;
        assert_eq!(answer.status, 200, "{path}");
    }
    // anna:her password
    let basic = ("authorization", "Basic YW5uYTpoZXIgcGFzc3dvcmQ=");
    assert_eq!(
        outlet
            .send(request("GET", "/metrics", &[basic], ""))
            .await
            .status,
        200
    );
    let wrong = ("authorization", "Bearer wrong");
    assert_eq!(
        outlet
            .send(request("GET", "/metrics", &[wrong], ""))
            .await
            .status,
        401
    );
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_logs_in_with_a_safe_cookie_and_out_again() {
    let outlet = Outlet::locked(switches(1)).await;
    outlet
        .post("/api/v1/session", r#"{"token":"wrong"}"#)
        .await
        .must_be(401, "login");
    outlet
        .post("/api/v1/session", r#"{"user":"anna","password":"x"}"#)
        .await
        .must_be(401, "login");
    outlet
        .post("/api/v1/session", r#"{"user":"anna"}"#)
        .await
        .must_be(400, "invalid_request");
    for body in [
        format!(r#"{{"token":"{TOKEN}"}}"#),
        r#"{"user":"anna","password":"her password"}"#.to_owned(),
    ] {
        let opened = outlet.post("/api/v1/session", &body).await;
        assert_eq!(opened.status, 204, "{opened:?}");
        let cookie = opened.header("set-cookie").to_owned();
        assert!(
            cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"),
            "{cookie}"
        );
        assert!(!cookie.contains(TOKEN));
        let pair = cookie.split(';').next().unwrap().to_owned();
        let with = [("cookie", pair.as_str())];
        assert_eq!(
            outlet
                .send(request("GET", "/api/v1/devices", &with, ""))
                .await
                .status,
            200
        );
        let closed = outlet
            .send(request("DELETE", "/api/v1/session", &with, ""))
            .await;
        assert!(closed.header("set-cookie").contains("Max-Age=0"));
        assert_eq!(
            outlet
                .send(request("GET", "/api/v1/devices", &with, ""))
                .await
                .status,
            401
        );
    }
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slowed_for_who_guesses_and_for_nobody_else() {
    let outlet = Outlet::locked(switches(1)).await;
    let guess = || request("POST", "/api/v1/session", &[JSON], r#"{"token":"guess"}"#);
    let mut slowed = None;
    for _ in 0..10 {
        let answer = outlet.send_from([192, 0, 2, 1], guess()).await;
        if answer.status() == 429 {
            slowed = Some(super::whole(answer).await);
            break;
        }
    }
    let slowed = slowed.expect("ten guesses in a row are answered as if they were one");
    slowed.must_be(429, "slow_down");
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1);
    // Programs that guess share the lot. Where the wait is over before one asks, that is one more guess,
    // and the next wait is longer. So few would all be free if nobody had guessed before.
    let header = [("authorization", "Bearer guess")];
    let mut shares = false;
    for _ in 0..5 {
        let program = request("GET", "/metrics", &header, "");
        let program = outlet.send_from([192, 0, 2, 1], program).await;
        shares |= program.status() == 429;
    }
    assert!(shares, "programs guess as if nobody had guessed before");
    let other = outlet.send_from([192, 0, 2, 2], guess()).await;
    assert_eq!(other.status(), 401);
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_writes_nothing() {
    let outlet = Outlet::start(switches(1), |_| {}).await;
    let body = "{\"switch_1\":true}";
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:9999"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = outlet
            .send(request("PUT", VALUES, &[JSON, foreign], body))
            .await;
        answer.must_be(403, "other_site");
    }
    for own in [
        ("origin", "http://localhost"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let answer = outlet
            .send(request("PUT", VALUES, &[JSON, own], body))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A form of another site cannot send JSON as such.
    let form = ("content-type", "text/plain");
    outlet
        .send(request("PUT", VALUES, &[form], body))
        .await
        .must_be(415, "invalid_request");
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_name_that_points_here_opens_nothing() {
    let outlet = Outlet::start(switches(1), |options| {
        options.hosts = vec!["hub.example".to_owned()];
    })
    .await;
    let ask =
        |host: &'static str| outlet.send(request("GET", "/api/v1/devices", &[("host", host)], ""));
    ask("evil.example:8480").await.must_be(421, "unknown_host");
    ask("192.0.2.1").await.must_be(421, "unknown_host");
    for own in ["127.0.0.1:8480", "localhost", "[::1]:1", "hub.example"] {
        assert_eq!(ask(own).await.status, 200, "{own}");
    }
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_carries_the_headers() {
    let outlet = Outlet::start(switches(1), |_| {}).await;
    for path in [
        "/",
        "/assets/js/main.js",
        "/api/v1/devices",
        "/nothing",
        "/healthz",
    ] {
        let answer = outlet.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
    }
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_goes_in_and_never_comes_out() {
    const KEY: &str = "Zq7vK2mXw9LpT4sB";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateways.toml");
    let outlet = Outlet::start(switches(1), |options| {
        options.access = GatewayAccess::directory(&file, Default::default());
    })
    .await;
    outlet.hub.follow(&file, None).unwrap();
    let body = format!(r#"{{"uuid":"new","name":"New","key":"{KEY}","address":"127.0.0.1:1"}}"#);
    assert_eq!(outlet.post("/api/v1/gateways", &body).await.status, 201);
    let wrong = outlet
        .put("/api/v1/gateways/new/key", r#"{"key":"short-and-wrong"}"#)
        .await;
    assert!(
        wrong.status.is_client_error() && !wrong.text.contains("short-and-wrong"),
        "{wrong:?}"
    );
    let number = outlet
        .put("/api/v1/gateways/new/key", r#"{"key":4711471147114711}"#)
        .await;
    assert!(
        number.status.is_client_error() && !number.text.contains("4711"),
        "{number:?}"
    );
    hearthgate_testkit::eventually("the hub to know it", || outlet.hub.gateways().len() == 2).await;
    let doctor = outlet.post("/api/v1/gateways/new/doctor", "").await;
    assert_eq!(doctor.status, 200, "{doctor:?}");
    assert_eq!(doctor.json()["failed"], true, "nothing listens there");
    for path in [
        "/api/v1/gateways",
        "/api/v1/gateways/new",
        "/api/v1/log",
        "/api/v1/openapi.json",
        "/metrics",
    ] {
        let answer = outlet.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains(KEY), "{path}");
    }
    assert!(!doctor.text.contains(KEY));
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept.contains(KEY), "it is kept where the hub reads it");
    assert_eq!(
        outlet
            .send(request("DELETE", "/api/v1/gateways/new", &[], ""))
            .await
            .status,
        204
    );
    assert!(!std::fs::read_to_string(&file).unwrap().contains(KEY));
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_loopback_there_is_a_login_or_no_page() {
    let hub = hearthgate_hub::Hub::start(hearthgate_hub::HubOptions {
        discovery: None,
        ..Default::default()
    });
    let options = crate::WebOptions::new(([0, 0, 0, 0], 0).into());
    assert!(options.needs_login());
    assert!(crate::Web::bind(hub, options).await.is_err());
}
