//! What a gateway takes from a client.

use super::*;

fn taken(text: &str) -> (i64, Request) {
    match decode_from_client(text.as_bytes()) {
        FromClient::Request { id, request } => (id, request),
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str, id: i64, code: ErrorCode, words: &str) {
    match decode_from_client(text.as_bytes()) {
        FromClient::Invalid { id: found, error } => {
            assert_eq!((found, error.code), (id, code), "{text}");
            assert!(error.message.contains(words), "{text}: {}", error.message);
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn invalid(text: &str, id: i64, words: &str) {
    refused(text, id, ErrorCode::InvalidRequest, words);
}

fn ids(ids: &[&str]) -> Vec<DeviceId> {
    ids.iter().map(|id| DeviceId::from(*id)).collect()
}

#[test]
fn requests_are_read_whatever_their_order_space_and_extras() {
    assert_eq!(
        taken(r#"{"id":1,"type":"get_devices"}"#),
        (1, Request::GetDevices)
    );
    let spaced = " \t\r\n{ \"more\" : [ { } ] , \"type\" : \"get_devices\" , \"id\" : -9223372036854775808 } \n";
    assert_eq!(taken(spaced), (i64::MIN, Request::GetDevices));
    assert_eq!(
        taken(r#"{"id":2,"type":"get_devices","data":{"any":"thing"}}"#),
        (2, Request::GetDevices)
    );
    assert_eq!(
        taken(r#"{"id":3,"type":"get_schema","data":["b","a","b"]}"#),
        (3, Request::GetSchema(ids(&["b", "a", "b"])))
    );
    assert_eq!(
        taken(r#"{"id":4,"type":"get_status","data":[]}"#),
        (4, Request::GetStatus(Vec::new()))
    );
    assert_eq!(
        taken(r#"{"\u0069d":5,"type":"get\u005fdevices"}"#),
        (5, Request::GetDevices)
    );
}

#[test]
fn devid_wins_over_the_device_of_the_seeds_table() {
    let write = |device: &str| {
        let readings = vec![reading("a", "1"), reading("a", "{\"b\":[1e400]}")];
        let device = device.into();
        Request::SetValue(vec![DeviceWrite { device, readings }])
    };
    let text = |names: &str| {
        format!(
            r#"{{"id":1,"type":"set_value","data":[{{{names},"value":[{{"k":"a","v":1}},{{"v":{{"b":[1e400]}},"k":"a"}}]}}]}}"#
        )
    };
    assert_eq!(taken(&text(r#""devid":"x""#)).1, write("x"));
    assert_eq!(taken(&text(r#""device":"y""#)).1, write("y"));
    assert_eq!(taken(&text(r#""device":"y","devid":"x""#)).1, write("x"));
    assert_eq!(taken(&text(r#""device":"y","devid":null"#)).1, write("y"));
}

#[test]
fn a_request_without_an_integer_id_is_refused_under_id_0() {
    for id in [
        "1.0",
        "1e0",
        "\"1\"",
        "true",
        "null",
        "[]",
        "9223372036854775808",
        "1e400",
    ] {
        invalid(
            &format!(r#"{{"id":{id},"type":"get_devices"}}"#),
            0,
            "id is",
        );
    }
    invalid(r#"{"type":"get_devices"}"#, 0, "id is missing");
    invalid("{}", 0, "id is missing");
}

#[test]
fn of_a_doubled_field_the_last_counts() {
    assert_eq!(
        taken(r#"{"id":1,"type":"x","type":"get_devices","id":2}"#).0,
        2
    );
    invalid(
        r#"{"id":1,"type":"get_devices","id":"2"}"#,
        0,
        "id is a string",
    );
    invalid(
        r#"{"id":1,"type":"get_schema","data":[],"data":{}}"#,
        1,
        "data is an object",
    );
}

#[test]
fn what_is_no_json_object_is_refused_under_id_0() {
    for text in [
        "",
        " ",
        "null",
        "[]",
        "\"{}\"",
        "1",
        "{",
        "{}}",
        "{\"id\":1,}",
        "{'id':1}",
        "\u{feff}{\"id\":1,\"type\":\"get_devices\"}",
        "{\"id\":1,\"type\":\"get_devices\"}\0",
        "{\"id\":1,\"type\":\"get\0devices\"}",
        "{\"id\":01,\"type\":\"get_devices\"}",
        "{\"id\":NaN,\"type\":\"get_devices\"}",
        "{\"id\":1,\"type\":\"get_devices\"} {}",
    ] {
        invalid(text, 0, "the message is");
    }
    let junk = decode_from_client(b"{\"id\":1,\"type\":\"\xff\"}");
    assert!(matches!(junk, FromClient::Invalid { id: 0, .. }));
}

#[test]
fn the_slips_of_the_seeds_page_are_refused() {
    invalid(
        r#"{"id":1,"type":"get_schema","data":["a",]}"#,
        0,
        "no JSON",
    );
    invalid(r#"{"id":1,"type":"get_schema","data":["a]}"#, 0, "no JSON");
}

#[test]
fn the_place_of_the_fault_is_named() {
    invalid(r#"{"id":7}"#, 7, "type is missing");
    invalid(
        r#"{"id":7,"type":1}"#,
        7,
        "type is an integer, expected a string",
    );
    invalid(r#"{"id":7,"type":null}"#, 7, "type is missing");
    invalid(r#"{"id":7,"type":"get_schema"}"#, 7, "data is missing");
    invalid(
        r#"{"id":7,"type":"get_schema","data":null}"#,
        7,
        "data is missing",
    );
    invalid(
        r#"{"id":7,"type":"get_status","data":["a",1]}"#,
        7,
        "data[1] is an integer",
    );
    let set = |data: &str| format!(r#"{{"id":7,"type":"set_value","data":{data}}}"#);
    invalid(&set("{}"), 7, "data is an object, expected an array");
    invalid(&set("[[]]"), 7, "data[0] is an array, expected an object");
    invalid(&set("[{}]"), 7, "data[0].devid is missing");
    invalid(&set(r#"[{"devid":"a"}]"#), 7, "data[0].value is missing");
    invalid(
        &set(r#"[{"devid":"a","value":{}}]"#),
        7,
        "data[0].value is an object",
    );
    invalid(
        &set(r#"[{"devid":"a","value":[{"v":1}]}]"#),
        7,
        "data[0].value[0].k is missing",
    );
    invalid(
        &set(r#"[{"devid":"a","value":[{"k":"a"}]}]"#),
        7,
        "data[0].value[0].v is missing",
    );
    invalid(
        &set(r#"[{"devid":1,"value":[]}]"#),
        7,
        "data[0].devid is an integer",
    );
}

#[test]
fn an_unknown_type_is_named_but_not_at_length() {
    refused(
        r#"{"id":7,"type":"reboot"}"#,
        7,
        ErrorCode::UnknownType,
        "type reboot",
    );
    let long = format!(r#"{{"id":7,"type":"{}"}}"#, "é".repeat(100_000));
    let FromClient::Invalid { error, .. } = decode_from_client(long.as_bytes()) else {
        panic!("no error")
    };
    assert!(error.message.len() < 200 && error.message.ends_with('…'));
}

#[test]
fn events_and_results_of_a_client_are_ignored() {
    for text in [r#"{"type":"event"}"#, r#"{"id":"x","type":"result"}"#] {
        assert_eq!(decode_from_client(text.as_bytes()), FromClient::Ignored);
    }
}

#[test]
fn half_a_surrogate_pair_is_no_text_and_no_end() {
    // In a name that nobody asked for it does not matter.
    assert_eq!(
        taken(r#"{"\ud800":{"\udc00":1},"id":1,"type":"get_devices"}"#).0,
        1
    );
    invalid(r#"{"id":7,"type":"\ud800"}"#, 7, "type cannot be read");
    invalid(
        r#"{"id":7,"type":"get_schema","data":["\ud800"]}"#,
        7,
        "data[0] cannot be read",
    );
    let (_, request) = taken(
        r#"{"id":7,"type":"set_value","data":[{"devid":"a","value":[{"k":"b","v":"\ud800"}]}]}"#,
    );
    let Request::SetValue(writes) = request else {
        panic!("{request:?}")
    };
    assert_eq!(writes[0].readings[0].value.json(), r#""\ud800""#);
}

#[test]
fn deep_nesting_is_refused_under_the_requests_id() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"id":7,"type":"get_devices","data":{open}{close}}}"#)
    };
    assert_eq!(taken(&nested(64)).0, 7);
    invalid(&nested(65), 7, "deeper than 64");
    invalid(&nested(500_000), 7, "deeper than 64");
}

#[test]
fn what_is_written_is_read_back() {
    let devices = ids(&["a", "ü \"\\\n\u{1}", ""]);
    for request in [
        Request::GetDevices,
        Request::GetSchema(devices.clone()),
        Request::GetStatus(devices.clone()),
        Request::SetValue(vec![DeviceWrite {
            device: devices[1].clone(),
            readings: vec![reading("k", "\"℃\""), reading("k", "-0")],
        }]),
    ] {
        let mut out = Vec::new();
        write_request(&mut out, -5, &request);
        assert_eq!(taken(std::str::from_utf8(&out).unwrap()), (-5, request));
    }
}

#[test]
fn the_quick_way_and_the_long_way_take_the_same_requests() {
    let check = |quick: bool, text: &str| {
        let read = crate::wire::quick::from_client(text);
        assert_eq!(read.is_some(), quick, "{text}");
        if let Some((id, request)) = read {
            let long = crate::wire::decode::decode_request(Ok(text));
            assert_eq!(long, FromClient::Request { id, request }, "{text}");
        }
    };
    for usual in [
        r#"{"id":1,"type":"get_devices"}"#,
        r#"{"type": "get_schema", "data": ["a", "℃"], "id": -7}"#,
        r#" { "id" : 1 , "type" : "get_status" , "data" : [ ] } "#,
        r#"{"id":1,"type":"set_value","data":[{"value":[{"v":1.50,"k":"a"},{"k":"a","v":{"b":"\""}}],"devid":"x"}]}"#,
        r#"{"id":1,"type":"set_value","data":[]}"#,
    ] {
        check(true, usual);
    }
    for unusual in [
        r#"{"id":1,"type":"get_devices","data":[]}"#,
        r#"{"id":1,"data":["a"],"type":"get_status"}"#,
        r#"{"id":1,"type":"get_status","data":["a"],"type":"get_schema"}"#,
        r#"{"id":1,"type":"get_status"}"#,
        r#"{"id":1,"type":"get_status","data":["a",1]}"#,
        r#"{"id":1,"type":"get_status","data":["a",]}"#,
        r#"{"id":1,"type":"get_status","data":null}"#,
        r#"{"id":01,"type":"get_status","data":["a"]}"#,
        r#"{"id":1,"type":"get_status","data":["\n"]}"#,
        r#"{"id":1,"type":"set_value","data":[{"device":"x","value":[]}]}"#,
        r#"{"id":1,"type":"set_value","data":[{"devid":"x","value":[{"k":"a"}]}]}"#,
        r#"{"id":1,"type":"event","data":[]}"#,
        r#"{"id":1,"type":"get_devices"}}"#,
    ] {
        check(false, unusual);
    }
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"id":1,"type":"set_value","data":[{{"devid":"x","value":[{{"k":"a","v":{open}{close}}}]}}]}}"#
        )
    };
    check(true, &nested(59));
    check(false, &nested(60));
    invalid(&nested(60), 1, "nested deeper");
}
