//! Every vector of `data/vectors.json`, made by an independent implementation, byte for byte, by way
//! of real connections.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: helpers may fail, and virtual time starts somewhere"
)]

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::connection::{
    ClientConfig, ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use hearthgate_protocol::crypto::{ClientEntropy, DeviceKey, Nonce, prove};
use hearthgate_protocol::model::{
    DataPoint, Device, DeviceId, Reading, Schema, Source, Stamp, Timestamp, Value,
};
use hearthgate_protocol::variants::{KeyForm, Variants, Wire};
use hearthgate_protocol::websocket::{Framer, Header, Item, Opcode};
use hearthgate_protocol::wire::{
    ErrorBody, ErrorCode, EventKind, Request, write_error, write_event, write_request,
    write_result_devices, write_result_schemas, write_result_statuses, write_success,
};
use serde_json::Value as Json;

const WIRES: [Wire; 2] = [Wire::Binary, Wire::Base64];

fn vectors() -> Json {
    serde_json::from_str(include_str!("data/vectors.json")).unwrap()
}

fn text<'a>(vector: &'a Json, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

fn named<'a>(list: &'a Json, name: &str) -> &'a Json {
    let mut all = list.as_array().unwrap().iter();
    all.find(|vector| vector["name"] == name).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

fn device_key(vectors: &Json) -> DeviceKey {
    DeviceKey::parse(text(vectors, "device_key"), KeyForm::Ascii).unwrap()
}

fn nonce(vectors: &Json, name: &str) -> [u8; 16] {
    STANDARD
        .decode(text(vectors, name))
        .unwrap()
        .try_into()
        .unwrap()
}

/// What a vector's message looks like in a WebSocket message: whether it is text, and its content.
fn payload(vector: &Json, wire: Wire) -> (bool, Vec<u8>) {
    match wire {
        Wire::Binary => (false, hex(text(vector, "ciphertext_hex"))),
        Wire::Base64 => (true, text(vector, "ciphertext_base64").as_bytes().to_vec()),
        Wire::Plain => (true, text(vector, "plaintext").as_bytes().to_vec()),
    }
}

/// A frame as a client sends it, under a mask that changes nothing.
fn client_frame((is_text, payload): (bool, Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    Header {
        fin: true,
        opcode: if is_text {
            Opcode::Text
        } else {
            Opcode::Binary
        },
        mask: Some([0; 4]),
        payload: payload.len() as u64,
    }
    .write(&mut out);
    out.extend(payload);
    out
}

/// Both ends with the nonces of the vectors, and what was said between them.
struct Talk {
    gateway: GatewayConnection,
    client: ClientConnection,
    from_gateway: Framer,
    from_client: Framer,
    now: Instant,
}

impl Talk {
    fn new(vectors: &Json, wire: Wire) -> Self {
        let now = Instant::now();
        let mut gateway = GatewayConfig::new(device_key(vectors));
        gateway.wire = wire;
        let nonce_s = Nonce::new(nonce(vectors, "nonce_s_base64"));
        let entropy = ClientEntropy {
            nonce: nonce(vectors, "nonce_c_base64"),
            websocket_key: [3; 16],
            mask_seed: [4; 16],
        };
        let client = ClientConfig::new(device_key(vectors), "gateway");
        let mut talk = Self {
            gateway: GatewayConnection::new(Arc::new(gateway), nonce_s, now),
            client: ClientConnection::new(client, entropy, now),
            from_gateway: Framer::new(false, 1 << 20),
            from_client: Framer::new(true, 1 << 20),
            now,
        };
        talk.gateway.handle_input(now, &talk.client.take_output());
        talk
    }

    /// Passes the HTTP answer on; the message behind it stays for [`Talk::gateway_says`].
    fn pass_upgrade(&mut self) {
        let output = self.gateway.output().to_vec();
        let end = output
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        self.client.handle_input(self.now, &output[..end]);
        self.gateway.advance_output(end);
    }

    fn gateway_says(&mut self) -> (bool, Vec<u8>) {
        let output = self.gateway.take_output();
        self.client.handle_input(self.now, &output);
        one_message(&mut self.from_gateway, &output)
    }

    fn client_says(&mut self) -> (bool, Vec<u8>) {
        let output = self.client.take_output();
        self.gateway.handle_input(self.now, &output);
        one_message(&mut self.from_client, &output)
    }

    fn authenticate(&mut self) {
        self.pass_upgrade();
        self.gateway_says();
        assert_eq!(self.client.poll_event(self.now), None);
        self.client_says();
        assert_eq!(
            self.gateway.poll_event(self.now),
            Some(GatewayEvent::Authenticated)
        );
        self.gateway_says();
        assert_eq!(
            self.client.poll_event(self.now),
            Some(ClientEvent::Authenticated)
        );
    }
}

fn one_message(framer: &mut Framer, bytes: &[u8]) -> (bool, Vec<u8>) {
    framer.push(bytes);
    let message = match framer.next_item() {
        Ok(Some(Item::Message { text, payload })) => (text, payload.to_vec()),
        other => panic!("{other:?}"),
    };
    assert_eq!(framer.buffered(), 0);
    message
}

#[test]
fn proofs() {
    let vectors = vectors();
    let check = |key: &DeviceKey, nonce_name: &str, hmac: &str| {
        let proof = prove(
            key,
            &Nonce::new(nonce(&vectors, nonce_name)),
            Variants::default(),
        );
        assert_eq!(proof.to_base64(), hmac);
    };
    let key = device_key(&vectors);
    check(
        &key,
        "nonce_s_base64",
        text(&vectors, "hmac_of_nonce_s_base64"),
    );
    check(
        &key,
        "nonce_c_base64",
        text(&vectors, "hmac_of_nonce_c_base64"),
    );
    let hexadecimal = &vectors["hexadecimal_key"];
    let key = DeviceKey::parse(text(hexadecimal, "device_key"), KeyForm::Ascii).unwrap();
    check(
        &key,
        "nonce_s_base64",
        text(hexadecimal, "hmac_of_nonce_s_base64"),
    );
}

#[test]
fn the_handshake() {
    let vectors = vectors();
    let handshake = &vectors["handshake"];
    assert_eq!(handshake.as_array().unwrap().len(), 3);
    for wire in [Wire::Binary, Wire::Base64] {
        let mut talk = Talk::new(&vectors, wire);
        talk.pass_upgrade();
        assert_eq!(
            talk.gateway_says(),
            payload(named(handshake, "auth_required"), wire)
        );
        assert_eq!(talk.client.poll_event(talk.now), None);
        assert_eq!(talk.client_says(), payload(named(handshake, "auth"), wire));
        assert_eq!(
            talk.gateway.poll_event(talk.now),
            Some(GatewayEvent::Authenticated)
        );
        assert_eq!(
            talk.gateway_says(),
            payload(named(handshake, "auth_ok"), wire)
        );
        assert_eq!(
            talk.client.poll_event(talk.now),
            Some(ClientEvent::Authenticated)
        );
    }
}

/// Writes a message under an id.
type Writer = dyn Fn(&mut Vec<u8>, i64);

/// What a vector of a session says.
enum Said {
    Request(Request),
    ByGateway(Box<Writer>),
}

/// Says with our types what a vector says.
fn said(name: &str) -> Said {
    let device = || DeviceId::from("000d6ffffe67e2ca");
    let switch = |on: bool| Reading::new("switch_1", Value::from(on));
    let event =
        |kind: EventKind| Said::ByGateway(Box::new(move |out, id| write_event(out, id, &kind)));
    match name {
        "get_devices request" => Said::Request(Request::GetDevices),
        "whole blocks: the plaintext is 32 bytes, so a full block of padding follows" => {
            Said::Request(Request::GetDevices)
        }
        "get_schema request" => Said::Request(Request::GetSchema(vec![device()])),
        "get_status request" => Said::Request(Request::GetStatus(vec![device()])),
        "set_value request" => {
            let write = hearthgate_protocol::wire::DeviceWrite {
                device: device(),
                readings: vec![switch(true)],
            };
            Said::Request(Request::SetValue(vec![write]))
        }
        "get_devices result" => Said::ByGateway(Box::new(|out, id| {
            let ids = [
                "000d6ffffe67e2ca",
                "a4c1380bb1d2f0d5",
                "a4c1385acafc01b5",
                "a4c138e72a0fb5a9",
                "a4c138807e3b1182",
            ];
            let devices = ids.map(|id| self::device(id, Vec::new()));
            write_result_devices(out, id, &devices);
        })),
        "get_schema result" => Said::ByGateway(Box::new(|out, id| {
            write_result_schemas(out, id, [&self::device("000d6ffffe67e2ca", Vec::new())]);
        })),
        "get_status result" => Said::ByGateway(Box::new(move |out, id| {
            write_result_statuses(
                out,
                id,
                [&self::device("000d6ffffe67e2ca", vec![switch(true)])],
            );
        })),
        "set_value result" => Said::ByGateway(Box::new(write_success)),
        "error result" => Said::ByGateway(Box::new(|out, id| {
            let error = ErrorBody::new(ErrorCode::UnknownDevice, "no device ffffffffffffffff");
            write_error(out, id, &error);
        })),
        "registry_updated event" => event(EventKind::RegistryUpdated {
            device: device(),
            state: 1,
        }),
        "state_changed event" => event(EventKind::StateChanged {
            device: device(),
            readings: vec![switch(true)],
        }),
        "online_updated event" => event(EventKind::OnlineUpdated {
            device: device(),
            online: true,
            readings: None,
        }),
        "online_updated event with values" => event(EventKind::OnlineUpdated {
            device: device(),
            online: true,
            readings: Some(vec![
                switch(false),
                Reading::new("countdown_1", Value::from(60)),
            ]),
        }),
        "not ASCII" => event(EventKind::StateChanged {
            device: "a4c1380bb1d2f0d5".into(),
            readings: vec![
                Reading::new("temp_unit", Value::from("摄氏度")),
                Reading::new("label", Value::from("Küche ℃")),
            ],
        }),
        other => panic!("a vector that no test knows: {other}"),
    }
}

fn device(id: &str, readings: Vec<Reading>) -> Device {
    let points = || {
        let countdown = r#"{"unit":"s","min":0,"max":43200,"scale":0,"step":1}"#;
        vec![
            DataPoint::new("switch_1", "Boolean", Value::from("{}")),
            DataPoint::new("countdown_1", "Integer", Value::from(countdown)),
        ]
    };
    let schema = Arc::new(Schema::new("kg", points(), points()));
    let confirmed = Stamp {
        at: Timestamp(0),
        source: Source::Cache,
    };
    Device::new(id.into(), schema, true, readings, confirmed)
}

#[test]
fn the_session() {
    let vectors = vectors();
    for wire in WIRES {
        for vector in vectors["session"].as_array().unwrap() {
            let name = text(vector, "name");
            let json: Json = serde_json::from_str(text(vector, "plaintext")).unwrap();
            let id = json["id"].as_i64().unwrap();
            let mut talk = Talk::new(&vectors, wire);
            talk.authenticate();
            match said(name) {
                Said::Request(request) => {
                    let mut plaintext = Vec::new();
                    write_request(&mut plaintext, id, &request);
                    assert_eq!(plaintext, text(vector, "plaintext").as_bytes(), "{name}");
                    talk.client.send_request(id, &request);
                    assert_eq!(talk.client_says(), payload(vector, wire), "{name}");
                    let event = talk.gateway.poll_event(talk.now);
                    assert_eq!(event, Some(GatewayEvent::Request { id, request }), "{name}");
                }
                Said::ByGateway(write) => {
                    let mut plaintext = Vec::new();
                    write(&mut plaintext, id);
                    assert_eq!(plaintext, text(vector, "plaintext").as_bytes(), "{name}");
                    talk.gateway.send(&plaintext);
                    assert_eq!(talk.gateway_says(), payload(vector, wire), "{name}");
                    match talk.client.poll_event(talk.now) {
                        Some(ClientEvent::Event { event, .. }) => assert_eq!(event.id, id),
                        Some(ClientEvent::Reply { id: found, .. }) => assert_eq!(found, id),
                        other => panic!("{name}: {other:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn what_must_be_rejected() {
    let vectors = vectors();
    let cases = vectors["reject"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let name = text(case, "name");
        let mut talk = Talk::new(&vectors, Wire::Binary);
        talk.pass_upgrade();
        talk.gateway_says();
        let frame = client_frame((false, hex(text(case, "ciphertext_hex"))));
        talk.gateway.handle_input(talk.now, &frame);
        let event = talk.gateway.poll_event(talk.now);
        assert!(
            matches!(event, Some(GatewayEvent::AuthenticationFailed(_))),
            "{name}: {event:?}"
        );
        assert!(talk.gateway.output().is_empty(), "{name}");
        talk.gateway.reject();
        // A close frame, 1008, the one reason, and nothing else.
        let close = [b"\x88\x17\x03\xf0", &b"authentication failed"[..]].concat();
        assert_eq!(talk.gateway.take_output(), close, "{name}");
        assert!(talk.gateway.is_ended(), "{name}");
    }
}
