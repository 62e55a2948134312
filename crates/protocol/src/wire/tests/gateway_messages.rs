//! What a client takes from a gateway.

use super::*;

fn message(text: &str) -> FromGateway {
    decode_from_gateway(text.as_bytes()).unwrap().0
}

fn event(text: &str) -> EventKind {
    match message(text) {
        FromGateway::Event(event) => event.kind,
        other => panic!("{text}: {other:?}"),
    }
}

fn outcome(rest: &str) -> Result<String, RemoteError> {
    match message(&format!(r#"{{"id":1,"type":"result"{rest}}}"#)) {
        FromGateway::Reply { id: 1, outcome } => outcome,
        other => panic!("{rest}: {other:?}"),
    }
}

#[test]
fn results_come_to_the_byte() {
    assert_eq!(
        outcome(r#","success":true,"result": [ 1.50 ] "#).unwrap(),
        "[ 1.50 ]"
    );
    assert_eq!(outcome(r#","success":true"#).unwrap(), "");
    assert_eq!(outcome(r#","success":true,"result":null"#).unwrap(), "");
    // Not our gateway's habit.
    assert_eq!(outcome(r#","result":[]"#).unwrap(), "[]");
}

#[test]
fn any_error_is_taken() {
    let check = |rest: &str, code: &str, message: &str| {
        let error = outcome(rest).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            (code, message),
            "{rest}"
        );
    };
    let usual = r#","success":false,"error":{"code":"busy","message":"a is busy","x":1}"#;
    check(usual, "busy", "a is busy");
    check(
        r#","success":false,"error":{"code":7}"#,
        "7",
        r#"{"code":7}"#,
    );
    check(r#","success":false,"error":"no""#, "unknown", "\"no\"");
    check(
        r#","success":false"#,
        "unknown",
        "the gateway gave no reason",
    );
    check(
        r#","error":{"code":"x","message":"\ud800"}"#,
        "x",
        r#""\ud800""#,
    );
}

#[test]
fn events_are_read_leniently() {
    let of = |kind: &str, data: &str| {
        event(&format!(
            r#"{{"id":1,"type":"event","event_type":"{kind}","data":{data}}}"#
        ))
    };
    let device = || DeviceId::from("a");
    for (state, expected) in [("0", 0), ("1", 1), ("7", 7), ("\"x\"", 1), ("null", 1)] {
        assert_eq!(
            of(
                "registry_updated",
                &format!(r#"{{"devid":"a","state":{state}}}"#)
            ),
            EventKind::RegistryUpdated {
                device: device(),
                state: expected
            }
        );
    }
    for (state, online) in [("true", true), ("false", false), ("1", true), ("0", false)] {
        assert_eq!(
            of(
                "online_updated",
                &format!(r#"{{"devid":"a","state":{state}}}"#)
            ),
            EventKind::OnlineUpdated {
                device: device(),
                online,
                readings: None
            }
        );
    }
    assert_eq!(
        of(
            "online_updated",
            r#"{"devid":"a","state":true,"value":[{"k":"x","v":null}]}"#
        ),
        EventKind::OnlineUpdated {
            device: device(),
            online: true,
            readings: Some(vec![reading("x", "null")]),
        }
    );
}

#[test]
fn an_event_that_means_nothing_still_counts_and_says_why() {
    let check = |rest: &str, words: &str| {
        let text = format!(r#"{{"id":5,"type":"event"{rest}}}"#);
        let FromGateway::Event(Event {
            id: 5,
            kind: EventKind::Other { reason },
        }) = message(&text)
        else {
            panic!("{text}")
        };
        assert!(reason.contains(words), "{reason}");
    };
    check("", "without an event_type");
    check(r#","event_type":"odd""#, "unknown event type odd");
    check(
        r#","event_type":"state_changed""#,
        "state_changed without data",
    );
    check(
        r#","event_type":"state_changed","data":{"devid":"a"}"#,
        "data.value is missing",
    );
    check(
        r#","event_type":"state_changed","data":{"value":[]}"#,
        "data.devid is missing",
    );
    check(
        r#","event_type":"online_updated","data":{"devid":"a"}"#,
        "data.state is missing",
    );
    check(
        r#","event_type":"state_changed","data":["a",[]]"#,
        "data is an array",
    );
}

#[test]
fn the_quick_way_and_the_long_way_read_the_same() {
    let check = |quick: bool, text: &str| {
        let message = crate::wire::quick::from_gateway(text);
        assert_eq!(message.is_some(), quick, "{text}");
        if let Some(message) = message {
            let long = crate::wire::decode::decode_any(text).unwrap();
            assert_eq!(long, (message, None), "{text}");
        }
    };
    let of = |data: &str| {
        format!(r#"{{"id":1,"type":"event","event_type":"state_changed","data":{data}}}"#)
    };
    let value = |value: &str| {
        of(&format!(
            r#"{{"devid":"a","value":[{{"k":"a","v":{value}}}]}}"#
        ))
    };
    check(true, &of(r#"{"devid":"a","value":[]}"#));
    check(
        true,
        &of(r#" { "value" : [ { "v" : {"a":[1.50]} , "k" : "℃" } ] , "devid" : "" } "#),
    );
    check(
        true,
        &of(r#"{"devid":"a","value":[{"k":"a","v":null},{"k":"a","v":1e400}]}"#),
    );
    check(
        true,
        r#"{"data":{"value":[],"devid":"a"},"event_type":"state_changed","type":"event","id":-9}"#,
    );
    for ordinary in [
        "true",
        " false ",
        "0",
        "-0",
        "-1",
        "1.0",
        "-1.5e-3",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "\"℃\"",
        r#""a\"b\ud800""#,
        "[{}]",
    ] {
        check(true, &value(ordinary));
    }
    let nested = |depth: usize| value(&("[".repeat(depth) + &"]".repeat(depth)));
    check(true, &nested(60));
    assert!(decode_from_gateway(nested(61).as_bytes()).is_err());
    for success in [
        r#"{"id":1,"type":"result","success":true}"#,
        r#"{"id":1,"type":"result","success":true,"result":null}"#,
        r#"{ "result" : [ {"a":"]"} , 1.0 ] , "success" : true , "type":"result", "id":1}"#,
    ] {
        check(true, success);
    }
    for unusual in [
        of(r#"{"devid":"a","value":[],"more":1}"#),
        of(r#"{"devid":"a","devid":"b","value":[]}"#),
        of(r#"{"devid":"\u0061","value":[]}"#),
        of(r#"{"devid":"a"}"#),
        of(r#"["a",[]]"#),
        of(r#"{"devid":"a","value":[["k",1]]}"#),
        of(r#"{"devid":"a","value":[{"k":"a"}]}"#),
        of(r#"{"devid":null,"value":[]}"#),
        of(r#"{"devid":"a","value":[]}"#).replace("\"id\":1", "\"id\":1.0"),
        of(r#"{"devid":"a","value":[]}"#).replace("state_", "State_"),
        r#"[1,"event","state_changed",{"devid":"a","value":[]}]"#.to_owned(),
        of(r#"{"devid":"a","value":[]}"#) + "x",
        r#"{"id":1,"type":"result","success":false,"error":{}}"#.to_owned(),
        r#"{"id":1,"type":"result","success":1}"#.to_owned(),
        r#"{"id":1,"type":"result"}"#.to_owned(),
        r#"{"id":1,"type":"result","success":true,"data":{"devid":"a","value":[]}}"#.to_owned(),
    ] {
        check(false, &unusual);
    }
}

#[test]
fn what_is_no_json_is_never_read_quickly() {
    let whole = r#"{"id":10,"type":"event","event_type":"state_changed","data":{"devid":"ab","value":[{"k":"a","v":true},{"k":"b","v":-12},{"k":"c","v":"x"}]}}"#;
    assert!(crate::wire::quick::from_gateway(whole).is_some());
    // Every byte left out, and replaced by each of those that mean something.
    for place in 0..whole.len() {
        for put in [
            "", "00", "\"", "\\", "\n", "{", "}", "[", "]", ",", ":", "-", ".", "e", " ", "\u{1}",
        ] {
            let text = format!("{}{put}{}", &whole[..place], &whole[place + 1..]);
            if let Some(message) = crate::wire::quick::from_gateway(&text) {
                let long = crate::wire::decode::decode_any(&text);
                assert_eq!(long, Ok((message, None)), "{text}");
            }
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    let readings = vec![
        reading("temp", "215"),
        reading("\"", "\"\\u2103\""),
        reading("", "[]"),
    ];
    for kind in [
        EventKind::RegistryUpdated {
            device: "a".into(),
            state: 0,
        },
        EventKind::OnlineUpdated {
            device: "\n".into(),
            online: false,
            readings: None,
        },
        EventKind::OnlineUpdated {
            device: "a".into(),
            online: true,
            readings: Some(readings.clone()),
        },
        EventKind::StateChanged {
            device: "a".into(),
            readings,
        },
    ] {
        let mut out = Vec::new();
        write_event(&mut out, i64::MAX, &kind);
        let expected = FromGateway::Event(Event { id: i64::MAX, kind });
        assert_eq!(message(std::str::from_utf8(&out).unwrap()), expected);
    }
}

#[test]
fn errors_and_their_details_are_read_back() {
    let details = vec![
        ErrorDetail {
            device: "a".into(),
            code_of: Some("switch".into()),
            code: ErrorCode::InvalidValue,
            message: "switch: 7 is \"odd\"".to_owned(),
        },
        ErrorDetail {
            device: "b".into(),
            code_of: None,
            code: ErrorCode::UnknownDevice,
            message: "no device b".to_owned(),
        },
    ];
    let error = ErrorBody::from_details(details).unwrap();
    let mut out = Vec::new();
    write_error(&mut out, 1, &error);
    let FromGateway::Reply {
        outcome: Err(remote),
        ..
    } = message(std::str::from_utf8(&out).unwrap())
    else {
        panic!("no error")
    };
    assert_eq!(
        (remote.code.as_str(), &remote.message),
        ("invalid_value", &error.message)
    );
    assert_eq!(
        remote.json,
        r#"{"code":"invalid_value","message":"switch: 7 is \"odd\"","details":[{"devid":"a","k":"switch","code":"invalid_value","message":"switch: 7 is \"odd\""},{"devid":"b","code":"unknown_device","message":"no device b"}]}"#
    );
}

#[test]
fn untidy_schemas_and_statuses_are_read_and_nothing_is_lost() {
    let point = r#"{"code":"a","type":"Enum","values":VALUES}"#;
    for values in [
        "\"{}\"",
        "\"not json\"",
        "{\"range\": [1]}",
        "null",
        "\"\\ud800\"",
        "1e400",
    ] {
        let point = point.replace("VALUES", values);
        let result = format!(r#"[{{"devid":"d","category":"kg","functions":[{point}]}}]"#);
        let entry = parse_schemas(&result).unwrap().remove(0);
        assert_eq!(entry.schema.functions()[0].values().json(), values);
    }
    let bare = parse_schemas(r#"[{"devid":"d","category":null,"x":1}]"#)
        .unwrap()
        .remove(0);
    assert!(bare.schema.functions().is_empty() && bare.schema.statuses().is_empty());
    let status = parse_statuses(r#"[{"devid":"d","online":1}]"#)
        .unwrap()
        .remove(0);
    assert!(status.online && status.readings.is_empty());
    assert_eq!(parse_devices("").unwrap(), []);
    assert!(
        parse_devices("{}")
            .unwrap_err()
            .to_string()
            .contains("result is an object")
    );
    assert_eq!(
        split_array(" [ {\"a\": 1} , 2 ] ").unwrap(),
        ["{\"a\": 1}", "2"]
    );
}
