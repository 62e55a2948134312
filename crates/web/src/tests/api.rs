//! The API as a program uses it.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_hub::{
    Bucket, DeviceRef, HistoryError, HistoryFuture, HistoryQuery, HistorySource, HistoryStatus,
    Points, Resolution, Series, Step, Subject,
};
use hearthgate_protocol::model::{Change, Device, Source, Stamp, Timestamp, Value};
use hearthgate_protocol::wire::Profile;
use hearthgate_testkit::{eventually, switches};

use super::{Outlet, PATIENCE, request};

/// A thermostat, as real ones declare themselves.
fn thermostat() -> Device {
    let profile = r#"{"devid":"thermo 1/a","category":"wk","function":[
        {"code":"switch","type":"Boolean","values":"{}"},
        {"code":"temp_set","type":"Integer","values":"{\"unit\":\"℃\",\"min\":50,\"max\":350,\"scale\":1,\"step\":5}"}],
        "status":[{"code":"switch","type":"Boolean","values":"{}"},
        {"code":"temp_set","type":"Integer","values":"{\"unit\":\"℃\",\"min\":50,\"max\":350,\"scale\":1,\"step\":5}"}],
        "value":[{"k":"switch","v":true},{"k":"temp_set","v":210},{"k":"undeclared","v":"x"}]}"#;
    let profile = Profile::parse(profile).unwrap();
    let stamp = Stamp {
        at: Timestamp(1),
        source: Source::Read,
    };
    let schema = profile.schema;
    Device::new(profile.device, schema, true, profile.readings, stamp)
}

const THERMOSTAT: &str = "/api/v1/devices/g/thermo%201%2Fa";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_comes_in_pages_and_is_not_sent_twice() {
    let outlet = Outlet::start(switches(5), |_| {}).await;
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = outlet
            .get(&format!("/api/v1/devices?limit=2{cursor}"))
            .await
            .json();
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.len() <= 2);
        ids.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..5).map(|number| format!("switch-{number:05}")).collect();
    assert_eq!(ids, expected);
    let first = outlet.get("/api/v1/devices").await;
    let tag = first.header("etag").to_owned();
    let again = outlet
        .send(request(
            "GET",
            "/api/v1/devices",
            &[("if-none-match", &tag)],
            "",
        ))
        .await;
    assert_eq!((again.status.as_u16(), &*again.text), (304, ""));
    for wrong in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=%25",
        "unknown=1",
    ] {
        let answer = outlet.get(&format!("/api/v1/devices?{wrong}")).await;
        answer.must_be(400, "invalid_request");
    }
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_read_and_written_in_the_users_units() {
    let outlet = Outlet::start(vec![thermostat()], |_| {}).await;
    let values = outlet.get(&format!("{THERMOSTAT}/values")).await;
    assert_eq!(
        values.text,
        r#"{"switch":true,"temp_set":21.0,"undeclared":"x"}"#
    );
    let raw = outlet.get(&format!("{THERMOSTAT}/values?raw=true")).await;
    assert_eq!(raw.json()["temp_set"], 210);
    let written = outlet
        .put(
            &format!("{THERMOSTAT}/values"),
            r#"{"temp_set":22.5,"switch":"off"}"#,
        )
        .await;
    assert_eq!(written.status, 200, "{written:?}");
    assert_eq!(
        written.json()["points"],
        serde_json::json!(["temp_set", "switch"])
    );
    eventually("the write to be seen", || {
        let device = outlet
            .hub
            .device(&hearthgate_hub::DeviceRef::new("g", "thermo 1/a"));
        device.is_some_and(|device| device.point("temp_set").unwrap().value.json() == "225")
    })
    .await;
    let schema = outlet.get(&format!("{THERMOSTAT}/schema")).await.json();
    assert_eq!(schema["function"].as_array().unwrap().len(), 2);
    assert!(
        schema["oddities"]
            .to_string()
            .contains("is reported and not declared")
    );
    let assistant = outlet
        .get(&format!("{THERMOSTAT}/homeassistant"))
        .await
        .json();
    assert!(
        assistant["entities"].to_string().contains("climate"),
        "{assistant}"
    );
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_the_protocols_codes_and_words() {
    let outlet = Outlet::start(vec![thermostat()], |_| {}).await;
    let write = |body: &'static str| {
        let outlet = &outlet;
        async move { outlet.put(&format!("{THERMOSTAT}/values"), body).await }
    };
    let above = write(r#"{"temp_set":99}"#).await;
    above.must_be(422, "invalid_value");
    assert!(
        above.json()["detail"]
            .as_str()
            .unwrap()
            .contains("above max 350")
    );
    assert_eq!(above.json()["errors"][0]["point"], "temp_set");
    write(r#"{"temp_set":21.55}"#)
        .await
        .must_be(422, "invalid_value");
    write(r#"{"undeclared":1}"#)
        .await
        .must_be(422, "unsupported_code");
    write("{}").await.must_be(400, "invalid_request");
    write("[1]").await.must_be(400, "invalid_request");
    write("{").await.must_be(400, "invalid_request");
    outlet
        .put("/api/v1/devices/g/none/values", "{\"a\":1}")
        .await
        .must_be(404, "unknown_device");
    outlet
        .get("/api/v1/devices/none/x")
        .await
        .must_be(404, "unknown_gateway");
    outlet
        .get("/api/v1/unheard-of")
        .await
        .must_be(404, "not_found");
    let deleted = outlet.send(request("DELETE", THERMOSTAT, &[], "")).await;
    deleted.must_be(405, "method_not_allowed");
    assert!(deleted.header("allow").contains("GET"));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    let answer = outlet.put(&format!("{THERMOSTAT}/values"), &large).await;
    assert_eq!(answer.status, 413);
    let change = Change::Online {
        device: "thermo 1/a".into(),
        online: false,
        readings: Vec::new(),
    };
    outlet.home.hand.report(vec![change]).await;
    eventually("the device to be offline", || {
        let device = outlet
            .hub
            .device(&hearthgate_hub::DeviceRef::new("g", "thermo 1/a"));
        device.is_some_and(|device| !device.online())
    })
    .await;
    write(r#"{"temp_set":20}"#)
        .await
        .must_be(409, "device_offline");
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_away_is_said_to_be() {
    let outlet = Outlet::start(switches(1), |_| {}).await;
    let before = outlet.get("/api/v1/gateways/g").await.json();
    assert_eq!(
        (&before["link"], &before["wire"]),
        (&"up".into(), &"binary".into())
    );
    let hub = outlet.hub.clone();
    hub.set(hearthgate_hub::GatewaySpec::fixed(
        "g",
        "ws://127.0.0.1:1".parse().unwrap(),
        hearthgate_testkit::test_key(),
    ));
    let away = async {
        loop {
            let after = outlet.get("/api/v1/gateways/g").await.json();
            let reason = after["reason"].as_str().unwrap_or_default();
            if reason.contains("cannot reach") && reason.contains("127.0.0.1:1") {
                return after;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let after = tokio::time::timeout(PATIENCE, away).await;
    let after = after.expect("the gateway is not said to be away");
    assert_eq!(
        (&after["link"], &after["synced"]),
        (&"down".into(), &false.into())
    );
    assert_eq!(after["fault"], "connection");
    outlet
        .put(
            "/api/v1/devices/g/switch-00000/values",
            "{\"switch_1\":true}",
        )
        .await
        .must_be(503, "gateway_down");
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_given_and_taken_away() {
    let outlet = Outlet::start(switches(2), |_| {}).await;
    let path = "/api/v1/devices/g/switch-00000";
    let named = |name: &'static str| outlet.put("/api/v1/devices/g/switch-00000/name", name);
    assert_eq!(named(r#"{"name":"Lamp"}"#).await.status, 204);
    assert_eq!(outlet.get(path).await.json()["name"], "Lamp");
    let other = outlet
        .put("/api/v1/devices/g/switch-00001/name", r#"{"name":"lamp"}"#)
        .await;
    other.must_be(422, "refused");
    named("{}").await.must_be(400, "invalid_request");
    assert_eq!(named(r#"{"name":null}"#).await.status, 204);
    assert!(outlet.get(path).await.json()["name"].is_null());
    assert_eq!(
        outlet
            .put("/api/v1/gateways/g/name", r#"{"name":"Home"}"#)
            .await
            .status,
        204
    );
    eventually("the gateway to have its name", || {
        outlet.hub.gateways().iter().any(|info| info.name == "Home")
    })
    .await;
    outlet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_names_what_is_served_and_metrics_count() {
    let outlet = Outlet::start(switches(1), |options| options.value_metrics = true).await;
    let document = outlet.get("/api/v1/openapi.json").await.json();
    for path in [
        "/api/v1/devices/{gateway}/{device}/values",
        "/api/v1/events",
        "/api/v1/gateways/{gateway}/doctor",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(
        outlet
            .put(
                "/api/v1/devices/g/switch-00000/values",
                "{\"switch_1\":true}"
            )
            .await
            .status,
        200
    );
    let metrics = outlet.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "hearthgate_gateway_up{gateway=\"g\",name=\"g\"} 1",
        "hearthgate_writes_total{gateway=\"g\",outcome=\"done\"} 1",
        "hearthgate_gateway_devices{gateway=\"g\",state=\"online\"} 1",
        "hearthgate_value{gateway=\"g\",device=\"switch-00000\",point=\"switch_1\"}",
    ] {
        assert!(metrics.text.contains(line), "{line} in\n{}", metrics.text);
    }
    outlet
        .get("/api/v1/devices/g/switch-00000/history?point=switch_1")
        .await
        .must_be(404, "no_history");
    outlet.stop().await;
}

/// History that holds one series.
#[derive(Debug)]
struct OneSeries;

impl HistorySource for OneSeries {
    fn query(&self, query: HistoryQuery) -> HistoryFuture<'_, Series> {
        Box::pin(async move {
            let change = |at: i64, value: Option<bool>| hearthgate_hub::Change {
                at: Timestamp(at),
                value: value.map(Value::from),
                number: None,
                source: Source::Event,
                repeated: false,
            };
            let points = match query.resolution {
                Resolution::Exactly(Step::Hour) => Points::Buckets {
                    step: Step::Hour,
                    buckets: vec![Bucket {
                        start: query.from,
                        mean: 20.5,
                        min: 20.0,
                        max: 21.0,
                        last: None,
                        count: 2,
                    }],
                },
                _ => Points::Changes(vec![change(5, Some(true)), change(6, None)]),
            };
            Ok(Series {
                unit: "℃".to_owned(),
                scale: 1,
                is_number: false,
                before: Some(change(1, Some(false))),
                points,
                next: (query.limit == 1).then(|| "more".to_owned()),
            })
        })
    }

    fn subjects(&self, _device: Option<DeviceRef>) -> HistoryFuture<'_, Vec<Subject>> {
        Box::pin(async { Err(HistoryError::TooSlow) })
    }

    fn status(&self) -> HistoryStatus {
        HistoryStatus {
            storing: true,
            stored: 7,
            ..HistoryStatus::default()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_told_as_changes_or_as_means() {
    let outlet = Outlet::start(switches(1), |options| {
        options.history = Some(Arc::new(OneSeries));
    })
    .await;
    let path = "/api/v1/devices/g/switch-00000/history?point=switch_1&from=0&to=10";
    let raw = outlet.get(path).await.json();
    assert_eq!(raw["resolution"], "raw");
    assert_eq!(raw["before"]["value"], false);
    assert_eq!(raw["items"][0]["value"], true);
    assert_eq!(raw["items"][1]["value"], serde_json::Value::Null);
    let means = outlet.get(&format!("{path}&resolution=hour&limit=1")).await;
    let means = means.json();
    assert_eq!(
        (&means["resolution"], &means["next"]),
        (&"hour".into(), &"more".into())
    );
    assert_eq!(means["items"][0]["mean"], 20.5);
    let reach = outlet.get("/api/v1/devices/g/switch-00000/history").await;
    assert_eq!(reach.status, 200);
    assert_eq!(outlet.get("/api/v1/gateways/g/history").await.status, 200);
    for wrong in [
        "from=10&to=5",
        "from=-1",
        "points=0",
        "resolution=week",
        "limit=10001",
    ] {
        let answer = outlet
            .get(&format!("/api/v1/gateways/g/history?{wrong}"))
            .await;
        answer.must_be(400, "invalid_request");
    }
    let metrics = outlet.get("/metrics").await.text;
    assert!(
        metrics.contains("hearthgate_history_stored_total 7"),
        "{metrics}"
    );
    outlet.stop().await;
}
