//! The registry without sessions: what it answers, what it sends to drivers, which events it makes.

mod events;
mod writes;

use hearthgate_protocol::limits::ANSWER_MAX;
use hearthgate_protocol::wire::{ErrorBody, ErrorCode, ErrorDetail, Request};

use super::answers::find;
use super::{Registry, limit_answer};
use crate::event_log::Position;
use crate::testing::{TestGateway, device, state, status};

/// Returns the answer to a request as text.
fn answer(registry: &Registry, request: &Request) -> String {
    let mut out = Vec::new();
    registry.answer(1, request, Position::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn home() -> TestGateway {
    TestGateway::start(["b", "a"].map(device).to_vec())
}

/// Reports and waits until the registry has it.
async fn reported(gateway: &TestGateway, changes: Vec<hearthgate_protocol::model::Change>) {
    let (ack, taken) = tokio::sync::oneshot::channel();
    let reports = &gateway.port.reports;
    reports.send_and_succeed(changes, crate::Ack(ack)).await;
    taken.await.unwrap().unwrap();
}

#[tokio::test]
async fn devices_come_in_the_order_in_which_they_came() {
    assert_eq!(
        answer(&home().registry, &Request::GetDevices),
        r#"{"id":1,"type":"result","success":true,"result":["b","a"]}"#
    );
}

#[tokio::test]
async fn statuses_keep_the_order_of_the_request_and_doubles_come_twice() {
    let entry = |id: &str| {
        format!(
            r#"{{"devid":"{id}","online":true,"value":[{{"k":"switch_1","v":false}},{{"k":"temp","v":0}}]}}"#
        )
    };
    let expected = format!(
        r#"{{"id":1,"type":"result","success":true,"result":[{},{},{}]}}"#,
        entry("a"),
        entry("b"),
        entry("a")
    );
    assert_eq!(
        answer(&home().registry, &status(&["a", "b", "a"])),
        expected
    );
}

#[tokio::test]
async fn schemas_carry_function_and_status() {
    let answer = answer(&home().registry, &Request::GetSchema(vec!["a".into()]));
    let start = r#"{"id":1,"type":"result","success":true,"result":[{"devid":"a","category":"kg","function":[{"code":"switch_1","type":"Boolean","values":"{}"},"#;
    assert!(answer.starts_with(start), "{answer}");
    assert!(
        answer.ends_with(r#"{"code":"note","type":"String","values":"{}"}]}]}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn an_empty_array_gives_an_empty_array() {
    let empty = r#"{"id":1,"type":"result","success":true,"result":[]}"#;
    let registry = home().registry;
    assert_eq!(answer(&registry, &status(&[])), empty);
    assert_eq!(answer(&registry, &Request::GetSchema(Vec::new())), empty);
}

#[tokio::test]
async fn the_public_way_gives_the_same_answers_and_takes_no_writes() {
    let registry = home().registry;
    for request in [Request::GetDevices, status(&["b", "a"]), status(&["x"])] {
        let mut out = Vec::new();
        registry.answer_reading(1, &request, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), answer(&registry, &request));
    }
    let mut out = Vec::new();
    registry.answer_reading(7, &Request::SetValue(Vec::new()), &mut out);
    let refusal = r#"{"id":7,"type":"result","success":false,"error":{"code":"invalid_request","#;
    assert!(out.starts_with(refusal.as_bytes()));
}

#[tokio::test]
async fn one_unknown_device_fails_the_whole_and_all_are_named() {
    assert_eq!(
        answer(&home().registry, &status(&["a", "x", "b", "y"])),
        r#"{"id":1,"type":"result","success":false,"error":{"code":"unknown_device","message":"no device x","details":[{"devid":"x","code":"unknown_device","message":"no device x"},{"devid":"y","code":"unknown_device","message":"no device y"}]}}"#
    );
}

#[tokio::test]
async fn an_answer_over_16_mib_is_refused_before_memory_is_spent_on_it() {
    let gateway = home();
    let long = "x".repeat(200_000);
    reported(&gateway, vec![state("a", "note", long.as_str())]).await;
    let mut out = Vec::new();
    let request = status(&["a"; 2000]);
    gateway
        .registry
        .answer(1, &request, Position::default(), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#""code":"invalid_request""#), "{text}");
    assert!(text.contains("ask for fewer devices"), "{text}");
    assert!(find(&gateway.registry.shared.state.read().home, &request).is_err());
    assert!(answer(&gateway.registry, &status(&["a"; 80])).contains("\"success\":true"));
}

#[test]
fn errors_are_under_the_same_limit() {
    let fault = ErrorDetail {
        device: "a".repeat(1000).into(),
        code_of: None,
        code: ErrorCode::UnknownDevice,
        message: "b".repeat(1000),
    };
    let body = ErrorBody::from_details(vec![fault; 10_000]).unwrap();
    let mut out = Vec::new();
    hearthgate_protocol::wire::write_error(&mut out, 5, &body);
    assert!(out.len() > ANSWER_MAX);
    limit_answer(5, &mut out);
    let text = String::from_utf8(out).unwrap();
    let start = r#"{"id":5,"type":"result","success":false,"error":{"code":"invalid_request""#;
    assert!(text.starts_with(start), "{text}");
}
