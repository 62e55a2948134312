//! Whatever comes, nothing panics, every connection ends in a defined state, and what is understood
//! keeps its meaning.
//!
//! A failing case is printed with its seed and kept in `proptest-regressions/properties.txt`, which
//! belongs into the repository.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: helpers may fail, and virtual time starts somewhere"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_protocol::beacon::{Beacon, BeaconFrame, is_valid_uuid};
use hearthgate_protocol::connection::{
    ClientConfig, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use hearthgate_protocol::crypto::{ApiKey, DeviceKey, Nonce};
use hearthgate_protocol::model::{
    DataPoint, IntegerSpec, Reading, Schema, Spec, Value, check_write, compact,
};
use hearthgate_protocol::pair::Pair;
use hearthgate_protocol::token::TokenExchange;
use hearthgate_protocol::variants::{KeyForm, Wire};
use hearthgate_protocol::websocket::{Framer, Header, Item, Opcode};
use hearthgate_protocol::wire::{
    DeviceWrite, Event, EventKind, FromClient, FromGateway, Profile, Request, decode_from_client,
    decode_from_gateway, parse_devices, parse_schemas, parse_statuses, split_array, write_event,
    write_request,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;

fn config(cases: u32) -> ProptestConfig {
    let file = FileFailurePersistence::Direct("proptest-regressions/properties.txt");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(file)),
        ..ProptestConfig::default()
    }
}

/// Every kind of message, and a profile.
const MESSAGES: [&str; 14] = [
    r#"{"type":"auth_required","data":{"nonce":"VOHiQDnXJatfv4fBPyHvEw=="}}"#,
    r#"{"type":"auth","data":{"nonce":"RIf328KU8EHKP1tH3XAtTw==","hmac":"AA=="}}"#,
    r#"{"type":"auth_ok","data":{"hmac":"AA=="}}"#,
    r#"{"id":1,"type":"get_devices"}"#,
    r#"{"id":2,"type":"get_schema","data":["a","b"]}"#,
    r#"{"id":3,"type":"get_status","data":["a"]}"#,
    r#"{"id":4,"type":"set_value","data":[{"devid":"a","value":[{"k":"x","v":true},{"k":"y","v":1}]}]}"#,
    r#"{"id":1,"type":"result","success":true,"result":["a"]}"#,
    r#"{"id":2,"type":"result","success":true,"result":[{"devid":"a","category":"kg","function":[{"code":"x","type":"Integer","values":"{\"min\":0}"}],"status":[]}]}"#,
    r#"{"id":3,"type":"result","success":false,"error":{"code":"busy","message":"m","details":[{"devid":"a"}]}}"#,
    r#"{"id":9,"type":"event","event_type":"registry_updated","data":{"devid":"a","state":1}}"#,
    r#"{"id":9,"type":"event","event_type":"online_updated","data":{"devid":"a","state":true,"value":[{"k":"x","v":1}]}}"#,
    r#"{"id":9,"type":"event","event_type":"state_changed","data":{"devid":"a","value":[{"k":"x","v":1}]}}"#,
    r#"{"devid":"a","name":"n","category":"kg","function":[],"status":[{"code":"x","type":"Enum","values":"{}"}],"online":true,"value":[{"k":"x","v":"y"}]}"#,
];

/// Texts of JSON values, the ordinary and the odd.
fn json() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "1.0",
        "1e400",
        "-1e-400",
        "1.5",
        "\"\"",
        "[]",
        "{}",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "123456789012345678901234567890123456789",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\u0000\"",
        "\"1\"",
        "\"event\"",
        "\"result\"",
        "\"get_devices\"",
        "\"auth\"",
        "\"state_changed\"",
        "\"{\\\"min\\\":\\\"1\\\"}\"",
        "{\"\\ud800\":1}",
    ];
    let leaf = prop_oneof![
        4 => select(ODD).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_filter("JSON has no such", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        2 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    const NAMES: &[&str] = &[
        "id",
        "type",
        "data",
        "event_type",
        "devid",
        "value",
        "k",
        "v",
        "state",
        "success",
        "result",
        "error",
        "nonce",
        "hmac",
        "function",
        "values",
        "\\ud800",
        "i\\u0064",
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let field =
            (select(NAMES), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(field, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

/// A message with any JSON value in any one place, or with a doubled field there.
fn message() -> impl Strategy<Value = String> {
    let doubled = select(&["id", "type", "data", "devid", "k", "v", "x"][..]);
    let content = (json(), prop::option::weighted(0.2, (doubled, json())));
    (select(&MESSAGES[..]), any::<Index>(), content).prop_map(|(text, place, (value, doubled))| {
        let mut message: serde_json::Value = serde_json::from_str(text).unwrap();
        let count = count(&message);
        let mut left = place.index(count);
        replace(&mut message, &mut left);
        let value = match doubled {
            Some((name, second)) => format!("{value},\"{name}\":{second}"),
            None => value,
        };
        message.to_string().replace("\"@@\"", &value)
    })
}

fn count(value: &serde_json::Value) -> usize {
    1 + match value {
        serde_json::Value::Array(items) => items.iter().map(count).sum(),
        serde_json::Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts a mark in the place of the value that comes after `left` others.
fn replace(value: &mut serde_json::Value, left: &mut usize) -> bool {
    if *left == 0 {
        *value = "@@".into();
        return true;
    }
    *left -= 1;
    match value {
        serde_json::Value::Array(items) => items.iter_mut().any(|item| replace(item, left)),
        serde_json::Value::Object(fields) => fields.values_mut().any(|item| replace(item, left)),
        _ => false,
    }
}

/// Both ends before anything was exchanged, unencrypted, so that a test can say what it likes.
fn pair(wire: Wire) -> Pair {
    let key = DeviceKey::from_bytes([7; 16]);
    let mut gateway = GatewayConfig::new(key.clone());
    gateway.wire = wire;
    let mut client = ClientConfig::new(key, "gateway");
    client.accept_plain = true;
    Pair::new(gateway, client, 1, Instant::now())
}

fn connected(wire: Wire) -> Pair {
    let mut pair = pair(wire);
    pair.exchange();
    pair.gateway_events.clear();
    pair.client_events.clear();
    pair
}

fn frame(fin: bool, opcode: Opcode, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Header {
        fin,
        opcode,
        mask: masked.then_some([0; 4]),
        payload: payload.len() as u64,
    }
    .write(&mut out);
    out.extend_from_slice(payload);
    out
}

/// Whatever happened, both ends are where they can be and stay there.
fn check_defined(pair: &mut Pair) {
    pair.run_for(Duration::from_secs(200));
    let ends = pair
        .gateway_events
        .iter()
        .filter(|e| matches!(e, GatewayEvent::Ended(_)))
        .count();
    let failed = pair
        .gateway_events
        .iter()
        .any(|e| matches!(e, GatewayEvent::AuthenticationFailed(_)));
    assert_eq!(
        pair.gateway.is_ended(),
        ends + usize::from(failed) == 1,
        "{:?}",
        pair.gateway_events
    );
    let ends = pair
        .client_events
        .iter()
        .filter(|e| matches!(e, ClientEvent::Ended(_)))
        .count();
    assert_eq!(pair.client.is_ended(), ends == 1);
    assert_eq!(
        pair.gateway.is_ended(),
        pair.gateway.poll_timeout().is_none()
    );
    assert_eq!(pair.client.is_ended(), pair.client.poll_timeout().is_none());
    // One that ended does nothing more; of two that did not, both are authenticated.
    assert_eq!(pair.client.is_ended(), pair.gateway.is_ended());
    assert_eq!(pair.client.is_authenticated(), !pair.client.is_ended());
    assert_eq!(pair.gateway.is_authenticated(), !pair.gateway.is_ended());
}

fn inject_to_gateway(pair: &mut Pair, text: &str) {
    pair.to_gateway.inject(
        pair.now(),
        &frame(true, Opcode::Text, text.as_bytes(), true),
    );
    pair.exchange();
}

fn inject_to_client(pair: &mut Pair, text: &str) {
    pair.to_client.inject(
        pair.now(),
        &frame(true, Opcode::Text, text.as_bytes(), false),
    );
    pair.exchange();
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn a_gateway_answers_any_message_and_goes_on(text in message()) {
        let mut pair = connected(Wire::Plain);
        inject_to_gateway(&mut pair, &text);
        prop_assert!(pair.gateway_events.len() <= 1);
        if let Ok(parsed) = serde_json::from_str::<serde_json::Value>(&text)
            && let Some(GatewayEvent::Invalid { id, .. }) = pair.gateway_events.first()
        {
            prop_assert_eq!(*id, parsed["id"].as_i64().unwrap_or(0));
        }
        prop_assert!(pair.gateway.is_authenticated());
        pair.gateway_events.clear();
        inject_to_gateway(&mut pair, MESSAGES[3]);
        prop_assert_eq!(pair.gateway_events.len(), 1);
        check_defined(&mut pair);
    }

    #[test]
    fn a_client_takes_any_object_and_goes_on(text in message()) {
        let mut pair = connected(Wire::Plain);
        inject_to_client(&mut pair, &text);
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok() {
            prop_assert!(pair.client.is_authenticated());
        }
        check_defined(&mut pair);
    }

    #[test]
    fn any_message_in_the_handshake_ends_it_or_is_the_right_one(
        text in message(), to_client in any::<bool>(), before in any::<bool>(),
    ) {
        let mut pair = pair(Wire::Plain);
        if to_client {
            // In front of `auth_required`, or in place of `auth_ok`.
            pair.to_gateway.stalled = !before;
            pair.to_client.stalled = before;
            pair.exchange();
            pair.to_gateway.stalled = false;
            pair.to_client.stalled = false;
            inject_to_client(&mut pair, &text);
        } else {
            pair.to_client.stalled = true;
            pair.exchange();
            inject_to_gateway(&mut pair, &text);
            pair.to_client.stalled = false;
        }
        check_defined(&mut pair);
    }

    #[test]
    fn the_readers_of_answers_and_files_take_any_text(text in message(), value in json()) {
        for text in [&text, &value] {
            let _ = parse_devices(text);
            let _ = parse_schemas(text);
            let _ = parse_statuses(text);
            let _ = split_array(text);
            let _ = Profile::parse(text);
            let _ = Beacon::decode(text.as_bytes());
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_from_client(&bytes);
        let _ = decode_from_gateway(&bytes);
        let _ = DeviceKey::parse_file(&bytes, KeyForm::Ascii);
        let _ = Profile::parse(&String::from_utf8_lossy(&bytes));
        if let Ok((beacon, _)) = Beacon::decode(&bytes) {
            prop_assert!(is_valid_uuid(&beacon.uuid));
        }
    }

    #[test]
    fn an_advertisement_survives_every_frame_and_any_damage_is_no_panic(
        uuid in "[ -~]{1,64}", port in 1..=u16::MAX, frame in select(&BeaconFrame::ALL[..]),
        damage in any::<(Index, u8)>(),
    ) {
        let beacon = Beacon { uuid, port };
        let mut packet = beacon.encode(frame);
        prop_assert_eq!(Beacon::decode(&packet), Ok((beacon, frame)));
        let place = damage.0.index(packet.len());
        packet[place] = damage.1;
        let _ = Beacon::decode(&packet);
    }

    #[test]
    fn values_and_their_compact_form_keep_their_meaning(text in json()) {
        let value = Value::parse(&text).unwrap();
        prop_assert_eq!(value.json(), text.as_str());
        prop_assert_eq!(Value::parse(&value.json()).unwrap(), value);
        let tight = compact(&text);
        prop_assert!(Value::parse(&tight).is_ok());
        prop_assert_eq!(compact(&tight), tight.as_str());
        if let Ok(meaning) = serde_json::from_str::<serde_json::Value>(&text) {
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&tight).unwrap(), meaning);
        }
    }

    #[test]
    fn writes_are_checked_and_shown_without_panic(
        kind in select(&["Boolean", "Integer", "Enum", "String", "Json", "Raw", "Bitmap", "Odd"][..]),
        declared in prop::collection::vec(
            (select(&["min", "max", "step", "scale", "unit", "range", "maxlen", "label"][..]), json()),
            0..5,
        ),
        value in json(), input in any::<String>(), strict in any::<bool>(), verbatim in any::<bool>(),
    ) {
        let fields: Vec<String> =
            declared.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let object = format!("{{{}}}", fields.join(","));
        let values = if verbatim { Value::parse(&object).unwrap() } else { Value::from(&*object) };
        let point = DataPoint::new("dp", kind, values.clone());
        prop_assert_eq!(point.values(), &values);
        let value = Value::parse(&value).unwrap();
        let _ = point.spec().display(&value);
        let _ = point.spec().parse_input(&input);
        let _ = point.spec().parse_input(&value.json());
        let schema = Schema::new("kg", vec![point], Vec::new());
        let _ = check_write(&schema, "dp", &value, strict);
    }

    #[test]
    fn flags_are_read_as_they_are_shown(
        labels in prop::collection::vec("[a-z0-9 ,]{0,4}|bit[0-9]{1,2}|none", 0..6), flags in any::<i64>(),
        few in 0i64..64,
    ) {
        let labels: Vec<Box<str>> = labels.into_iter().map(String::into_boxed_str).collect();
        let spec = Spec::Bitmap { labels, bits: None };
        for flags in [flags, few] {
            let shown = spec.display(&Value::from(flags));
            prop_assert_eq!(spec.parse_input(&shown), Ok(Value::from(flags)), "{}", shown);
        }
    }

    #[test]
    fn scaling_is_exact_both_ways(number in any::<i64>(), scale in 0u32..=18) {
        let spec = IntegerSpec { scale, ..IntegerSpec::default() };
        let shown = spec.scaled(&Value::from(number)).unwrap();
        prop_assert_eq!(spec.unscaled(&shown.to_string()), Ok(Value::from(number)));
        prop_assert_eq!(spec.unscaled(&format!("{number}e-{scale}")), Ok(Value::from(number)));
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant(
        id in any::<i64>(), devices in prop::collection::vec(any::<String>(), 0..4),
        points in prop::collection::vec((any::<String>(), json()), 0..4), state in any::<bool>(),
    ) {
        let readings: Vec<Reading> = points
            .iter()
            .map(|(code, value)| Reading::new(&**code, Value::parse(value).unwrap()))
            .collect();
        let ids: Vec<_> = devices.iter().map(|id| (&**id).into()).collect();
        let write = |device: &String| DeviceWrite {
            device: (&**device).into(),
            readings: readings.clone(),
        };
        for request in [
            Request::GetSchema(ids.clone()),
            Request::GetStatus(ids),
            Request::SetValue(devices.iter().map(write).collect()),
        ] {
            let mut out = Vec::new();
            write_request(&mut out, id, &request);
            prop_assert_eq!(decode_from_client(&out), FromClient::Request { id, request });
        }
        let device = || devices.first().map_or("d", |id| id).into();
        for kind in [
            EventKind::RegistryUpdated { device: device(), state: id },
            EventKind::OnlineUpdated { device: device(), online: state, readings: None },
            EventKind::OnlineUpdated { device: device(), online: state, readings: Some(readings.clone()) },
            EventKind::StateChanged { device: device(), readings: readings.clone() },
        ] {
            let mut out = Vec::new();
            write_event(&mut out, id, &kind);
            let expected = FromGateway::Event(Event { id, kind });
            prop_assert_eq!(decode_from_gateway(&out), Ok((expected, None)));
        }
    }
}

/// Frames of any kind, mostly well formed.
fn frames() -> impl Strategy<Value = Vec<(bool, Opcode, Vec<u8>)>> {
    let opcode = select(
        &[
            Opcode::Continuation,
            Opcode::Text,
            Opcode::Binary,
            Opcode::Close,
            Opcode::Ping,
            Opcode::Pong,
        ][..],
    );
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..130),
        message().prop_map(String::into_bytes),
    ];
    prop::collection::vec((prop::bool::weighted(0.8), opcode, payload), 0..8)
}

/// Cuts a stream at the given places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

fn items(pieces: &[&[u8]]) -> Vec<String> {
    let mut framer = Framer::new(false, 300);
    let mut seen = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_item() {
                Ok(Some(Item::Close { code, reason })) => {
                    seen.push(format!("{code:?} {reason}"));
                    return seen;
                }
                Ok(Some(item)) => seen.push(format!("{item:?}")),
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    seen
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn any_frames_leave_both_ends_defined(
        frames in frames(), wire in select(Wire::ALL), to_client in any::<bool>(), ready in any::<bool>(),
        delay in 0u64..20_000,
    ) {
        let mut pair = if ready { connected(wire) } else { pair(wire) };
        let link = if to_client { &mut pair.to_client } else { &mut pair.to_gateway };
        link.split = true;
        link.delay = Duration::from_millis(delay);
        let now = pair.now();
        for (fin, opcode, payload) in frames {
            let frame = frame(fin, opcode, &payload, !to_client);
            let link = if to_client { &mut pair.to_client } else { &mut pair.to_gateway };
            link.inject(now, &frame);
        }
        check_defined(&mut pair);
    }

    #[test]
    fn a_token_endpoint_may_say_anything_in_any_pieces(
        start in select(&[
            "", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n",
        ][..]),
        json in any::<bool>(), rest in prop::collection::vec(any::<u8>(), 0..100),
        cuts in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        let mut bytes = start.as_bytes().to_vec();
        if json {
            bytes.extend_from_slice(br#"{"access_token":"a","refresh_token":"rrrrr","expires_in":60}"#);
        }
        bytes.extend_from_slice(&rest);
        let whole = TokenExchange::default().handle(&bytes);
        let mut exchange = TokenExchange::default();
        let mut outcome = Ok(None);
        for piece in pieces(&bytes, &cuts) {
            outcome = exchange.handle(piece);
            if outcome != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(&whole, &outcome);
        if outcome == Ok(None) {
            let _ = exchange.handle_eof();
        }
    }

    #[test]
    fn a_gateway_of_2023_is_told_the_same_in_any_pieces(
        head in select(&[
            "GET /api/v1/token HTTP/1.1\r\nAuthorization: Bearer k\r\n\r\n",
            "GET /api/v1/token/refresh HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "\x15",
        ][..]),
        rest in prop::collection::vec(any::<u8>(), 0..100),
        cuts in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(&rest);
        let now = Instant::now();
        let told = |cut: &[&[u8]]| {
            let key = ApiKey::parse("k").unwrap();
            let config = Arc::new(GatewayConfig::new(key));
            let mut gateway = GatewayConnection::new(config, Nonce::new([1; 16]), now);
            for piece in cut {
                gateway.handle_input(now, piece);
                if let Some(event) = gateway.poll_event(now) {
                    return Some(event);
                }
            }
            None
        };
        prop_assert_eq!(told(&[&bytes]), told(&pieces(&bytes, &cuts)));
    }

    #[test]
    fn any_bytes_leave_both_ends_defined(
        bytes in prop::collection::vec(any::<u8>(), 1..300), wire in select(Wire::ALL),
        to_client in any::<bool>(), exchange in any::<bool>(),
    ) {
        let mut pair = if exchange { connected(wire) } else { pair(wire) };
        let now = pair.now();
        let link = if to_client { &mut pair.to_client } else { &mut pair.to_gateway };
        link.inject(now, &bytes);
        // Half of a frame would wait for the rest, which pings would seem to be.
        pair.to_client.stalled = to_client;
        pair.exchange();
        pair.cut();
        pair.to_client.stalled = false;
        check_defined(&mut pair);
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_are_split(
        frames in frames(), cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(fin, opcode, payload)| frame(*fin, *opcode, payload, false))
            .collect();
        prop_assert_eq!(items(&pieces(&bytes, &cuts)), items(&[&bytes]));
    }

    #[test]
    fn a_conversation_is_the_same_however_bytes_and_time_are_split(
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        waits in prop::collection::vec(0u64..1500, 14), messages in prop::collection::vec(message(), 0..5),
    ) {
        // What a client says, from the upgrade on, as one stream of bytes.
        let mut told = pair(Wire::Plain);
        let mut script = Vec::new();
        while !told.client.is_authenticated() {
            let output = told.client.take_output();
            script.extend_from_slice(&output);
            told.gateway.handle_input(told.now(), &output);
            while told.gateway.poll_event(told.now()).is_some() {}
            let answer = told.gateway.take_output();
            told.client.handle_input(told.now(), &answer);
            while told.client.poll_event(told.now()).is_some() {}
        }
        for text in &messages {
            script.extend(frame(true, Opcode::Text, text.as_bytes(), true));
        }
        let listen = |pieces: &[&[u8]], waits: &[u64]| {
            let mut pair = pair(Wire::Plain);
            let mut now = pair.now();
            let mut events = Vec::new();
            for (piece, wait) in pieces.iter().zip(waits) {
                pair.gateway.handle_timeout(now);
                pair.gateway.handle_input(now, piece);
                while let Some(event) = pair.gateway.poll_event(now) {
                    events.push(event);
                }
                now += Duration::from_millis(*wait);
            }
            (events, pair.gateway.take_output())
        };
        let whole = listen(&[&script], &[0]);
        let pieces = pieces(&script, &cuts);
        let waits: Vec<u64> = waits.iter().map(|wait| wait / 3).collect();
        prop_assert_eq!(listen(&pieces, &waits), whole);
    }
}
