//! Our WebSocket against an independent one, `tungstenite`: the upgrade and frames, both ways.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test: helpers may fail, and virtual time starts somewhere"
)]

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Result, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hearthgate_protocol::connection::{
    ClientConfig, ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use hearthgate_protocol::crypto::{ClientEntropy, DeviceKey, Nonce, prove};
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::variants::{Variants, Wire};
use hearthgate_protocol::websocket::{Framer, Header, Item, Opcode};
use hearthgate_protocol::wire::Request;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{HandshakeError, Message, WebSocket};

/// What `tungstenite` takes for a socket; the test holds the other end of it.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    unread: Vec<u8>,
    written: Vec<u8>,
}

impl Pipe {
    fn give(&self, bytes: &[u8]) {
        self.0.borrow_mut().unread.extend_from_slice(bytes);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().written)
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut ends = self.0.borrow_mut();
        if ends.unread.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        // An odd number of bytes at a time.
        let size = buffer.len().min(ends.unread.len()).min(4093);
        buffer[..size].copy_from_slice(&ends.unread[..size]);
        ends.unread.drain(..size);
        Ok(size)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.borrow_mut().written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn nonce_s() -> Nonce {
    Nonce::new([1; 16])
}

fn nonce_c() -> Nonce {
    Nonce::new([2; 16])
}

fn key() -> DeviceKey {
    DeviceKey::from_bytes([7; 16])
}

fn proof(nonce: Nonce) -> String {
    prove(&key(), &nonce, Variants::default()).to_base64()
}

/// Our client, authenticated by a server of theirs.
fn our_client() -> (ClientConnection, WebSocket<Pipe>, Pipe) {
    let mut config = ClientConfig::new(key(), "gateway:8433");
    config.wire = Some(Wire::Plain);
    let entropy = ClientEntropy {
        nonce: [2; 16],
        websocket_key: [3; 16],
        mask_seed: [4; 16],
    };
    let mut client = ClientConnection::new(config, entropy, Instant::now());
    let pipe = Pipe::default();
    pipe.give(&client.take_output());
    let mut server = tungstenite::accept(pipe.clone()).unwrap();
    let nonce = nonce_s().to_base64();
    say(
        &mut server,
        &format!(r#"{{"type":"auth_required","data":{{"nonce":"{nonce}"}}}}"#),
    );
    assert_eq!(hear_client(&mut client, &pipe), []);
    let auth = server.read().unwrap();
    let (nonce, hmac) = (nonce_c().to_base64(), proof(nonce_s()));
    let expected = format!(r#"{{"type":"auth","data":{{"nonce":"{nonce}","hmac":"{hmac}"}}}}"#);
    assert_eq!(auth, Message::text(expected));
    let hmac = proof(nonce_c());
    say(
        &mut server,
        &format!(r#"{{"type":"auth_ok","data":{{"hmac":"{hmac}"}}}}"#),
    );
    assert_eq!(
        hear_client(&mut client, &pipe),
        [ClientEvent::Authenticated]
    );
    (client, server, pipe)
}

/// Our gateway, to which a client of theirs has authenticated.
fn our_gateway() -> (GatewayConnection, WebSocket<Pipe>, Pipe) {
    let mut config = GatewayConfig::new(key());
    config.wire = Wire::Plain;
    let mut gateway = GatewayConnection::new(Arc::new(config), nonce_s(), Instant::now());
    let pipe = Pipe::default();
    let Err(HandshakeError::Interrupted(asked)) =
        tungstenite::client("ws://gateway/any?path", pipe.clone())
    else {
        panic!("no answer was given yet")
    };
    assert_eq!(hear_gateway(&mut gateway, &pipe), []);
    let (mut client, response) = asked.handshake().unwrap();
    assert_eq!(response.status(), 101);
    assert!(!response.headers().contains_key("Sec-WebSocket-Extensions"));
    assert!(
        client
            .read()
            .unwrap()
            .to_text()
            .unwrap()
            .contains("auth_required")
    );
    let (nonce, hmac) = (nonce_c().to_base64(), proof(nonce_s()));
    say(
        &mut client,
        &format!(r#"{{"type":"auth","data":{{"nonce":"{nonce}","hmac":"{hmac}"}}}}"#),
    );
    assert_eq!(
        hear_gateway(&mut gateway, &pipe),
        [GatewayEvent::Authenticated]
    );
    assert!(
        client
            .read()
            .unwrap()
            .to_text()
            .unwrap()
            .contains("auth_ok")
    );
    (gateway, client, pipe)
}

fn say(socket: &mut WebSocket<Pipe>, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

fn hear_client(client: &mut ClientConnection, pipe: &Pipe) -> Vec<ClientEvent> {
    let now = Instant::now();
    client.handle_input(now, &pipe.take());
    let events = std::iter::from_fn(|| client.poll_event(now)).collect();
    pipe.give(&client.take_output());
    events
}

fn hear_gateway(gateway: &mut GatewayConnection, pipe: &Pipe) -> Vec<GatewayEvent> {
    let now = Instant::now();
    gateway.handle_input(now, &pipe.take());
    let events = std::iter::from_fn(|| gateway.poll_event(now)).collect();
    pipe.give(&gateway.take_output());
    events
}

/// Around the places where a frame's length takes another form.
const SIZES: [usize; 7] = [40, 125, 126, 127, 65_535, 65_536, 300_000];

#[test]
fn messages_of_any_size_travel_between_our_client_and_their_server() {
    let (mut client, mut server, pipe) = our_client();
    for size in SIZES {
        let devices = vec!["x".repeat(size).as_str().into()];
        client.send_request(1, &Request::GetStatus(devices));
        pipe.give(&client.take_output());
        let heard = server.read().unwrap();
        let text = heard.to_text().unwrap();
        assert!(text.ends_with("xxxx\"]}") && text.len() > size);

        let result = format!("\"{}\"", "y".repeat(size));
        say(
            &mut server,
            &format!(r#"{{"id":1,"type":"result","success":true,"result":{result}}}"#),
        );
        let reply = ClientEvent::Reply {
            id: 1,
            outcome: Ok(result),
        };
        assert_eq!(hear_client(&mut client, &pipe), [reply]);
    }
}

#[test]
fn messages_of_any_size_travel_between_their_client_and_our_gateway() {
    let (mut gateway, mut client, pipe) = our_gateway();
    for size in SIZES {
        let pad = " ".repeat(size);
        say(
            &mut client,
            &format!(r#"{{"id":1,"type":"get_devices"}}{pad}"#),
        );
        let asked = GatewayEvent::Request {
            id: 1,
            request: Request::GetDevices,
        };
        assert_eq!(hear_gateway(&mut gateway, &pipe), [asked]);

        gateway.send(pad.as_bytes());
        pipe.give(&gateway.take_output());
        assert_eq!(client.read().unwrap(), Message::text(pad));
    }
}

#[test]
fn fragments_and_the_pings_between_them_are_understood() {
    let part = |text: &str, data: Data, last: bool| {
        Message::Frame(Frame::message(text.to_owned(), OpCode::Data(data), last))
    };
    let script = || {
        [
            part(r#"{"id":5,"#, Data::Text, false),
            Message::Ping("between".into()),
            part(r#""type":"#, Data::Continue, false),
            part("", Data::Continue, false),
            part(r#""get_devices"}"#, Data::Continue, true),
        ]
    };
    let (mut gateway, mut client, pipe) = our_gateway();
    script()
        .into_iter()
        .for_each(|message| client.send(message).unwrap());
    let asked = GatewayEvent::Request {
        id: 5,
        request: Request::GetDevices,
    };
    assert_eq!(hear_gateway(&mut gateway, &pipe), [asked]);
    assert_eq!(client.read().unwrap(), Message::Pong("between".into()));

    let (mut client, mut server, pipe) = our_client();
    script()
        .into_iter()
        .for_each(|message| server.send(message).unwrap());
    assert_eq!(hear_client(&mut client, &pipe), []);
    assert_eq!(server.read().unwrap(), Message::Pong("between".into()));
    let refusal = server.read().unwrap();
    assert!(refusal.to_text().unwrap().contains("unknown_type"));
}

#[test]
fn a_close_of_either_side_is_understood_by_the_other() {
    let frame = || CloseFrame {
        code: CloseCode::Away,
        reason: "bye ℃".into(),
    };
    let told = Ended::Peer {
        code: Some(1001),
        reason: "bye ℃".to_owned(),
    };
    let (mut gateway, mut client, pipe) = our_gateway();
    client.close(Some(frame())).unwrap();
    assert_eq!(
        hear_gateway(&mut gateway, &pipe),
        [GatewayEvent::Ended(told.clone())]
    );
    let answer = client.read().unwrap();
    assert!(matches!(
        answer,
        Message::Close(Some(CloseFrame {
            code: CloseCode::Away,
            ..
        }))
    ));

    let (mut client, mut server, pipe) = our_client();
    server.close(Some(frame())).unwrap();
    assert_eq!(hear_client(&mut client, &pipe), [ClientEvent::Ended(told)]);
    let answer = server.read().unwrap();
    assert!(matches!(
        answer,
        Message::Close(Some(CloseFrame {
            code: CloseCode::Away,
            ..
        }))
    ));

    let (mut gateway, mut client, pipe) = our_gateway();
    gateway.close(1013, &"too slow ".repeat(50));
    pipe.give(&gateway.take_output());
    let Message::Close(Some(CloseFrame { code, reason })) = client.read().unwrap() else {
        panic!("no close")
    };
    assert_eq!(u16::from(code), 1013);
    assert!(reason.starts_with("too slow too slow"));
}

/// What each of the two makes of a client's bytes: messages, or an end.
fn verdicts(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut ours = Vec::new();
    let mut framer = Framer::new(true, 1 << 20);
    framer.push(bytes);
    loop {
        match framer.next_item() {
            Ok(Some(Item::Message { payload, .. })) => ours.push(format!("{payload:?}")),
            Ok(Some(Item::Close { .. })) => {
                ours.push("close".to_owned());
                break;
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => {
                ours.push("broken".to_owned());
                break;
            }
        }
    }
    let mut theirs = Vec::new();
    let pipe = Pipe::default();
    pipe.give(bytes);
    let mut socket = WebSocket::from_raw_socket(pipe, Role::Server, None);
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => theirs.push(format!("{:?}", text.as_bytes())),
            Ok(Message::Binary(content)) => theirs.push(format!("{:?}", &content[..])),
            Ok(Message::Close(_)) => {
                theirs.push("close".to_owned());
                break;
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => {
                theirs.push("broken".to_owned());
                break;
            }
        }
    }
    (ours, theirs)
}

/// Whether it is the last of its message, what it is, its mask and its payload.
type RawFrame<'a> = (bool, Opcode, Option<[u8; 4]>, &'a [u8]);

#[test]
fn both_find_the_same_streams_broken() {
    let check = |expected: &[&str], frames: &[RawFrame<'_>]| {
        let mut bytes = Vec::new();
        for (fin, opcode, mask, payload) in frames {
            Header {
                fin: *fin,
                opcode: *opcode,
                mask: *mask,
                payload: payload.len() as u64,
            }
            .write(&mut bytes);
            let key = mask.unwrap_or_default();
            bytes.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        }
        let (ours, theirs) = verdicts(&bytes);
        assert_eq!(ours, theirs, "{frames:?}");
        assert_eq!(ours, expected, "{frames:?}");
    };
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let m = Some([0xa5, 0, 0xff, 1]);
    check(&["[1, 2, 3, 4, 5]"], &[(true, Binary, m, &[1, 2, 3, 4, 5])]);
    check(&["[]"], &[(true, Text, m, b"")]);
    check(
        &["[1, 2]", "[3]"],
        &[
            (false, Binary, m, &[1]),
            (true, Pong, m, b"x"),
            (true, Continuation, m, &[2]),
            (true, Binary, m, &[3]),
        ],
    );
    check(&["broken"], &[(true, Binary, None, &[1])]);
    check(&["broken"], &[(true, Continuation, m, &[1])]);
    check(
        &["broken"],
        &[(false, Text, m, b"a"), (true, Text, m, b"b")],
    );
    check(&["broken"], &[(false, Ping, m, b"a")]);
    check(&["broken"], &[(true, Ping, m, &[0; 126])]);
    check(&["broken"], &[(true, Close, m, &[3])]);
    check(&["broken"], &[(true, Close, m, &[3, 232, 0xff])]);
    check(&["close"], &[(true, Close, m, &[])]);
    check(
        &["[1]", "close"],
        &[(true, Binary, m, &[1]), (true, Close, m, &[3, 232])],
    );
    for first in [0xc2, 0xa2, 0x92, 0x83, 0x8b] {
        let (ours, theirs) = verdicts(&[first, 0x80, 0, 0, 0, 0]);
        assert_eq!(ours, theirs, "{first:x}");
        assert_eq!(ours, ["broken"], "{first:x}");
    }
}
