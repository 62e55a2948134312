//! The HTTP/1.1 upgrade, both sides (RFC 6455 section 4; section 3 of the protocol).
//!
//! No subprotocol and no extension is offered or chosen; Origin and Host are ignored; any path is
//! taken unless one was configured.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use zeroize::Zeroize;

use crate::beacon::is_valid_uuid;
use crate::crypto::Token;
use crate::limits::{UPGRADE_HEAD_MAX, UPGRADE_HEADERS_MAX};
use crate::token::{Claim, write_bearer};

/// The header of the 101 in which our gateway says its uuid (section 3): an extension of ours. It is a
/// hint until the handshake is done, since anybody can send it.
pub const UUID_HEADER: &str = "Hearthgate-Uuid";

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// The first bytes are no HTTP.
    #[error("the other side does not speak HTTP")]
    NotHttp,
    /// The first bytes are a TLS record: the older dialect, or a TLS proxy.
    #[error("the other side speaks TLS")]
    Tls,
    /// The request or response head is too long.
    #[error("the HTTP head is longer than {UPGRADE_HEAD_MAX} bytes")]
    TooLong,
    /// A gateway got an HTTP request that asks for no WebSocket.
    #[error("an HTTP request that is no WebSocket upgrade")]
    NotAnUpgrade,
    /// A client got another answer than 101.
    #[error("the other side answered the upgrade with HTTP {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// A client got a 101 that does not fit its request.
    #[error("the other side's 101 does not fit our request: {0}")]
    BadAccept(&'static str),
}

/// The part of a client's request that a gateway looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The path asked for.
    pub path: String,
}

/// A gateway's side of the upgrade.
#[derive(Debug, Default)]
pub struct ServerUpgrade {
    head: Vec<u8>,
    uuid: Option<Arc<str>>,
}

impl ServerUpgrade {
    /// Makes one that says who the gateway is, in [`UUID_HEADER`].
    pub fn new(uuid: Option<Arc<str>>) -> Self {
        // Blanks around a header are not part of it.
        let uuid = uuid.filter(|uuid| is_valid_uuid(uuid) && uuid.trim() == &**uuid);
        Self {
            head: Vec::new(),
            uuid,
        }
    }

    /// Takes bytes until the request is whole. Gives the request and whatever bytes followed it, and
    /// writes the response.
    ///
    /// # Errors
    /// Where the request is none or asks for something else; the caller answers with
    /// [`not_an_upgrade`] or [`bad_request`].
    pub fn handle(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(UpgradeRequest, Vec<u8>)>, UpgradeError> {
        self.head.extend_from_slice(bytes);
        let Some((request, size)) = read_request(&self.head)? else {
            return Ok(None);
        };
        let Wanted::WebSocket { key, path } = request.wanted else {
            return Err(UpgradeError::NotAnUpgrade);
        };
        write_switch(&key, self.uuid.as_deref(), out);
        let rest = self.head.get(size..).unwrap_or_default().to_vec();
        self.head = Vec::new();
        Ok(Some((UpgradeRequest { path }, rest)))
    }

    /// Takes bytes until the request is whole, in the older dialect (section 8): gives what is asked for,
    /// and whatever bytes followed, and writes nothing.
    ///
    /// # Errors
    /// Where there is no HTTP request, or one of another method.
    pub(crate) fn handle_claim(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<(Claim, Opening, Vec<u8>)>, UpgradeError> {
        self.head.extend_from_slice(bytes);
        let Some((request, size)) = read_request(&self.head)? else {
            return Ok(None);
        };
        let (claim, opening) = match request.wanted {
            Wanted::WebSocket { key, path } => {
                (Claim::Session(request.bearer), Opening { key, path })
            }
            Wanted::Other { get: true, path } => match Claim::of_path(&path, request.bearer) {
                Some(claim) => (claim, Opening::default()),
                None => return Err(UpgradeError::NotAnUpgrade),
            },
            Wanted::Other { .. } => return Err(UpgradeError::NotAnUpgrade),
        };
        let rest = self.head.get(size..).unwrap_or_default().to_vec();
        // The head holds a secret.
        self.head.zeroize();
        Ok(Some((claim, opening, rest)))
    }

    /// Tells whether any byte has come.
    pub fn started(&self) -> bool {
        !self.head.is_empty()
    }
}

/// A WebSocket that a claim asks for: answered once the claim is found right.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    key: String,
    pub(crate) path: String,
}

impl Opening {
    /// Writes the 101, and who the gateway is.
    pub(crate) fn accept(&self, uuid: Option<&str>, out: &mut Vec<u8>) {
        write_switch(&self.key, uuid, out);
    }
}

struct Request {
    wanted: Wanted,
    /// What came as `Authorization: Bearer`; empty where nothing did.
    bearer: Token,
}

enum Wanted {
    WebSocket { key: String, path: String },
    Other { get: bool, path: String },
}

/// Reads a whole request head; none where bytes are missing. What is found does not depend on how the
/// bytes were cut: no more of them is looked at than a head may have.
fn read_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, UpgradeError> {
    match tls_record(bytes) {
        Some(true) => return Err(UpgradeError::Tls),
        None => return Ok(None),
        Some(false) => {}
    }
    let head = bytes.get(..UPGRADE_HEAD_MAX).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; UPGRADE_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let size = match request.parse(head) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() <= UPGRADE_HEAD_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(UpgradeError::TooLong);
        }
        Err(_) => return Err(UpgradeError::NotHttp),
    };
    let header = |name: &str| find(request.headers, name);
    let get = request.method == Some("GET");
    let asks = get
        && has_token(request.headers, "upgrade", "websocket")
        && has_token(request.headers, "connection", "upgrade")
        && header("sec-websocket-version").is_some_and(|version| version.trim() == "13");
    let key = header("sec-websocket-key")
        .map(str::trim)
        .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
    let path = request.path.unwrap_or("/").to_owned();
    let wanted = match (asks, key) {
        (true, Some(key)) => Wanted::WebSocket {
            key: key.to_owned(),
            path,
        },
        _ => Wanted::Other { get, path },
    };
    let bearer = header("authorization").and_then(|value| {
        let (scheme, secret) = value.trim().split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| Token::new(secret.trim()))
    });
    let bearer = bearer.unwrap_or_default();
    Ok(Some((Request { wanted, bearer }, size)))
}

fn write_switch(key: &str, uuid: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept(key).as_bytes());
    if let Some(uuid) = uuid {
        out.extend_from_slice(format!("\r\n{UUID_HEADER}: {uuid}").as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Writes the answer to an HTTP request that is no upgrade: 426, and what would be one.
pub fn not_an_upgrade(out: &mut Vec<u8>) {
    refuse(
        out,
        "426 Upgrade Required",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "This is a WebSocket server: connect with a client of the gateway protocol.\n",
    );
}

/// Writes the answer to a wrong key or token of the older dialect: never which of them it was, nor why.
pub(crate) fn unauthorized(out: &mut Vec<u8>) {
    refuse(
        out,
        "401 Unauthorized",
        "WWW-Authenticate: Bearer\r\n",
        "Wrong or expired.\n",
    );
}

/// Writes the answer to what is no HTTP, or another path than the configured one.
pub fn bad_request(out: &mut Vec<u8>, status: &str, body: &str) {
    refuse(out, status, "", body);
}

fn refuse(out: &mut Vec<u8>, status: &str, headers: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

/// A client's side of the upgrade.
#[derive(Debug)]
pub struct ClientUpgrade {
    key: String,
    head: Vec<u8>,
    /// Whether it is a 400 whose body, which may tell of TLS, is still on its way.
    refused: bool,
    uuid: Option<Box<str>>,
}

impl ClientUpgrade {
    /// Writes the request; `host` is the gateway's address for the Host header.
    pub fn start(host: &str, path: &str, key: [u8; 16], out: &mut Vec<u8>) -> Self {
        Self::start_with(host, path, key, None, out)
    }

    /// Writes the request of the older dialect, which carries an access token (section 8).
    pub fn start_with(
        host: &str,
        path: &str,
        key: [u8; 16],
        token: Option<&Token>,
        out: &mut Vec<u8>,
    ) -> Self {
        let key = STANDARD.encode(key);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        if let Some(token) = token {
            write_bearer(out, token.expose());
        }
        out.extend_from_slice(b"\r\n");
        Self {
            key,
            head: Vec::new(),
            refused: false,
            uuid: None,
        }
    }

    /// Takes bytes until the response is whole; gives whatever bytes followed it.
    ///
    /// # Errors
    /// Where the other side does not speak HTTP or refuses.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, UpgradeError> {
        self.head.extend_from_slice(bytes);
        match tls_record(&self.head) {
            Some(true) => return Err(UpgradeError::Tls),
            None => return Ok(None),
            Some(false) => {}
        }
        let head = self.head.get(..UPGRADE_HEAD_MAX).unwrap_or(&self.head);
        let mut headers = [httparse::EMPTY_HEADER; UPGRADE_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let size = match response.parse(head) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) if self.head.len() <= UPGRADE_HEAD_MAX => {
                return Ok(None);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(UpgradeError::TooLong);
            }
            Err(_) => return Err(UpgradeError::NotHttp),
        };
        let status = response.code.unwrap_or_default();
        let header = |name: &str| find(response.headers, name);
        if status == 400 {
            let length = header("content-length").and_then(|length| length.trim().parse().ok());
            let room = UPGRADE_HEAD_MAX.saturating_sub(size);
            let length = length.unwrap_or(usize::MAX).min(room);
            let body = self.head.get(size..).unwrap_or_default();
            let body = body.get(..length).unwrap_or(body);
            // What web servers say to plain HTTP on their TLS port.
            if body.windows(5).any(|word| word == b"HTTPS") {
                return Err(UpgradeError::Tls);
            }
            if body.len() < length {
                self.refused = true;
                return Ok(None);
            }
        }
        if status != 101 {
            return Err(UpgradeError::Refused { status });
        }
        if !has_token(response.headers, "upgrade", "websocket")
            || !has_token(response.headers, "connection", "upgrade")
        {
            return Err(UpgradeError::BadAccept("it upgrades to something else"));
        }
        if header("sec-websocket-accept").map(str::trim) != Some(accept(&self.key).as_str()) {
            return Err(UpgradeError::BadAccept("Sec-WebSocket-Accept is wrong"));
        }
        if header("sec-websocket-protocol").is_some()
            || header("sec-websocket-extensions").is_some()
        {
            return Err(UpgradeError::BadAccept("it chose what was not offered"));
        }
        self.uuid = header(UUID_HEADER)
            .filter(|uuid| is_valid_uuid(uuid))
            .map(Box::from);
        Ok(Some(self.head.split_off(size)))
    }

    /// Returns what is known where nothing more comes: a refusal whose body was still waited for.
    pub fn unfinished(&self) -> Option<UpgradeError> {
        self.refused
            .then_some(UpgradeError::Refused { status: 400 })
    }

    /// Returns the uuid that the gateway gave itself in its response, if it did.
    pub fn take_uuid(&mut self) -> Option<Box<str>> {
        self.uuid.take()
    }

    /// Tells whether any byte has come.
    pub fn started(&self) -> bool {
        !self.head.is_empty()
    }
}

fn find<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let header = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok()
}

/// Looks for a token in a header that is a list, which may be spread over several lines.
fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

fn accept(key: &str) -> String {
    STANDARD.encode(
        Sha1::new()
            .chain_update(key.as_bytes())
            .chain_update(GUID)
            .finalize(),
    )
}

/// Tells whether the first bytes are those of a TLS record, handshake or alert, of any version; none
/// where more of them have to come. HTTP begins with neither.
fn tls_record(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] | [0x15 | 0x16] | [0x15 | 0x16, 0x03] => None,
        [0x15 | 0x16, 0x03, version, ..] => Some(*version <= 4),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str = "GET /any?x=1 HTTP/1.1\r\nhost: x\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    fn serve(ask: &str) -> Result<Option<(UpgradeRequest, Vec<u8>)>, UpgradeError> {
        ServerUpgrade::default().handle(ask.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn the_answer_is_the_rfcs_and_chooses_nothing() {
        let mut out = Vec::new();
        let ask = format!("{ASK}rest");
        let (request, rest) = ServerUpgrade::default()
            .handle(ask.as_bytes(), &mut out)
            .unwrap()
            .unwrap();
        assert_eq!(
            (request.path.as_str(), rest.as_slice()),
            ("/any?x=1", &b"rest"[..])
        );
        let answer = String::from_utf8(out).unwrap();
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(!answer.contains("Protocol:") && !answer.contains("Extensions"));
    }

    #[test]
    fn both_sides_agree_byte_by_byte() {
        let mut ask = Vec::new();
        let mut client = ClientUpgrade::start("h:1", "/", [7; 16], &mut ask);
        let mut server = ServerUpgrade::default();
        let mut answer = Vec::new();
        let mut asked = None;
        for byte in ask {
            assert!(asked.is_none());
            asked = server.handle(&[byte], &mut answer).unwrap();
        }
        assert_eq!(asked.unwrap().0.path, "/");
        answer.extend_from_slice(b"after");
        let mut rest = None;
        for (index, byte) in answer.iter().enumerate() {
            if let Some(mut tail) = client.handle(&[*byte]).unwrap() {
                tail.extend_from_slice(&answer[index + 1..]);
                rest = Some(tail);
                break;
            }
        }
        assert_eq!(rest.unwrap(), b"after");
    }

    #[test]
    fn a_gateway_may_say_who_it_is() {
        let mut client = ClientUpgrade::start("h:1", "/", [7; 16], &mut Vec::new());
        let mut answer = Vec::new();
        let ask = ASK.replacen("dGhlIHNhbXBsZSBub25jZQ==", "BwcHBwcHBwcHBwcHBwcHBw==", 1);
        let uuid = Some("bf01 2345".into());
        let asked = ServerUpgrade::new(uuid).handle(ask.as_bytes(), &mut answer);
        assert!(asked.unwrap().is_some());
        assert_eq!(client.handle(&answer), Ok(Some(Vec::new())));
        assert_eq!(client.take_uuid().as_deref(), Some("bf01 2345"));
        // What is no uuid would end up in topics and file names.
        for not_one in ["a\r\nSet-Cookie: b", ""] {
            let mut answer = Vec::new();
            let asked =
                ServerUpgrade::new(Some(not_one.into())).handle(ask.as_bytes(), &mut answer);
            assert!(asked.unwrap().is_some());
            assert!(!String::from_utf8(answer).unwrap().contains(UUID_HEADER));
        }
    }

    #[test]
    fn a_header_that_is_a_list_may_take_several_lines() {
        let split = "keep-alive\r\nConnection: Upgrade";
        assert!(serve(&ASK.replacen("keep-alive, Upgrade", split, 1)).is_ok());
    }

    #[test]
    fn requests_that_ask_for_something_else_are_refused() {
        for (from, to) in [
            ("GET", "POST"),
            ("WebSocket", "h2c"),
            ("keep-alive, Upgrade", "keep-alive"),
            ("Version: 13", "Version: 8"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
        ] {
            assert_eq!(
                serve(&ASK.replacen(from, to, 1)),
                Err(UpgradeError::NotAnUpgrade),
                "{to}"
            );
        }
        assert_eq!(serve("\x16\x03\x01\x02\x00\x01"), Err(UpgradeError::Tls));
        assert_eq!(serve("\0\0\0\0"), Err(UpgradeError::NotHttp));
        assert_eq!(
            serve(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(9000))),
            Err(UpgradeError::TooLong)
        );
    }

    #[test]
    fn tls_is_told_from_garbage_byte_by_byte() {
        for record in [b"\x16\x03\x01\x02\x00\x01", b"\x15\x03\x03\x00\x02\x02"] {
            let mut server = ServerUpgrade::default();
            let mut client = ClientUpgrade::start("h", "/", [0; 16], &mut Vec::new());
            for byte in &record[..2] {
                assert_eq!(server.handle(&[*byte], &mut Vec::new()), Ok(None));
                assert_eq!(client.handle(&[*byte]), Ok(None));
            }
            let out = &mut Vec::new();
            assert_eq!(server.handle(&record[2..3], out), Err(UpgradeError::Tls));
            assert_eq!(client.handle(&record[2..3]), Err(UpgradeError::Tls));
        }
        // What only begins like one is garbage as soon as that shows.
        for garbage in [&b"\x16\x04"[..], b"\x16\x03\x05", b"\x15G", b"\x17\x03\x03"] {
            let (last, first) = garbage.split_last().unwrap();
            let mut server = ServerUpgrade::default();
            if first.first() != Some(&0x17) {
                assert_eq!(server.handle(first, &mut Vec::new()), Ok(None));
                let outcome = server.handle(&[*last], &mut Vec::new());
                assert_eq!(outcome, Err(UpgradeError::NotHttp), "{garbage:?}");
            }
            let mut client = ClientUpgrade::start("h", "/", [0; 16], &mut Vec::new());
            assert_eq!(client.handle(garbage), Err(UpgradeError::NotHttp));
        }
    }

    #[test]
    fn the_body_of_a_400_is_waited_for() {
        let body = "The plain HTTP request was sent to HTTPS port";
        let head = |length: usize| format!("HTTP/1.1 400 Bad\r\nContent-Length: {length}\r\n\r\n");
        let byte_by_byte = |text: &str| {
            let mut client = ClientUpgrade::start("h", "/", [0; 16], &mut Vec::new());
            let bytes = text.as_bytes().iter();
            let outcome = bytes
                .map(|byte| client.handle(&[*byte]))
                .find(|it| *it != Ok(None));
            (outcome, client.unfinished())
        };
        let refused = UpgradeError::Refused { status: 400 };
        let (outcome, _) = byte_by_byte(&(head(body.len()) + body));
        assert_eq!(outcome, Some(Err(UpgradeError::Tls)));
        let (outcome, _) = byte_by_byte(&(head(3) + "no.."));
        assert_eq!(outcome, Some(Err(refused.clone())));
        let (outcome, _) = byte_by_byte(&head(0));
        assert_eq!(outcome, Some(Err(refused.clone())));
        // Who announces no length ends the body with the connection.
        let (outcome, unfinished) = byte_by_byte("HTTP/1.1 400 Bad\r\n\r\nno");
        assert_eq!((outcome, unfinished), (None, Some(refused.clone())));
        let endless = format!("HTTP/1.1 400 Bad\r\n\r\n{}", "x".repeat(9000));
        assert_eq!(byte_by_byte(&endless).0, Some(Err(refused)));
    }

    #[test]
    fn answers_that_do_not_fit_are_refused() {
        let answer = |text: &str| {
            ClientUpgrade::start("h", "/", [0; 16], &mut Vec::new()).handle(text.as_bytes())
        };
        assert_eq!(
            answer("HTTP/1.1 404 Not Found\r\n\r\n"),
            Err(UpgradeError::Refused { status: 404 })
        );
        assert_eq!(
            answer("\x15\x03\x01\x00\x02\x02\x46"),
            Err(UpgradeError::Tls)
        );
        assert_eq!(answer("SSH-2.0-OpenSSH\r\n"), Err(UpgradeError::NotHttp));
        assert_eq!(
            answer("HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port"),
            Err(UpgradeError::Tls)
        );
        let wrong = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
        assert!(matches!(answer(wrong), Err(UpgradeError::BadAccept(_))));
    }
}
